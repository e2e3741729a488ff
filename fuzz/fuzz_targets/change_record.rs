#![no_main]

use sunshine_installer::fuzz::change_record;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| change_record(bytes));
