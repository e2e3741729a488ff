#![no_main]

use sunshine_installer::fuzz::etcd_output;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| etcd_output(bytes));
