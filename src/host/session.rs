//! A connected host: one TCP connection, one SSH session, many commands over it.
//!
//! A session is one mutex (libssh2 allows no more), so commands of several threads to one host queue up. A connection
//! that was lost, or given up after a time-out, is made anew when the next command comes.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;

use super::error::HostError;
use super::exec::{Streams, Wire, WireError};
use super::fence;
use super::id::HostId;
use super::known_hosts::HostKeyPolicy;
use super::login::log_in;
use super::secret::Secret;
use super::shell::{Command, Output, in_terminal};
use super::target::Target;
use super::text::tail;
use super::watchdog::later;

/// Lines of standard error that an error carries.
const ERROR_LINES: usize = 15;

/// Told of every command: host, command, exit status when there is one, time.
pub type Watch = Arc<dyn Fn(&str, &Command, Option<i32>, Duration) + Send + Sync>;

/// Told why a login takes long: host, what the host says.
pub type Told = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// How to connect, the same for all hosts of a run.
#[derive(Clone)]
pub struct Connect {
    pub host_key: HostKeyPolicy,
    pub known_hosts: Utf8PathBuf,
    /// For the connection and for the login, each.
    pub timeout: Duration,
    pub watch: Option<Watch>,
    pub told: Option<Told>,
    /// For a dry run: log in also where the user cannot become root, with what the user may read, and record no host key.
    pub look_only: bool,
}

impl Default for Connect {
    fn default() -> Self {
        Self {
            host_key: HostKeyPolicy::default(),
            known_hosts: "known_hosts".into(),
            timeout: Duration::from_secs(10),
            watch: None,
            told: None,
            look_only: false,
        }
    }
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("host_key", &self.host_key)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// How commands become root's.
#[derive(Debug, Clone)]
enum Root {
    /// The login is root's.
    Already,
    /// They do not: [`Connect::look_only`].
    Never,
    Sudo {
        /// What sudo reads from standard input, before the command's own input; it asks for nothing without.
        password: Option<Secret>,
        /// It wants a terminal (`Defaults requiretty`, sudoers(5)).
        terminal: bool,
    },
}

/// One connected host.
pub struct Host {
    target: Target,
    connect: Connect,
    name: HostId,
    local: IpAddr,
    remote: IpAddr,
    root: Root,
    wire: Mutex<Wire>,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Host({})", self.target)
    }
}

impl Host {
    /// Connects, checks the host's key, logs in, and proves that commands can be run as root.
    ///
    /// # Errors
    /// Says which of these failed and why.
    pub fn connect(target: &Target, connect: &Connect) -> Result<Self, HostError> {
        let (wire, [local, remote]) = open(target, connect)?;
        let mut host = Self {
            name: target.id(),
            target: target.clone(),
            connect: connect.clone(),
            local,
            remote,
            root: Root::Already,
            wire: Mutex::new(wire),
        };
        if target.user != "root" {
            host.root = match host.find_root() {
                Err(HostError::Sudo { .. }) if connect.look_only => Root::Never,
                found => found?,
            };
        }
        Ok(host)
    }

    /// Whether commands run as root; false only with [`Connect::look_only`].
    pub fn is_root(&self) -> bool {
        !matches!(self.root, Root::Never)
    }

    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Which host this is, and how messages call it.
    pub fn name(&self) -> &HostId {
        &self.name
    }

    /// Our end of the connection: the address by which the host would reach us.
    pub fn local_address(&self) -> IpAddr {
        self.local
    }

    /// The host's end of it: where we found the host, which may be a gateway in front of it.
    pub fn remote_address(&self) -> IpAddr {
        self.remote
    }

    pub(super) fn settings(&self) -> &Connect {
        &self.connect
    }

    /// Runs a command; a non-zero exit status is no error here.
    ///
    /// # Errors
    /// When the host does not answer in time or the connection is lost.
    pub fn run(&self, command: &Command) -> Result<Output, HostError> {
        let mut stdout = Vec::new();
        let mut output = self.stream(command, &mut command.stdin_bytes(), &mut |b| stdout.extend_from_slice(b))?;
        output.stdout = stdout;
        Ok(output)
    }

