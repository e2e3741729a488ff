//! The package managers' command lines. Everything that differs between dnf5, dnf 4, yum 3 and rpm is here.
//!
//! Sources: dnf(8), dnf.conf(5), dnf5(8), yum(8) and yum.conf(5) of CentOS 7, rpm(8).

use std::time::Duration;

use crate::deliver::repository::ID;
use crate::host::{Command, PackageManager};

use super::problem::{self, Verdict};
use super::transaction::{self, Transaction};

/// A host's package manager, as far as this module needs to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manager {
    Dnf5,
    Dnf,
    Yum,
    /// rpm alone: no solver, no repositories.
    Rpm,
}

impl From<PackageManager> for Manager {
    fn from(manager: PackageManager) -> Manager {
        match manager {
            PackageManager::Dnf5 => Manager::Dnf5,
            PackageManager::Dnf => Manager::Dnf,
            PackageManager::Yum => Manager::Yum,
            // zypper would leave a repository in the host's own configuration; rpm does without.
            PackageManager::Zypper => Manager::Rpm,
        }
    }
}

/// What is to be done with the packages named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Install,
    Downgrade,
    Reinstall,
}

impl Action {
    fn word(self) -> &'static str {
        match self {
            Action::Install => "install",
            Action::Downgrade => "downgrade",
            Action::Reinstall => "reinstall",
        }
    }
}

/// Where the run's own files lie on the host, and which of its repositories there are.
#[derive(Debug, Clone)]
pub(super) struct Ours {
    pub(super) repos_dir: String,
    pub(super) cache_dir: String,
    pub(super) sections: Vec<String>,
    /// Whether rpm signatures are checked too.
    pub(super) gpgcheck: bool,
    /// Addresses of the keys that they are checked with.
    pub(super) rpm_keys: Vec<String>,
}

