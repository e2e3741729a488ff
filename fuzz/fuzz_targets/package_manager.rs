#![no_main]

use sunshine_installer::fuzz::package_manager;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| package_manager(bytes));
