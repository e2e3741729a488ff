#![no_main]

use payload::fuzz::rpm_requirement;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rpm_requirement(bytes));
