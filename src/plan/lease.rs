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
use super::owner::Owner;

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

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the script on this machine, with the lease in `dir`, for an environment of a control host called `control`.
    fn run(dir: &std::path::Path, verb: &str, environment: &str) -> Option<Holder> {
        let folder = dir.join("lease-folder");
        let script = LEASE.replace("/run/sunshine-installer-lease", folder.to_str().unwrap());
        // A second's wait for one that is about to end is enough here.
        let script = script.replace("-le 10 ]", "-le 1 ]");
        let who = format!("{environment}\tcontrol\t7");
        let output = std::process::Command::new("/bin/sh").args(["-c", &script, "sh", verb, &who]).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        read_holder(&String::from_utf8(output.stdout).unwrap())
    }

    fn file(dir: &std::path::Path) -> std::path::PathBuf {
        dir.join("lease-folder/lease")
    }

    #[test]
    fn another_environment_is_refused_until_the_lease_is_released() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(run(dir.path(), "take", "a-1"), None);
        assert_eq!(run(dir.path(), "take", "a-1"), None, "a killed run of the same environment is continued");
        let holder = run(dir.path(), "take", "b-2").unwrap();
        assert!(holder.silent < 10);
        assert_eq!((holder.environment.as_str(), holder.control_host.as_str()), ("a-1", "control"));
        // Who does not hold it does not end it.
        run(dir.path(), "release", "b-2");
        assert!(run(dir.path(), "take", "b-2").is_some());
        run(dir.path(), "release", "a-1");
        assert!(!dir.path().join("lease-folder").exists());
        assert_eq!(run(dir.path(), "take", "b-2"), None);
    }

    #[test]
    fn a_lease_without_a_heartbeat_of_another_boot_or_damaged_is_nobodys() {
        let dir = tempfile::tempdir().unwrap();
        run(dir.path(), "take", "a-1");
        let taken = std::fs::read_to_string(file(dir.path())).unwrap();
        let [boot, seconds, who] = taken.splitn(3, '\t').collect::<Vec<_>>()[..] else { panic!("{taken}") };
        let old: u64 = seconds.parse().unwrap();
        let silent = format!("{boot}\t{}\t{who}", old.saturating_sub(61));
        let before_the_boot = format!("00000000-0000-0000-0000-000000000000\t{seconds}\t{who}");
        for text in [silent.as_str(), &before_the_boot, "", "\n", "a\tb\tc\n", &format!("{boot}\t$(id)\t{who}")] {
            std::fs::write(file(dir.path()), text).unwrap();
            assert_eq!(run(dir.path(), "take", "b-2"), None, "{text:?}");
        }
    }
}
