#![no_main]

use payload::fuzz::manifest;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| manifest(bytes));
