#![no_main]

use sunshine_installer::fuzz::kubernetes_yaml;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kubernetes_yaml(bytes));
