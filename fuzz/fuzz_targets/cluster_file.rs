#![no_main]

use sunshine_installer::fuzz::cluster_file;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cluster_file(bytes));
