#![no_main]

use sunshine_installer::fuzz::remote_text;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| remote_text(bytes));
