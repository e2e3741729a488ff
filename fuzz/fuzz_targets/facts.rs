#![no_main]

use sunshine_installer::fuzz::facts;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| facts(bytes));
