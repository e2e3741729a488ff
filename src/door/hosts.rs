//! `hosts check|exec|push`: hosts side by side, each on its own.

use std::time::Duration;

use camino::Utf8PathBuf;
use clap::{Args, Subcommand};
use comfy_table::Table;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;

use crate::flow::FlowError;
use crate::flow::hosts::{self, Checked};
use crate::flow::state_dir;
use crate::host::{Connect, Facts, TargetDefaults};

use super::cli::Global;
use super::credentials::targets;
use super::exit::Exit;
use super::terminal::{self, Terminal};

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
    #[arg(long = "host", alias = "hosts", value_name = "HOST", num_args = 1.., required = true)]
    hosts: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ExecArgs {
    #[command(flatten)]
    list: HostList,
    /// The longest the command may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
    /// The command, behind `--`
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    #[command(flatten)]
    list: HostList,
    /// The file on this machine
    #[arg(long, value_name = "FILE")]
    file: Utf8PathBuf,
    /// Its path on the hosts
    #[arg(long, value_name = "PATH")]
    to: String,
    /// Its mode, octal
    #[arg(long, value_name = "MODE", default_value = "644")]
    mode: String,
}

/// Runs the command.
pub(crate) fn run(command: &HostsCommand, defaults: &TargetDefaults, global: &Global) -> Result<Exit, FlowError> {
    let options = global.options();
    let connect = Connect {
        host_key: options.host_key,
        known_hosts: state_dir().join("known_hosts"),
        timeout: options.connect_timeout,
        watch: None,
    };
    let all = hosts::Hosts { connect, forks: options.forks };
    match command {
        HostsCommand::Check(list) => Ok(check(&all.check(&targets(&list.hosts, defaults)?), global)),
        HostsCommand::Exec(args) => {
            let line = args.command.join(" ");
            let timeout = Duration::from_secs(args.timeout.max(1));
            let targets = targets(&args.list.hosts, defaults)?;
            Ok(tell(all.exec(&targets, &line, timeout), global))
        }
        HostsCommand::Push(args) => {
            let mode = u32::from_str_radix(&args.mode, 8)
                .map_err(|_| FlowError::request(format!("--mode {}: an octal number such as 644", args.mode)))?;
            if !args.to.starts_with('/') {
                return Err(FlowError::request(format!("--to {}: an absolute path is wanted", args.to)));
            }
            let targets = targets(&args.list.hosts, defaults)?;
            Ok(tell(all.push(&targets, &args.file, &args.to, mode)?, global))
        }
    }
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
            terminal::print(&done.to_json().to_string());
            continue;
        }
        match &done.result {
            Ok(output) => {
                for line in String::from_utf8_lossy(&output.stdout).lines() {
                    terminal::print(&format!("{}: {line}", done.host));
                }
                for line in String::from_utf8_lossy(&output.stderr).lines() {
                    terminal.say(&format!("{}: {line}", done.host));
                }
                if !output.ok() {
                    terminal.error(&format!("{}: exit status {}", done.host, output.status), None);
                }
            }
            Err(e) => terminal.error(&e.to_string(), e.help().as_deref()),
        }
    }
    exit
}

fn check(results: &[Checked], global: &Global) -> Exit {
    let terminal = Terminal::new(global.manner());
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY).set_header([
        "host",
        "system",
        "arch",
        "name",
        "clock",
        "memory",
        "free /var",
        "cgroup",
        "SELinux",
        "swap",
        "packages",
    ]);
    let mut exit = Exit::Done;
    for checked in results {
        match &checked.result {
            Ok(facts) if global.json => terminal::print(&hosts::facts_json(&checked.host, facts).to_string()),
            Ok(facts) => drop(table.add_row(row(&checked.host, facts))),
            Err(e) => {
                exit = Exit::Failed;
                terminal.error(&e.to_string(), e.help().as_deref());
            }
        }
    }
    if !global.json && table.row_count() > 0 {
        terminal::print(&table.to_string());
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
        if facts.swap { "on" } else { "off" }.to_owned(),
        manager.to_owned(),
    ]
}
