//! One host of a lab: commands in it, its power, its cable, and everything else that can go wrong with it.

use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;

/// What a command printed and how it ended.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    /// `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    line: String,
}

impl Output {
    pub(crate) fn of(command: &mut Command) -> Self {
        let line = format!("{command:?}");
        let output = command.output().unwrap_or_else(|error| panic!("{line}: {error}"));
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            line,
        }
    }

    /// Of a process that has ended.
    pub(crate) fn ended(output: std::process::Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
            line: String::new(),
        }
    }

    pub(crate) fn ok(&self) -> bool {
        self.code == Some(0)
    }

    #[track_caller]
    pub(crate) fn expect_ok(self) -> Self {
        assert!(self.ok(), "{}: {:?}\n{}\n{}", self.line, self.code, self.stdout, self.stderr);
        self
    }
}

/// How a host is reached over SSH, as `lab status --json` says it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Login {
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) address6: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    /// Without one, only the key opens.
    pub(crate) password: Option<String>,
    /// The private key's file; the same key exists as ed25519, ecdsa and rsa.
    pub(crate) key: Option<PathBuf>,
    /// Where there is one, sudo asks for it.
    pub(crate) sudo_password: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Host {
    pub(super) lab: String,
    pub(crate) login: Login,
}

impl Host {
    pub(crate) fn name(&self) -> &str {
        &self.login.name
    }

    pub(crate) fn address(&self) -> &str {
        &self.login.address
    }

    /// The host as the product's command line takes it: `user:password@address:port`.
    pub(crate) fn target(&self) -> String {
        let Login { user, password, address, port, .. } = &self.login;
        let secret = password.as_ref().map(|word| format!(":{word}")).unwrap_or_default();
        let port = if *port == 22 { String::new() } else { format!(":{port}") };
        format!("{user}{secret}@{address}{port}")
    }

    fn lab(&self, command: &str, arguments: &[&str]) -> Output {
        Output::of(Command::new(super::script()).args([command, "--name", &self.lab, self.name()]).args(arguments))
    }

    #[track_caller]
    fn must(&self, command: &str, arguments: &[&str]) {
        self.lab(command, arguments).expect_ok();
    }

    /// Runs a line of shell inside the host as root, without its network: it works when the cable is cut.
    pub(crate) fn exec(&self, line: &str) -> Output {
        self.lab("exec", &["--", line])
    }

    /// [`Host::exec`] for a line that has to succeed; returns what it printed, without the last line's end.
    #[track_caller]
    pub(crate) fn sh(&self, line: &str) -> String {
        self.exec(line).expect_ok().stdout.trim_end().to_owned()
    }

    /// Installs these files by the host's own dnf, as its administrator would before us.
    #[track_caller]
    pub(crate) fn install(&self, rpms: &[PathBuf]) {
        self.sh("mkdir /root/rpms");
        for (number, file) in rpms.iter().enumerate() {
            let mut exec = Command::new(super::script());
            exec.args(["exec", "--name", &self.lab, self.name(), "--", &format!("cat >/root/rpms/{number}.rpm")]);
            Output::of(exec.stdin(std::fs::File::open(file).expect("an rpm of the lab"))).expect_ok();
        }
        self.sh("dnf -q -y --disablerepo='*' install /root/rpms/*.rpm && rm -r /root/rpms");
    }

    /// Loses every packet, both ways.
    pub(crate) fn cut_network(&self) {
        self.must("cut", &[]);
    }

    /// Loses every packet between this host and another.
    pub(crate) fn cut_from(&self, other: &Self) {
        self.must("cut", &["--from", other.name()]);
    }

    /// Loses every packet that this host sends.
    pub(crate) fn mute(&self) {
        self.must("mute", &[]);
    }

    /// Ends [`Host::cut_network`], [`Host::mute`] and [`Host::drop_to_control`].
    pub(crate) fn heal(&self) {
        self.must("heal", &[]);
    }

    pub(crate) fn heal_from(&self, other: &Self) {
        self.must("heal", &["--from", other.name()]);
    }

    /// Loses new connections from this host to the control host; SSH the other way goes on.
    pub(crate) fn drop_to_control(&self) {
        self.must("drop-to-control", &[]);
    }

    /// Fills the disk but for so many megabytes.
    pub(crate) fn fill_disk(&self, leave_mb: u32) {
        self.must("fill-disk", &["--leave", &leave_mb.to_string()]);
    }

    pub(crate) fn free_disk(&self) {
        self.must("free-disk", &[]);
    }

    /// Stops all of its processes where they stand.
    pub(crate) fn freeze(&self) {
        self.must("freeze", &[]);
    }

    pub(crate) fn thaw(&self) {
        self.must("thaw", &[]);
    }

    /// Sets the clock wrong by so many seconds, as date(1) shows it; 0 sets it right.
    pub(crate) fn set_clock(&self, seconds: i64) {
        self.must("clock", &["--", &seconds.to_string()]);
    }

    /// An orderly restart; returns when sshd answers again.
    pub(crate) fn reboot(&self) {
        self.must("reboot", &[]);
    }

    pub(crate) fn poweroff(&self) {
        self.must("poweroff", &[]);
    }

    pub(crate) fn start(&self) {
        self.must("start", &[]);
    }

    /// A power cut.
    pub(crate) fn kill(&self) {
        self.must("kill", &[]);
    }

    /// Adds options to sshd's settings; none takes them back.
    pub(crate) fn sshd(&self, options: &[&str]) {
        self.must("sshd", options);
    }

    /// New SSH host keys, as after a reinstallation.
    pub(crate) fn rekey(&self) {
        self.must("rekey", &[]);
    }

    /// A default repository that cannot be reached.
    pub(crate) fn dead_repo(&self) {
        self.must("dead-repo", &[]);
    }

    /// What an installer may have changed, one line each: for comparing before and after.
    pub(crate) fn snapshot(&self) -> String {
        self.lab("snapshot", &[]).expect_ok().stdout
    }
}
