#![no_main]

use payload::fuzz::footer;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| footer(bytes));
