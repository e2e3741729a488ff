//! `sunshine-bundler`: packs the deployer, packages, images and settings into one `sunshine-installer-x.y.z.bin`.
//!
//! The command line flows in, a bundle and a summary flow out. The bundle's format lives in `payload`.

mod build;
mod cli;
mod find;
mod report;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli::Command::Build(args) = cli::Cli::parse().command;
    let code = match build::run(&args, &mut std::io::stdout()) {
        Ok(()) => 0,
        Err(failure) => {
            // Nothing can be done about a standard error that is closed.
            let _ = report::failure(&failure, &mut std::io::stderr());
            failure.exit_code()
        }
    };
    ExitCode::from(code)
}