impl Manager {
    pub(super) fn program(self) -> &'static str {
        match self {
            Manager::Dnf5 => "dnf5",
            Manager::Dnf => "dnf",
            Manager::Yum => "yum",
            Manager::Rpm => "rpm",
        }
    }

    /// The program with its messages untranslated.
    fn command(self, timeout: Duration) -> Command {
        let command = Command::new("env").args(["LC_ALL=C", "LANG=C"]).timeout(timeout);
        // dnf 5 cuts its table to a terminal's width, 80 where there is none.
        let command = if self == Manager::Dnf5 { command.arg("FORCE_COLUMNS=1000") } else { command };
        let command = command.arg(self.program());
        // At this level dnf 4 prints the transaction line by line, as yum 3 always does.
        if self == Manager::Dnf { command.arg("-v") } else { command }
    }

    /// A transaction from the run's repository alone, whatever else the host has configured.
    pub(super) fn ours(self, action: Action, specs: &[String], ours: &Ours, trial: bool, timeout: Duration) -> Command {
        let command = self.isolated(ours, timeout);
        let command = if trial && self.trial_reads_metadata() { command.arg("-y") } else { command };
        // Last, so that what is done stands in the part of a long line that errors show.
        self.finish(command, action, specs, trial).args(self.settings())
    }

    /// A transaction that waits to be told to go on: nothing is answered beforehand. Only where the questions are known.
    pub(super) fn asking(self, specs: &[String], ours: Ours, timeout: Duration) -> Option<Command> {
        // The metadata is read by the same run of dnf, so the run's own key has to stay among those that the .repo file names.
        let ours = Ours { rpm_keys: Vec::new(), ..ours };
        let command = self.isolated(&ours, timeout);
        // Whatever the host's own dnf.conf answers beforehand (dnf.conf(5)), this is not yet the answer.
        let command =
            command.args(["assumeyes", "defaultyes", "assumeno"].map(|option| format!("--setopt={option}=0")));
        let command = command.args(["--setopt=exit_on_lock=1", "install"]);
        (self == Manager::Dnf).then(|| command.args(specs.iter().cloned()).args(self.settings()))
    }

    /// What a site may have set otherwise in its dnf.conf or yum.conf, and what changes what a line of ours does: each is given, so that it
    /// comes to the same on every host. A program refuses (dnf 5) or reports (dnf 4, yum) an option that it does not know, so each gets its own.
    ///
    /// Left as the site has them: `protected_packages`, and `installonlypkgs`, which say what must not be removed.
    fn settings(self) -> Vec<String> {
        let both =
            ["tsflags=", "obsoletes=1", "multilib_policy=best", "clean_requirements_on_remove=0", "diskspacecheck=1"];
        let dnf = ["best=1", "install_weak_deps=1", "cacheonly=0", "ip_resolve=whatever", "allow_vendor_change=1"];
        let (more, own): (&[&str], &[&str]) = match self {
            Manager::Dnf5 => (&dnf, &["skip_broken=0", "skip_unavailable=0"]),
            Manager::Dnf => (&dnf, &["strict=1", "color=never"]),
            Manager::Yum | Manager::Rpm => (&[], &["skip_broken=0", "color=never"]),
        };
        both.iter().chain(more).chain(own).map(|setting| format!("--setopt={setting}")).collect()
    }

    /// Reads the run's metadata, checks its signature, and accepts the run's key for that (`-y`).
    pub(super) fn makecache(self, ours: &Ours) -> Command {
        let command = self.isolated(ours, Duration::from_secs(120)).args(["-y", "makecache"]);
        // yum 3 would fetch all file lists otherwise.
        let command = if self == Manager::Yum { command.arg("fast") } else { command };
        command.args(self.settings())
    }

    /// Whether a trial can accept the run's key by itself, so that the metadata need not be read before: dnf 4 heeds `-y` where
    /// keys are asked for, and `--assumeno` before the transaction, when both are given.
    pub(super) fn trial_reads_metadata(self) -> bool {
        self == Manager::Dnf
    }

    fn isolated(self, ours: &Ours, timeout: Duration) -> Command {
        let mut command = self.command(timeout);
        // Plugins that call home (subscription-manager, fastestmirror) would wait for a network that is not there.
        command = command.arg("--noplugins");
        command = command.arg(format!("--setopt=reposdir={}", ours.repos_dir));
        command = command.arg(format!("--setopt=cachedir={}", ours.cache_dir));
        command = command.args(["--disablerepo=*".to_owned(), format!("--enablerepo={ID}*")]);
        // Excludes are the host's policy for its own repositories (`exclude=kubelet` is common advice).
        command = match self {
            Manager::Dnf5 => command.arg("--setopt=disable_excludes=*"),
            _ => command.arg("--disableexcludes=all"),
        };
        // A dead connection is noticed in seconds; this program, not dnf, knows another way.
        command = command.args(["--setopt=timeout=10", "--setopt=retries=1"]);
        for section in &ours.sections {
            command = command.arg(format!("--setopt={section}.gpgcheck={}", u8::from(ours.gpgcheck)));
            if ours.gpgcheck && !ours.rpm_keys.is_empty() {
                // Without the run's own key, which has been taken for the metadata by then: the keys named here get
                // into the rpm database, and stay.
                command = command.arg(format!("--setopt={section}.gpgkey={}", ours.rpm_keys.join(" ")));
            }
        }
        command
    }

    /// A transaction from the host's own repositories, as its administrator set them up.
    pub(super) fn own(self, specs: &[String], trial: bool, timeout: Duration) -> Command {
        let command = self.command(timeout);
        self.finish(command, Action::Install, specs, trial)
    }

    fn finish(self, command: Command, action: Action, specs: &[String], trial: bool) -> Command {
        let command = match self {
            // dnf 5 has no such option: it fails at once, in words that are known.
            Manager::Dnf5 => command,
            _ => command.arg("--setopt=exit_on_lock=1"),
        };
        // Where dnf.conf has `assumeno`, that would count before `-y`; with `tsflags=test` nothing would be installed, with success.
        let command = match trial {
            true => command.arg("--assumeno"),
            false => command.args(["-y", "--setopt=assumeno=0", "--setopt=tsflags="]),
        };
        let command = if trial { command } else { command.outlives_connection() };
        command.arg(action.word()).args(specs.iter().cloned())
    }

    /// What its output says is, or would be, done.
    pub(super) fn transaction(self, output: &str) -> Transaction {
        match self {
            Manager::Dnf5 => transaction::from_table(output),
            _ => transaction::from_lines(output),
        }
    }

    /// What a run that did not end well was stopped by. A trial always ends with a status of its own when there is
    /// something to do: that alone is no failure.
    pub(super) fn verdict(self, status: i32, output: &str) -> Verdict {
        problem::verdict(status, output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours() -> Ours {
        Ours {
            repos_dir: "/run/sunshine-installer/abc/repos.d".into(),
            cache_dir: "/var/cache/sunshine-installer/abc/cache".into(),
            sections: vec!["sunshine-installer".into()],
            gpgcheck: false,
            rpm_keys: vec!["file:///run/sunshine-installer/abc/rpm-key-0.asc".into()],
        }
    }

    fn line(manager: Manager, trial: bool) -> String {
        let specs = ["etcd-3.4.23-1.el9.x86_64".to_owned()];
        manager.ours(Action::Install, &specs, &ours(), trial, Duration::from_secs(9)).to_string()
    }

    #[test]
    fn only_this_repository_is_seen() {
        for manager in [Manager::Dnf5, Manager::Dnf, Manager::Yum] {
            let line = line(manager, false);
            for part in [
                "--noplugins",
                "--setopt=reposdir=/run/sunshine-installer/abc/repos.d",
                "--setopt=cachedir=/var/cache/sunshine-installer/abc/cache",
                "'--disablerepo=*'",
                "'--enablerepo=sunshine-installer*'",
                "--setopt=sunshine-installer.gpgcheck=0",
            ] {
                assert!(line.contains(part), "{manager:?}: {part} in {line}");
            }
        }
    }

    #[test]
    fn what_a_site_set_otherwise_is_given_and_nothing_that_the_program_does_not_know() {
        for manager in [Manager::Dnf5, Manager::Dnf, Manager::Yum] {
            let line = manager.settings().join(" ");
            let dnf_s = ["best=1", "install_weak_deps=1", "ip_resolve=whatever"];
            assert!(line.contains("--setopt=tsflags= --setopt=obsoletes=1"), "{line}");
            assert!(dnf_s.iter().all(|setting| line.contains(setting) == (manager != Manager::Yum)), "{line}");
            assert_eq!(line.contains("skip_unavailable"), manager == Manager::Dnf5, "{line}");
            assert_eq!(line.contains("color=never"), manager != Manager::Dnf5, "{line}");
        }
    }

    #[test]
    fn packages_are_not_checked_with_the_run_s_key() {
        let ours = Ours { gpgcheck: true, ..ours() };
        let line = Manager::Dnf.isolated(&ours, Duration::from_secs(9)).to_string();
        assert!(line.contains("gpgkey=file:///run/sunshine-installer/abc/rpm-key-0.asc"), "{line}");
    }

    #[test]
    fn a_trial_asks_and_the_real_run_does() {
        assert!(line(Manager::Dnf, true).starts_with("env LC_ALL=C LANG=C dnf -v --noplugins "));
        assert!(
            line(Manager::Dnf, true)
                .contains(" -y --setopt=exit_on_lock=1 --assumeno install etcd-3.4.23-1.el9.x86_64")
        );
        assert!(
            line(Manager::Yum, true).contains(" --setopt=exit_on_lock=1 --assumeno install etcd-3.4.23-1.el9.x86_64")
        );
        assert!(
            line(Manager::Yum, false)
                .contains(" -y --setopt=assumeno=0 --setopt=tsflags= install etcd-3.4.23-1.el9.x86_64")
        );
        assert!(!line(Manager::Dnf5, false).contains("exit_on_lock"));
    }

    #[test]
    fn the_host_s_own_repositories_are_used_as_they_are_set_up() {
        let own = Manager::Dnf.own(&["docker".to_owned()], false, Duration::from_secs(9)).to_string();
        assert_eq!(
            own,
            "env LC_ALL=C LANG=C dnf -v --setopt=exit_on_lock=1 -y --setopt=assumeno=0 --setopt=tsflags= install docker"
        );
    }
}
