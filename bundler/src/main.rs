//! `sunshine-bundler`: packs the deployer, packages, images and settings into one `sunshine-installer-x.y.z.bin`.
//!
//! The command line flows in, a bundle and a summary flow out. The bundle's format lives in `payload`.

mod build;
mod cli;
mod find;
mod metadata;
mod report;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let done = match cli::Cli::parse().command {
        cli::Command::Build(args) => build::run(&args, &mut std::io::stdout()),
        cli::Command::Metadata(args) => metadata::run(&args),
    };
    let code = match done {
        Ok(()) => 0,
        Err(failure) => {
            // Nothing can be done about a standard error that is closed.
            let _ = report::failure(&failure, &mut std::io::stderr());
            failure.exit_code()
        }
    };
    ExitCode::from(code)
}
