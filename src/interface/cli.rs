//! The command line of today (contract, section 6), and the way in for the `-K` form.

use std::ffi::OsString;
use std::process::ExitCode;

use camino::Utf8PathBuf;
use clap::{Args, FromArgMatches, Parser, Subcommand, ValueEnum};
use payload::Bundle;

use crate::deliver::RouteChoice;
use crate::flow::request::{Job, Operation, RunOptions, check_environment};
use crate::flow::{FlowError, loss, state_dir};
use crate::host::{HostKeyPolicy, TargetDefaults};
use crate::spec::operations;

use super::bundle::{self, BundleCommand};
use super::cluster::{CertsCommand, ClusterCommand};
use super::credentials::Credentials;
use super::ec2::{self, Ec2Command};
use super::etcd::EtcdCommand;
use super::exit::Exit;
use super::registry::{self, RegistryCommand};
use super::repo::{self, RepoCommand};
use super::terminal::{self, Manner};
use super::{
    accepts, argv, ask, cluster_file, cluster_replace, cluster_show, core_dump, deploy, hosts, legacy, log, man, serve,
    start, support, unit,
};

/// Turns bare RHEL-family hosts into an etcd and Kubernetes cluster where there is no internet.
#[derive(Debug, Parser)]
#[command(name = "sunshine-installer", version, arg_required_else_help = true, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(flatten)]
    pub(crate) credentials: Credentials,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  sunshine-installer etcd create --host root:PASSWORD@10.8.14.200 root:PASSWORD@10.8.14.201 root:PASSWORD@10.8.14.202
  sunshine-installer cluster apply -f cluster.yaml
  sunshine-installer hosts check maint@10.8.14.200 --ssh-key ~/.ssh/id_ed25519 --ssh-sudo-pw-file -
  sunshine-installer hosts exec root:PASSWORD@10.8.14.200 root:PASSWORD@10.8.14.201 -- systemctl is-active etcd
  sunshine-installer deploy --conf conf/conf.ini --install-conf install_rpm/install.ini
  sunshine-installer -K onekey_deploy_ctl -create_etcd_cluster --host-list root:PASSWORD@10.8.14.200 -f etcd.rpm

A run that was interrupted or failed continues where it stopped: run the same command again.
Exit codes: 0 done, 1 failed on some host, 2 wrong command line or file, 3 bundle damaged, 130 interrupted.
Log: /var/log/onekey_deploy/onekey_deploy.log";

/// Options that several commands share; [`accepts`] says which.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Events and results as JSON, one a line
    #[arg(long, global = true, help_heading = "Output")]
    pub(crate) json: bool,
    /// Show remote commands and steps that needed nothing
    #[arg(short, long, global = true, help_heading = "Output")]
    pub(crate) verbose: bool,
    /// Say only errors and the result
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Output")]
    pub(crate) quiet: bool,
    /// Show what would change on each host; change nothing
    #[arg(long, global = true, help_heading = "Run")]
    pub(crate) dry_run: bool,
    /// How many hosts are worked on at once
    #[arg(long, global = true, value_name = "N", default_value_t = 64, help_heading = "Run", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) forks: u16,
    /// Which environment: one cluster's state on the control host
    #[arg(long, global = true, value_name = "ID", default_value = crate::flow::request::DEFAULT_ENVIRONMENT, value_parser = environment, help_heading = "Run")]
    pub(crate) environment: String,
    /// Whether the line names it, even if it names the default.
    #[arg(skip)]
    pub(crate) environment_given: bool,
    /// How hosts reach the bundle's packages
    #[arg(long, global = true, value_name = "auto|direct|tunnel|push", default_value = "auto", help_heading = "Run")]
    pub(crate) repo_route: RouteChoice,
    /// What to do with a host whose key is not known
    #[arg(long, global = true, value_enum, default_value = "accept-new", help_heading = "Run")]
    host_key: HostKey,
    /// Replace a newer installed version by the bundle's older one
    #[arg(long, global = true, help_heading = "Run")]
    pub(crate) allow_downgrade: bool,
    /// Install packages given as files (-f, --rpm) again where they are in that version already
    #[arg(long, global = true, help_heading = "Run")]
    pub(crate) reinstall: bool,
    /// Create new clusters where those of the environment are lost: their hosts were reinstalled, and no member answers. The old
    /// authorities and state are kept aside
    #[arg(long, global = true, help_heading = "Run")]
    pub(crate) recreate: bool,
    /// Keep the environment's passwords, sealed with the key in this file (mode 0600; made when it is not there), and use
    /// those kept for hosts that are given without one
    #[arg(long, global = true, value_name = "KEYFILE", help_heading = "Run")]
    pub(crate) keep_credentials: Option<Utf8PathBuf>,
    /// Folder of the log [default: /var/log/onekey_deploy]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Output")]
    pub(crate) log_dir: Option<Utf8PathBuf>,
}

/// The longest that an option can have the program wait, in seconds. More is a slip of the hand, and no point in time of the
/// clock's at the end.
pub(crate) const A_YEAR: u64 = 365 * 24 * 60 * 60;

