#![no_main]

use payload::fuzz::image_name;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| image_name(bytes));
