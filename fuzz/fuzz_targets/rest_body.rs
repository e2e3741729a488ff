#![no_main]

use sunshine_installer::fuzz::rest_body;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rest_body(bytes));