#[derive(Debug, Clone, Copy, ValueEnum)]
enum HostKey {
    AcceptNew,
    Strict,
}

fn environment(text: &str) -> Result<String, String> {
    check_environment(text).map(|()| text.to_owned())
}

impl Global {
    pub(crate) fn manner(&self) -> Manner {
        Manner { json: self.json, verbose: self.verbose, quiet: self.quiet }
    }

    pub(crate) fn options(&self) -> RunOptions {
        RunOptions {
            environment: self.environment.clone(),
            dry_run: self.dry_run,
            forks: usize::from(self.forks),
            repo_route: self.repo_route,
            host_key: match self.host_key {
                HostKey::AcceptNew => HostKeyPolicy::AcceptNew,
                HostKey::Strict => HostKeyPolicy::Strict,
            },
            allow_downgrade: self.allow_downgrade,
            reinstall: self.reinstall,
            recreate: self.recreate,
            keep_credentials: self.keep_credentials.clone(),
            ..RunOptions::default()
        }
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// etcd, then Kubernetes, from conf.ini and install.ini
    Deploy(deploy::DeployArgs),
    /// etcd clusters
    #[command(subcommand)]
    Etcd(EtcdCommand),
    /// Kubernetes clusters
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Look at hosts, run a command on them, send them a file
    #[command(subcommand)]
    Hosts(hosts::HostsCommand),
    /// This file itself: what is in it, whether it is whole, a changed copy of it
    #[command(subcommand)]
    Bundle(BundleCommand),
    /// The bundle's packages as a yum repository
    #[command(subcommand)]
    Repo(RepoCommand),
    /// The bundle's images in a registry of the site
    #[command(subcommand)]
    Registry(RegistryCommand),
    /// Hosts on EC2: create, list and terminate them
    #[command(subcommand)]
    Ec2(Ec2Command),
    /// The REST listener and its page
    Serve(Box<serve::ServeArgs>),
    /// Collect log and journals into one file for somebody who helps; no key and no password is in it
    SupportBundle(support::SupportArgs),
    /// Print completions for a shell: source <(sunshine-installer completion bash)
    Completion {
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or that of a command: sunshine-installer man etcd create | man -l -
    Man {
        #[arg(value_name = "COMMAND")]
        of: Vec<String>,
    },
}

/// Where packages come from.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Source {
    /// Another bundle, or a folder that one was extracted to, instead of this program's own
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) bundle: Option<Utf8PathBuf>,
}

impl Source {
    /// The bundle to work with; `None` for a bare deployer.
    pub(crate) fn open(&self) -> Result<Option<Bundle>, FlowError> {
        match &self.bundle {
            Some(path) => Ok(Some(Bundle::open_for_work(path)?)),
            None => Ok(Bundle::open_self()?),
        }
    }
}

/// Runs the program with these arguments.
pub fn main(args: Vec<OsString>) -> ExitCode {
    argv::hide_passwords(&args);
    core_dump::forbid();
    let exit = match legacy::words(&args) {
        Some(words) => legacy::run(words),
        None => today(args),
    };
    exit.into()
}

fn today(args: Vec<OsString>) -> Exit {
    let read = accepts::command().try_get_matches_from(args).and_then(|m| Ok((Cli::from_arg_matches(&m)?, m)));
    let (mut cli, matches) = match read {
        Ok(read) => read,
        Err(e) => return accepts::said_by_clap(e),
    };
    cli.global.environment_given = accepts::given(&matches, "environment");
    match accepts::check(&matches).and_then(|()| complete(&mut cli.command, &matches)) {
        Ok(()) => run(cli),
        Err(e) => start::refuse(&e, cli.global.manner()),
    }
}

/// Adds what only the line itself says.
fn complete(command: &mut Command, matches: &clap::ArgMatches) -> Result<(), FlowError> {
    if let (Command::Serve(args), Some(below)) = (command, matches.subcommand_matches("serve")) {
        args.given = unit::given(below)?;
    }
    Ok(())
}

