#![no_main]

use sunshine_installer::fuzz::host_string;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| host_string(bytes));
