//! `sunshine-bundler`: packs the deployer, packages, images and settings into one `sunshine-installer-x.y.z.bin`.
//!
//! The command line flows in, a bundle and a summary flow out. The bundle's format lives in `payload`.

mod build;
mod cli;
mod closed;
mod collect;
mod download;
mod etcd;
mod find;
mod metadata;
mod pull;
mod report;
mod required;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use nix::sys::signal::{SigSet, Signal};

/// SIGINT and SIGTERM remove the bundle that is being written and end the program with exit code 130. Called before
/// any other thread is started: the signals are taken out of every thread's hands and given to one.
fn clean_up_on_signals() -> std::io::Result<()> {
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
    signals.thread_block()?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        if signals.wait().is_ok() {
            payload::remove_unfinished();
            std::process::exit(130);
        }
    })?;
    Ok(())
}

fn main() -> ExitCode {
    if let Err(e) = clean_up_on_signals() {
        // Nothing can be done about a standard error that is closed.
        let _ = writeln!(std::io::stderr(), "warning: an interrupt will leave a file behind: {e}");
    }
    let done = match cli::Cli::parse().command {
        cli::Command::Build(args) => build::run(&args, &mut std::io::stdout()),
        cli::Command::Collect(args) => collect::run(&args, &mut std::io::stdout()),
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