fn run(cli: Cli) -> Exit {
    let Cli { global, credentials, command } = cli;
    let manner = global.manner();
    let result = match command {
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut accepts::visible(), "sunshine-installer", &mut script);
            terminal::print(&String::from_utf8_lossy(&script));
            return Exit::Done;
        }
        Command::Man { of } => return man::print(&of, manner),
        Command::Ec2(command) => ec2::run(&command, &credentials, &global),
        Command::Serve(args) => serve::run(&args, &global),
        Command::SupportBundle(args) => support::run(&args, &global),
        Command::Bundle(command) => return bundle_main(&command, &global),
        Command::Repo(command) => return repo_main(&command, &global),
        Command::Registry(command) => credentials.defaults().and_then(|login| match command.operation(&login)? {
            Some(operation) => operate(vec![operation], login, command.source(), command.yes(), &global),
            None => {
                // A server handles signals itself, and has no log of its own.
                if !matches!(command, RegistryCommand::Serve(_)) {
                    leave_nothing_behind(&global);
                    open_log(&global);
                }
                registry::run(&command, &global)
            }
        }),
        Command::Hosts(command) => credentials.defaults().and_then(|defaults| hosts::run(&command, &defaults, &global)),
        Command::Deploy(args) => {
            credentials.defaults().and_then(|d| args.job(&d, &global)).map(|(job, bundle)| begin(&job, bundle, &global))
        }
        Command::Etcd(EtcdCommand::Status) => cluster_show::etcd_status(&global),
        Command::Cluster(ClusterCommand::Status) => cluster_show::status(&global),
        Command::Cluster(ClusterCommand::Schema) => return cluster_file::schema(),
        Command::Cluster(ClusterCommand::Show(args)) => cluster_file::show(&args, &global),
        Command::Cluster(ClusterCommand::Apply(args)) => cluster_file::apply(&args, &credentials, &global),
        Command::Cluster(ClusterCommand::Replace(args)) => {
            credentials.defaults().and_then(|login| cluster_replace::replace(&args, login, &global))
        }
        Command::Cluster(ClusterCommand::Kubeconfig(args)) => cluster_show::kubeconfig(&global, &args),
        Command::Cluster(ClusterCommand::Certs(CertsCommand::Status)) => cluster_show::certificates(&global),
        Command::Etcd(command) => credentials.defaults().and_then(|login| {
            let request = command.request(&login)?;
            operate(request.iter().flat_map(operations).collect(), login, command.source(), command.yes(), &global)
        }),
        Command::Cluster(command) => credentials.defaults().and_then(|login| {
            let request = command.request(&login)?;
            operate(request.iter().flat_map(operations).collect(), login, command.source(), command.yes(), &global)
        }),
    };
    result.unwrap_or_else(|e| start::refuse(&e, manner))
}

/// Opens the log; where it lies elsewhere than expected, says so once.
pub(crate) fn open_log(global: &Global) {
    if let Some(said) = log::open(global.log_dir.as_deref()) {
        terminal::Terminal::new(global.manner()).voice().warn(&said);
    }
}

/// Opens the log and runs a job.
pub(crate) fn begin(job: &Job, bundle: Option<Bundle>, global: &Global) -> Exit {
    open_log(global);
    start::start(job, bundle, global.manner())
}

/// Does what is asked for, once the person at the terminal has agreed to what is lost by it; `yes` is their answer.
fn operate(
    operations: Vec<Operation>,
    login: TargetDefaults,
    source: Option<&Source>,
    yes: bool,
    global: &Global,
) -> Result<Exit, FlowError> {
    let options = RunOptions { login, ..global.options() };
    let job = Job { operations, options };
    let bundle = source.map_or(Ok(None), Source::open)?;
    if !yes && !global.dry_run && ask::is_possible() {
        for operation in &job.operations {
            let lost = loss(operation, &state_dir(), &global.environment)?;
            if !lost.is_empty() && !ask::agreed(&lost, "Go on?") {
                return Ok(declined(global));
            }
        }
    }
    Ok(begin(&job, bundle, global))
}

/// The person at the terminal did not agree.
pub(crate) fn declined(global: &Global) -> Exit {
    terminal::Terminal::new(global.manner()).say("nothing was changed");
    Exit::Interrupted
}

fn repo_main(command: &RepoCommand, global: &Global) -> Exit {
    let terminal = terminal::Terminal::new(global.manner());
    open_log(global);
    match repo::run(command, &mut std::io::stdout()) {
        Ok(()) => Exit::Done,
        Err(e) => {
            terminal.error(&e.to_string(), e.help().as_deref());
            match e {
                e if e.is_damage() => Exit::Damaged,
                e if e.is_usage() => Exit::Usage,
                _ => Exit::Failed,
            }
        }
    }
}

/// From now on an interrupt removes what is being written.
fn leave_nothing_behind(global: &Global) {
    if let Err(e) = super::unfinished::remove_on_signals() {
        terminal::Terminal::new(global.manner()).voice().warn(&format!("an interrupt will leave files behind: {e}"));
    }
}

fn bundle_main(command: &BundleCommand, global: &Global) -> Exit {
    leave_nothing_behind(global);
    let terminal = terminal::Terminal::new(global.manner());
    let bar = terminal.progress();
    let mut progress = |done: u64, total: u64| bar.show(done, total);
    let mut ask = |text: &str| ask::secret(text);
    let mut out = std::io::stdout();
    let mut console = bundle::Console { out: &mut out, json: global.json, progress: &mut progress, ask: &mut ask };
    let result = bundle::run(command, &mut console);
    bar.clear();
    match result {
        Ok(()) => Exit::Done,
        Err(e) => {
            terminal.error(&e.to_string(), e.help().as_deref());
            match e.exit_code() {
                3 => Exit::Damaged,
                2 => Exit::Usage,
                _ => Exit::Failed,
            }
        }
    }
}
