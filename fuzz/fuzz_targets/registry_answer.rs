#![no_main]

use sunshine_installer::fuzz::registry_answer;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| registry_answer(bytes));
