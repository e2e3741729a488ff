#![no_main]

use payload::fuzz::kubernetes_manifest;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kubernetes_manifest(bytes));
