#![no_main]

use sunshine_installer::fuzz::command_line;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| command_line(bytes));
