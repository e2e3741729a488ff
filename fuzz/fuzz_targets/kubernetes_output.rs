#![no_main]

use sunshine_installer::fuzz::kubernetes_output;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kubernetes_output(bytes));
