#![no_main]

use sunshine_installer::fuzz::http_request;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| http_request(bytes));
