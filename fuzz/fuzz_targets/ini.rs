#![no_main]

use sunshine_installer::fuzz::ini;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ini(bytes));
