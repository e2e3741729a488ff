//! Parse, run, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    sunshine_installer::interface::main(std::env::args_os().collect())
}
