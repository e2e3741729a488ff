#![allow(clippy::all)]
use clap::{Parser, Subcommand};
use sunshine_installer::door::bundle::{BundleCommand, Console, run};
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    c: C,
}
#[derive(Subcommand)]
enum C {
    Bundle {
        #[command(subcommand)]
        command: BundleCommand,
    },
}
fn main() -> std::process::ExitCode {
    let cli = Cli::parse();
    let C::Bundle { command } = cli.c;
    let mut out = std::io::stdout();
    let mut console =
        Console { out: &mut out, json: cli.json, progress: &mut |_, _| (), ask: &mut |_| Ok(String::new()) };
    match run(&command, &mut console) {
        Ok(()) => 0.into(),
        Err(e) => {
            eprintln!("error: {e}");
            if let Some(h) = e.help() {
                eprintln!("help: {h}");
            }
            e.exit_code().into()
        }
    }
}
