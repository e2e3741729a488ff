//! Product sessions from the lab's control host.

use std::fs::File;
use std::thread;
use std::time::Duration;

use camino::Utf8PathBuf;
use nix::sched::{CloneFlags, setns};
use sunshine_installer::host::{Auth, Command, Connect, HostError, HostKeyPolicy, Secret, Target, TargetDefaults};

use crate::lab::{Host, Lab};

/// Runs `work` with the lab's network as its own. Threads that it starts have it too.
pub(super) fn inside<T: Send>(lab: &Lab, work: impl FnOnce() -> T + Send) -> T {
    let network = File::open(format!("/run/netns/lab-{}", lab.name())).unwrap();
    thread::scope(|scope| {
        let thread = scope.spawn(move || {
            setns(network, CloneFlags::CLONE_NEWNET).unwrap();
            work()
        });
        match thread.join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Settings with a known_hosts of their own, in a folder that lives as long as the test. The time for a login is one that a
/// busy machine needs too.
pub(super) fn settings(folder: &tempfile::TempDir) -> Connect {
    let known_hosts = Utf8PathBuf::from_path_buf(folder.path().join("known_hosts")).unwrap();
    Connect { host_key: HostKeyPolicy::AcceptNew, known_hosts, timeout: Duration::from_secs(30), ..Connect::default() }
}

/// A lab host as the product sees it, with the login that the lab names.
pub(super) fn target(host: &Host) -> Target {
    let login = &host.login;
    let auth = Auth {
        key: login.key.clone().map(|k| Utf8PathBuf::from_path_buf(k).unwrap()),
        sudo_password: login.sudo_password.clone().map(Secret::new),
        ..Auth::default()
    };
    Target::parse(&host.target(), &TargetDefaults { auth, ..TargetDefaults::default() }).unwrap()
}

/// Another login to the same host.
pub(super) fn login(host: &Host, user: &str, password: &str) -> Target {
    let mut target = target(host);
    user.clone_into(&mut target.user);
    target.auth = Auth { password: Some(Secret::new(password)), ..Auth::default() };
    target
}

pub(super) fn connect(target: &Target, settings: &Connect) -> sunshine_installer::host::Host {
    match sunshine_installer::host::Host::connect(target, settings) {
        Ok(host) => host,
        Err(e) => panic!("{e}"),
    }
}

#[track_caller]
pub(super) fn refused(target: &Target, settings: &Connect) -> HostError {
    match sunshine_installer::host::Host::connect(target, settings) {
        Ok(host) => panic!("{host:?} was let in"),
        Err(e) => e,
    }
}

pub(super) fn whoami() -> Command {
    Command::new("whoami")
}
