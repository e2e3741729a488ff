//! `cluster replace`: a new host in another's place.

use clap::Args;

use crate::flow::request::{Job, RunOptions};
use crate::flow::{Environment, FlowError, loss, state_dir};
use crate::host::{Target, TargetDefaults};
use crate::spec::{self, Intent, Replacement, Request, Role, operations};

use super::ask;
use super::cli::{self, Global, Source};
use super::cluster::LeavingArgs;
use super::credentials::targets;
use super::exit::Exit;
use super::start;
use super::terminal::Terminal;

/// Options of `cluster replace`.
#[derive(Debug, Args)]
#[command(
    group = clap::ArgGroup::new("old").required(true).args(["control_plane", "worker", "etcd"]),
    after_help = "\
Examples:
  sunshine-installer cluster replace --master 10.8.14.201 --with root:PASSWORD@10.8.14.204
  sunshine-installer cluster replace --master 10.8.14.201 --with 10.8.14.204 --force      10.8.14.201 is gone for good

The new host gets every role that the other one has: control plane node, worker node, etcd member. It joins first; the other
one leaves when all of it is well. With --force it leaves first, so that a member that is dead no longer counts for etcd's
quorum. Run again, the same line goes on where it stopped."
)]
pub(crate) struct ReplaceArgs {
    /// The control plane node that leaves
    #[arg(long = "master", value_name = "HOST")]
    control_plane: Option<String>,
    /// The worker node that leaves
    #[arg(long = "node", value_name = "HOST")]
    worker: Option<String>,
    /// The etcd member that leaves
    #[arg(long, value_name = "HOST")]
    etcd: Option<String>,
    /// The host that takes its place
    #[arg(long = "with", value_name = "HOST")]
    new: String,
    /// Control plane nodes that stay, for their passwords: all of them are updated when etcd members change
    #[arg(long, value_name = "HOST", num_args = 1..)]
    also: Vec<String>,
    #[command(flatten)]
    leaving: LeavingArgs,
    #[command(flatten)]
    pub(crate) source: Source,
}

impl ReplaceArgs {
    fn replacement(&self, login: &TargetDefaults) -> Result<Replacement, FlowError> {
        let named = [(Role::ControlPlane, &self.control_plane), (Role::Worker, &self.worker), (Role::Etcd, &self.etcd)];
        let named: Vec<(Role, &String)> =
            named.into_iter().filter_map(|(role, host)| host.as_ref().map(|host| (role, host))).collect();
        let one = |host: &String| -> Result<Target, FlowError> {
            let mut read = targets(std::slice::from_ref(host), login)?;
            read.pop().ok_or_else(|| FlowError::request("a host is missing"))
        };
        let mut roles = Vec::new();
        let mut old: Option<Target> = None;
        for (role, host) in named {
            let host = one(host)?;
            if let Some(other) = old.as_ref().filter(|old| !old.same_host(&host)) {
                return Err(FlowError::request_with_help(
                    format!("{} and {} are two hosts", other.id(), host.id()),
                    "replace one host at a time",
                ));
            }
            roles.push(role);
            old = Some(host);
        }
        Ok(Replacement {
            old: old.ok_or_else(|| FlowError::request("no host is named that leaves"))?,
            named: roles,
            new: one(&self.new)?,
            also: targets(&self.also, login)?,
            force: self.leaving.force,
            drain_timeout: self.leaving.drain_timeout(),
        })
    }
}

/// Runs the requests that a replacement comes to, the next one only when the one before it has ended well.
pub(crate) fn replace(args: &ReplaceArgs, login: TargetDefaults, global: &Global) -> Result<Exit, FlowError> {
    let replacement = args.replacement(&login)?;
    let environment = Environment::find(&state_dir(), &global.environment)?;
    let stored = spec::stored(&environment)?.unwrap_or_default();
    let requests = replacement.requests(&stored)?;
    let terminal = Terminal::new(global.manner());
    if requests.is_empty() {
        terminal.say(&format!(
            "{} is not in the cluster any more, {} is: nothing is left to do",
            replacement.old.id(),
            replacement.new.id()
        ));
        return Ok(Exit::Done);
    }
    if !args.leaving.yes && !global.dry_run && ask::is_possible() && !agreed(&requests, global)? {
        return Ok(cli::declined(global));
    }
    let options = RunOptions { login, ..global.options() };
    cli::open_log(global);
    for request in &requests {
        let job = Job { operations: operations(request), options: options.clone() };
        let exit = start::start(&job, args.source.open()?, global.manner());
        if exit != Exit::Done {
            let leaves_first = args.leaving.force && request.intent == Intent::Add;
            if leaves_first && !global.dry_run {
                terminal.voice().warn(&format!(
                    "{} has left the cluster: once the cause is gone, {} joins with `{}`",
                    replacement.old.id(),
                    replacement.new.id(),
                    add(request, &replacement.new)
                ));
            }
            return Ok(exit);
        }
    }
    Ok(Exit::Done)
}

fn agreed(requests: &[Request], global: &Global) -> Result<bool, FlowError> {
    let mut lost = Vec::new();
    for operation in &spec::of_all(requests) {
        lost.extend(loss(operation, &state_dir(), &global.environment)?);
    }
    Ok(ask::agreed(&lost, "Go on?"))
}

/// The line by which a host joins alone.
fn add(request: &Request, new: &Target) -> String {
    let roles = [(Role::ControlPlane, "--master"), (Role::Worker, "--node"), (Role::Etcd, "--etcd")];
    let has = roles.into_iter().filter(|(role, _)| request.spec.has(&new.id(), *role));
    let words: Vec<String> = has.map(|(_, option)| format!(" {option} {}", new.id())).collect();
    format!("cluster add{}", words.concat())
}
