#![no_main]

use payload::fuzz::rpm_header;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rpm_header(bytes));
