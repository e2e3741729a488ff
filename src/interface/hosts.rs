//! `hosts check|exec|push`: hosts concurrently, each on its own.

use std::sync::Arc;
use std::time::Duration;

use camino::Utf8PathBuf;
use clap::{Args, Subcommand};

use crate::flow::FlowError;
use crate::flow::hosts::{self, Checked};
use crate::flow::state_dir;
use crate::host::{Connect, Facts, Target, TargetDefaults};
use crate::plan::{Event, Events, Level, millis};

use super::cli::{A_YEAR, Global, open_log};
use super::credentials::targets;
use super::exit::Exit;
use super::log;
use super::terminal::{Terminal, table_or_lines};

/// What to do with hosts.
#[derive(Debug, Subcommand)]
pub(crate) enum HostsCommand {
    /// Log in to each and show what it is
    Check(HostList),
    /// Run a command on each, as root, by the host's own shell
    Exec(ExecArgs),
    /// Put a file on each; what is there already is not sent again
    Push(PushArgs),
}

#[derive(Debug, Args)]
pub(crate) struct HostList {
    /// user:password@address[:port], or [user@]address[:port] with --ssh-key
    #[arg(value_name = "HOST", required_unless_present = "named")]
    hosts: Vec<String>,
    /// The same, as an option
    #[arg(long = "host", alias = "hosts", id = "named", value_name = "HOST", num_args = 1..)]
    named: Vec<String>,
}

impl HostList {
    fn targets(&self, defaults: &TargetDefaults) -> Result<Vec<Target>, FlowError> {
        targets(&[&self.hosts[..], &self.named[..]].concat(), defaults)
    }
}

#[derive(Debug, Args)]
pub(crate) struct ExecArgs {
    #[command(flatten)]
    list: HostList,
    /// The longest the command may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(0..=A_YEAR))]
    timeout: u64,
    /// The command, behind `--`; several words are joined by spaces, as ssh does it
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    #[command(flatten)]
    list: HostList,
    /// The file on the control host
    #[arg(long, value_name = "FILE")]
    file: Utf8PathBuf,
    /// Its path on the hosts
    #[arg(long, value_name = "PATH")]
    to: String,
    /// Its mode, octal
    #[arg(long, value_name = "MODE", default_value = "644", value_parser = mode)]
    mode: u32,
}

fn mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o7777 => Ok(mode),
        _ => Err("an octal number such as 644 is wanted".to_owned()),
    }
}

/// Runs the command.
pub(crate) fn run(command: &HostsCommand, defaults: &TargetDefaults, global: &Global) -> Result<Exit, FlowError> {
    match command {
        HostsCommand::Check(list) => {
            let targets = list.targets(defaults)?;
            Ok(check(&all(global).check(&targets), global))
        }
        HostsCommand::Exec(args) => {
            let (targets, line) = (args.list.targets(defaults)?, args.command.join(" "));
            if global.dry_run {
                return Ok(would(&targets, &format!("run: {line}"), global));
            }
            let timeout = Duration::from_secs(args.timeout.max(1));
            Ok(tell(all(global).exec(&targets, &line, timeout), global))
        }
        HostsCommand::Push(args) => {
            if !args.to.starts_with('/') || args.to.ends_with('/') {
                return Err(FlowError::request(format!("--to {}: the file's absolute path is wanted", args.to)));
            }
            let targets = args.list.targets(defaults)?;
            let size = std::fs::metadata(&args.file).map_err(|e| FlowError::request(format!("{}: {e}", args.file)))?;
            if !size.is_file() {
                return Err(FlowError::request(format!("{}: it is no file", args.file)));
            }
            if global.dry_run {
                let what = format!("put {} ({} bytes) at {}, mode {:o}", args.file, size.len(), args.to, args.mode);
                return Ok(would(&targets, &what, global));
            }
            Ok(tell(all(global).push(&targets, &args.file, &args.to, args.mode)?, global))
        }
    }
}