    /// Runs a command that must succeed.
    ///
    /// # Errors
    /// As [`Host::run`], and [`HostError::Failed`] with the last lines of standard error.
    pub fn run_ok(&self, command: &Command) -> Result<Output, HostError> {
        let output = self.run(command)?;
        self.succeeded(command, output)
    }

    /// As [`Host::run`], handing over every line of standard output as it comes.
    ///
    /// # Errors
    /// As [`Host::run`].
    pub fn run_streaming(&self, command: &Command, line: &mut dyn FnMut(&str)) -> Result<Output, HostError> {
        let mut stdout = Vec::new();
        let mut told = 0;
        let mut output = self.stream(command, &mut command.stdin_bytes(), &mut |bytes| {
            stdout.extend_from_slice(bytes);
            while let Some(end) = stdout[told..].iter().position(|b| *b == b'\n') {
                line(&String::from_utf8_lossy(&stdout[told..told + end]));
                told += end + 1;
            }
        })?;
        if told < stdout.len() {
            line(&String::from_utf8_lossy(&stdout[told..]));
        }
        output.stdout = stdout;
        Ok(output)
    }

    /// Runs a command with `stdin` as its input and `out` told of its output.
    pub(super) fn stream(
        &self,
        command: &Command,
        stdin: &mut dyn io::Read,
        out: &mut dyn FnMut(&[u8]),
    ) -> Result<Output, HostError> {
        self.stream_lively(command, stdin, out, None)
    }

    /// As [`Host::stream`]; given up when for `stall` the host takes nothing of an input that is not yet all sent.
    pub(super) fn stream_lively(
        &self,
        command: &Command,
        stdin: &mut dyn io::Read,
        out: &mut dyn FnMut(&[u8]),
        stall: Option<Duration>,
    ) -> Result<Output, HostError> {
        let mut wire = self.wire()?;
        self.stream_over(&mut wire, command, stdin, out, stall)
    }

    /// Runs a command unless another is running over this connection, or the connection broke.
    ///
    /// # Errors
    /// As [`Host::run`].
    pub fn run_if_idle(&self, command: &Command) -> Option<Result<Output, HostError>> {
        let mut wire = self.wire.try_lock().ok().filter(|wire| !wire.is_broken())?;
        Some(self.stream_over(&mut wire, command, &mut command.stdin_bytes(), &mut |_| {}, None))
    }

    fn stream_over(
        &self,
        wire: &mut Wire,
        command: &Command,
        stdin: &mut dyn io::Read,
        out: &mut dyn FnMut(&[u8]),
        stall: Option<Duration>,
    ) -> Result<Output, HostError> {
        let begun = Instant::now();
        let (prefix, password) = match &self.root {
            Root::Sudo { password: None, .. } if command.as_root => ("sudo -n -- ", String::new()),
            // -k: a remembered login would leave the password unread, for the command to find in its input.
            Root::Sudo { password: Some(secret), .. } if command.as_root => {
                ("sudo -k -S -p '' -- ", format!("{}\n", secret.expose()))
            }
            _ => ("", String::new()),
        };
        let mut line = command.line(prefix);
        if command.terminal || matches!(self.root, Root::Sudo { terminal: true, .. } if command.as_root) {
            line = in_terminal(&line);
        }
        // The host's own `timeout` answers first; this is for a host that does not answer at all.
        let deadline = later(begun, command.timeout.saturating_add(Duration::from_secs(8)));
        let mut stderr = Vec::new();
        let result = {
            // A session that was idle may have been ended by the host (ClientAliveCountMax) or by a firewall. As long as
            // no channel is open nothing has been started, so it can safely be made anew.
            let channel = match wire.open_channel(deadline) {
                Err(WireError::Lost(_)) => {
                    *wire = open(&self.target, &self.connect)?.0;
                    wire.open_channel(deadline)
                }
                other => other,
            };
            let most = command.most_output;
            let mut streams = Streams { first: password.into_bytes(), stdin, out, err: &mut stderr, stall, most };
            channel.and_then(|channel| wire.exec(channel, fence::ship(&line), &mut streams, deadline))
        };
        let took = begun.elapsed();
        if let Some(watch) = &self.connect.watch {
            watch(&self.name, command, result.as_ref().ok().copied(), took);
        }
        match result {
            // timeout(1): 124 when its SIGTERM ended the command, 137 when SIGKILL had to.
            Ok(124 | 137) if took >= command.timeout => Err(self.timed_out(command)),
            Ok(status) => Ok(Output { status, stdout: Vec::new(), stderr, took }),
            Err(WireError::Timeout) => Err(self.timed_out(command)),
            Err(WireError::Stalled(after)) => {
                Err(HostError::Timeout { host: self.name.clone(), command: command.to_string(), after })
            }
            Err(WireError::TooMuch(came)) => {
                let (host, command, most) = (self.name.clone(), command.to_string(), command.most_output);
                Err(HostError::TooMuch { host, command, came, most })
            }
            Err(WireError::NotRun(status, said)) => {
                let (host, user) = (self.name.clone(), self.target.user.clone());
                Err(HostError::NotRun { host, user, status, said: tail(&said, ERROR_LINES) })
            }
            Err(WireError::Lost(why)) => {
                Err(HostError::Lost { host: self.name.clone(), command: command.to_string(), why })
            }
            Err(WireError::Input(e)) => {
                Err(HostError::Local { host: self.name.clone(), what: "the data to send".into(), why: e.to_string() })
            }
        }
    }

