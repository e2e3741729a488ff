//! A real sshd on a free port of loopback, run by the test's own user, who logs in with a key made for it.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use camino::Utf8PathBuf;
use nix::unistd::{User, geteuid};
use sunshine_installer::host::{Auth, Connect, Host, HostKeyPolicy, Target, TargetDefaults};
use tempfile::TempDir;

const SSHD: &str = "/usr/sbin/sshd";

/// Settings with a file of host keys of their own. The time for a login is one that a busy machine needs too.
pub(super) fn settings(folder: &Path) -> Connect {
    let known_hosts = Utf8PathBuf::from_path_buf(folder.join("known_hosts")).expect("a plain path");
    Connect { host_key: HostKeyPolicy::AcceptNew, known_hosts, timeout: Duration::from_secs(30), ..Connect::default() }
}

/// Dropped, it ends.
pub(super) struct Daemon {
    child: Child,
    folder: TempDir,
    port: u16,
    user: String,
}

impl Daemon {
    /// Starts one with these lines in front of its configuration; `None` where there is no sshd.
    pub(super) fn start(lines: &[&str]) -> Option<Self> {
        if !Path::new(SSHD).exists() {
            eprintln!("SKIPPED: there is no {SSHD}");
            return None;
        }
        if geteuid().is_root() {
            // Where sshd gives up its rights; the system's own makes it when it starts.
            std::fs::create_dir_all("/run/sshd").expect("sshd's folder");
        }
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        for name in ["host", "user"] {
            let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(at(name)).status();
            assert!(made.expect("ssh-keygen").success(), "a key");
        }
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
        let config = format!(
            "{}\nListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\n\
             UsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\nMaxStartups 100\n",
            lines.join("\n"),
            at("host").display(),
            at("user.pub").display(),
        );
        std::fs::write(at("config"), config).expect("a file");
        let child = Command::new(SSHD)
            .args(["-D", "-e", "-f"])
            .arg(at("config"))
            .stdin(Stdio::null())
            .stderr(std::fs::File::create(at("log")).expect("a file"))
            .spawn()
            .expect("sshd");
        let user = User::from_uid(geteuid()).ok().flatten().expect("the test's user").name;
        let mut daemon = Self { child, folder, port, user };
        daemon.wait();
        Some(daemon)
    }

    fn wait(&mut self) {
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let log = self.folder.path().join("log");
            let ended = self.child.try_wait().expect("its state");
            assert!(ended.is_none(), "sshd: {}", std::fs::read_to_string(log).unwrap_or_default());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// What messages call it.
    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(super) fn target(&self) -> Target {
        let key = Utf8PathBuf::from_path_buf(self.folder.path().join("user")).expect("a plain path");
        let defaults = TargetDefaults {
            user: Some(self.user.clone()),
            auth: Auth { key: Some(key), ..Auth::default() },
            ..TargetDefaults::default()
        };
        Target::parse(&self.address(), &defaults).expect("a host of the contract")
    }

    /// A session; of a user that is not root without becoming root.
    pub(super) fn connect(&self) -> Host {
        let connect = Connect { look_only: true, ..settings(self.folder.path()) };
        Host::connect(&self.target(), &connect).expect("a login")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // One that has ended already is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