/// How the hosts are reached; with `-v` each command is shown, and the log has it in any case.
fn all(global: &Global) -> hosts::Hosts {
    open_log(global);
    let events = Arc::new(Events::new());
    events.listen(log::Reader);
    events.listen(Terminal::new(global.manner()).reader());
    let (options, waiting) = (global.options(), Arc::clone(&events));
    let connect = Connect {
        told: Some(Arc::new(move |host, text| waiting.note(Some(host), Level::Info, text, None))),
        look_only: false,
        host_key: options.host_key,
        known_hosts: state_dir().join("known_hosts"),
        timeout: options.connect_timeout,
        watch: Some(Arc::new(move |host, command, status, took| {
            let (host, command) = (host.to_owned(), command.to_string());
            events.send(&Event::Command { host, command, status, took_ms: millis(took) });
        })),
    };
    hosts::Hosts { connect, forks: options.forks }
}

/// `--dry-run`: nobody is asked, nothing is changed.
fn would(targets: &[Target], what: &str, global: &Global) -> Exit {
    let terminal = Terminal::new(global.manner());
    for target in targets {
        let host = target.id();
        if global.json {
            terminal.tell(&serde_json::json!({"host": host, "dry_run": true, "would": what}).to_string());
        } else {
            terminal.tell(&format!("{host}: would {what}"));
        }
    }
    Exit::Done
}

/// Prints each host's output as it comes; exit 1 when any failed.
fn tell(results: impl Iterator<Item = hosts::Done>, global: &Global) -> Exit {
    let terminal = Terminal::new(global.manner());
    let mut exit = Exit::Done;
    for done in results {
        if !done.ok() {
            exit = Exit::Failed;
        }
        if global.json {
            terminal.tell(&done.to_json().to_string());
            continue;
        }
        match &done.result {
            Ok(output) => {
                for line in String::from_utf8_lossy(&output.stdout).lines() {
                    terminal.tell(&format!("{}: {line}", done.host));
                }
                for line in String::from_utf8_lossy(&output.stderr).lines() {
                    terminal.say(&format!("{}: {line}", done.host));
                }
                if !output.ok() {
                    terminal.error(&format!("{}: exit status {}", done.host, output.status), None);
                } else if output.stdout.is_empty() && !global.quiet {
                    terminal.say(&format!("{}: done", done.host));
                }
            }
            Err(e) => terminal.error(&e.to_string(), e.help().as_deref()),
        }
    }
    exit
}

const COLUMNS: [&str; 12] = [
    "host",
    "system",
    "arch",
    "name",
    "clock",
    "memory",
    "free /var",
    "cgroup",
    "SELinux",
    "firewalld",
    "swap",
    "packages",
];

fn check(results: &[Checked], global: &Global) -> Exit {
    let terminal = Terminal::new(global.manner());
    let mut rows = Vec::new();
    let mut exit = Exit::Done;
    for checked in results {
        match &checked.result {
            Ok(facts) if global.json => terminal.tell(&hosts::facts_json(&checked.host, facts).to_string()),
            Ok(facts) => rows.push(row(&checked.host, facts)),
            Err(e) => {
                exit = Exit::Failed;
                if global.json {
                    let line = serde_json::json!({
                        "host": checked.host, "ok": false, "unreachable": e.is_unreachable(), "error": e.to_string(),
                        "help": e.help(),
                    });
                    terminal.tell(&line.to_string());
                } else {
                    terminal.error(&e.to_string(), e.help().as_deref());
                }
            }
        }
    }
    if !rows.is_empty() {
        terminal.tell(&table_or_lines(&COLUMNS, &rows));
    }
    exit
}

fn row(host: &str, facts: &Facts) -> Vec<String> {
    let gib = |bytes: u64| format!("{}.{} GiB", bytes >> 30, ((bytes >> 20) % 1024) * 10 / 1024);
    let manager = facts.package_manager.map_or("rpm only", crate::host::PackageManager::program);
    vec![
        host.to_owned(),
        facts.pretty_name.clone(),
        facts.arch.clone(),
        facts.hostname.clone(),
        format!("{:+.1} s", facts.clock_offset),
        gib(facts.memory_total),
        facts.disk_free_of("/var").map_or_else(|| "?".to_owned(), gib),
        format!("v{}", facts.cgroup_version),
        facts.selinux.clone(),
        if facts.firewalld() { "on" } else { "off" }.to_owned(),
        if facts.swap { "on" } else { "off" }.to_owned(),
        manager.to_owned(),
    ]
}