    pub(super) fn succeeded(&self, command: &Command, output: Output) -> Result<Output, HostError> {
        if output.ok() {
            return Ok(output);
        }
        let said = if output.stderr.is_empty() { &output.stdout } else { &output.stderr };
        Err(HostError::Failed {
            host: self.name.clone(),
            command: command.to_string(),
            status: output.status,
            stderr: tail(said, ERROR_LINES),
        })
    }

    fn timed_out(&self, command: &Command) -> HostError {
        HostError::Timeout { host: self.name.clone(), command: command.to_string(), after: command.timeout }
    }

    // The wire, connected anew when it broke.
    fn wire(&self) -> Result<MutexGuard<'_, Wire>, HostError> {
        let mut wire = self.wire.lock().unwrap_or_else(PoisonError::into_inner);
        if wire.is_broken() {
            *wire = open(&self.target, &self.connect)?.0;
        }
        Ok(wire)
    }

    fn find_root(&self) -> Result<Root, HostError> {
        // Without -k a login that sudo remembers would look like one that needs no password.
        let ask = Command::script("sudo -k -n true").as_user();
        let mut free = self.run(&ask)?;
        let mut terminal = false;
        if !free.ok() && wants_terminal(&free) {
            terminal = true;
            free = self.run(&ask.terminal())?;
        }
        if free.ok() {
            return Ok(Root::Sudo { password: None, terminal });
        }
        let auth = &self.target.auth;
        let fail = |why: String| HostError::Sudo { host: self.name.clone(), user: self.target.user.clone(), why };
        let Some(secret) = auth.sudo_password.as_ref().or(auth.password.as_ref()) else {
            return Err(fail(format!("it asks for a password and none is given ({})", tail(&free.stderr, 1))));
        };
        let mut ask = Command::script("sudo -k -S -p '' true").as_user().stdin(format!("{}\n", secret.expose()));
        if terminal {
            ask = ask.terminal();
        }
        let asked = self.run(&ask)?;
        if asked.ok() {
            return Ok(Root::Sudo { password: Some(secret.clone()), terminal });
        }
        let mut why = tail(&asked.stderr, 2).replace('\n', "; ");
        if terminal {
            why.push_str(" (it wants a terminal, which script(1) of util-linux makes where it is installed)");
        }
        Err(fail(why))
    }
}

/// sudo's own words, in the language that commands run in.
fn wants_terminal(said: &Output) -> bool {
    String::from_utf8_lossy(&said.stderr).contains("must have a tty")
}

/// The session, and the addresses of both its ends: ours, then the host's.
fn open(target: &Target, connect: &Connect) -> Result<(Wire, [IpAddr; 2]), HostError> {
    let (session, tcp) = log_in(target, connect)?;
    let ends = [tcp.local_addr(), tcp.peer_addr()].map(|end| end.map_or(IpAddr::from([127, 0, 0, 1]), |a| a.ip()));
    Ok((Wire::new(session, tcp), ends))
}
