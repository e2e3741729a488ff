//! The lease of a host: which run is working on it, so that two deployers that meet there (of other environments, on other
//! control hosts) do not undo each other's work. Kept on the host, in `/run/sunshine-installer-lease`; `lease.sh` says how, and
//! how a dead owner's ends.
//!
//! Runs of one environment exclude each other by the lock on their control host ([`super::RunLock`]): whoever holds that
//! takes the environment's lease over, so a killed run is continued at once.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use crate::host::{Command, Host, HostError};

use super::context::RunHosts;
use super::record::Owner;

const LEASE: &str = include_str!("lease.sh");
/// How often a run takes the leases of its idle hosts anew.
const INTERVAL: Duration = Duration::from_secs(30);

/// Who else is working on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    pub environment: String,
    pub control_host: String,
    pub process: String,
    /// Seconds since its last heartbeat.
    pub silent: u64,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { environment, control_host, process, silent } = self;
        write!(
            f,
            "environment {environment}, process {process} on control host {control_host}, last seen {silent} s ago"
        )
    }
}

fn command(verb: &str, owner: &Owner) -> Command {
    let control_host = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let who = format!("{}\t{control_host}\t{}", owner.environment, std::process::id());
    Command::script(LEASE)
        .arg(verb)
        .arg(who)
        .timeout(Duration::from_secs(30))
        .label(format!("{verb} the lease of the host"))
}

/// Takes the lease of a host; answers with the holder when another run has it.
///
/// # Errors
/// When the host cannot be asked.
pub fn take_lease(host: &Host, owner: &Owner) -> Result<Option<Holder>, HostError> {
    Ok(read_holder(&host.run_ok(&command("take", owner))?.text()))
}

/// Ends the lease, when it is this environment's.
///
/// # Errors
/// When the host cannot be asked.
pub fn release_lease(host: &Host, owner: &Owner) -> Result<(), HostError> {
    host.run_ok(&command("release", owner)).map(drop)
}

fn read_holder(text: &str) -> Option<Holder> {
    let mut parts = text.trim_end_matches('\n').split('\t').map(str::to_owned);
    let silent = parts.next()?.parse().ok()?;
    Some(Holder { silent, environment: parts.next()?, control_host: parts.next()?, process: parts.next()? })
}

/// Takes the leases of all hosts anew while it lives; hosts that are running a command of ours need no help.
#[derive(Debug)]
pub struct LeaseKeeper<'scope> {
    stop: Option<Sender<()>>,
    thread: Option<thread::ScopedJoinHandle<'scope, ()>>,
}

impl<'scope> LeaseKeeper<'scope> {
    pub fn start<'env>(scope: &'scope thread::Scope<'scope, 'env>, hosts: &'env RunHosts) -> Self {
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = scope.spawn(move || {
            while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                for host in hosts.values() {
                    // What is wrong with a host, its next step says.
                    drop(host.host.run_if_idle(&command("take", &host.owner)));
                }
            }
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for LeaseKeeper<'_> {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
