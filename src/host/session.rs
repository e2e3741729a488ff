//! A connected host: one TCP connection, one SSH session, many commands over it.
//!
//! A session is one mutex (libssh2 allows no more), so commands of several threads to one host queue up. A connection
//! that was lost, or given up after a time-out, is made anew when the next command comes.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use nix::sys::socket::{setsockopt, sockopt};
use ssh2::Session;

use super::auth::{self, LoginError};
use super::error::HostError;
use super::exec::{Streams, Wire, WireError};
use super::id::HostId;
use super::known_hosts::{self, HostKeyPolicy};
use super::pace;
use super::shell::{Command, Output, tail};
use super::target::Target;

/// Lines of standard error that an error carries.
const ERROR_LINES: usize = 15;
/// Unanswered data for this long means that the peer is gone, in milliseconds (`TCP_USER_TIMEOUT`, tcp(7)).
const PEER_GONE_MS: u32 = 30_000;

/// Told of every command: host, command, exit status when there is one, time.
pub type Watch = Arc<dyn Fn(&str, &Command, Option<i32>, Duration) + Send + Sync>;

/// How to connect, the same for all hosts of a run.
#[derive(Clone)]
pub struct Connect {
    pub host_key: HostKeyPolicy,
    pub known_hosts: Utf8PathBuf,
    /// For the connection and for the login, each.
    pub timeout: Duration,
    pub watch: Option<Watch>,
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
    /// sudo asks for nothing.
    Sudo,
    /// sudo reads this from standard input, before the command's own input.
    SudoPassword(super::secret::Secret),
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
            Root::Sudo if command.as_root => ("sudo -n -- ", String::new()),
            // -k: a remembered login would leave the password unread, for the command to find in its input.
            Root::SudoPassword(secret) if command.as_root => ("sudo -k -S -p '' -- ", format!("{}\n", secret.expose())),
            _ => ("", String::new()),
        };
        let line = command.line(prefix);
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
            let mut streams = Streams { first: password.into_bytes(), stdin, out, err: &mut stderr, stall };
            channel.and_then(|channel| wire.exec(channel, &line, &mut streams, deadline))
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
        let free = self.run(&Command::script("sudo -k -n true").as_user())?;
        if free.ok() {
            return Ok(Root::Sudo);
        }
        let auth = &self.target.auth;
        let fail = |why: String| HostError::Sudo { host: self.name.clone(), user: self.target.user.clone(), why };
        let Some(secret) = auth.sudo_password.as_ref().or(auth.password.as_ref()) else {
            return Err(fail(format!("it asks for a password and none is given ({})", tail(&free.stderr, 1))));
        };
        let input = format!("{}\n", secret.expose());
        let asked = self.run(&Command::script("sudo -k -S -p '' true").as_user().stdin(input))?;
        if asked.ok() {
            return Ok(Root::SudoPassword(secret.clone()));
        }
        Err(fail(tail(&asked.stderr, 2).replace('\n', "; ")))
    }
}

/// A time after another; where the clock has no such time, one that nobody will see.
fn later(begun: Instant, wait: Duration) -> Instant {
    const DECADES: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
    begun.checked_add(wait).unwrap_or(begun + DECADES)
}

/// The session, and the addresses of both its ends: ours, then the host's.
fn open(target: &Target, connect: &Connect) -> Result<(Wire, [IpAddr; 2]), HostError> {
    let (session, tcp) = log_in(target, connect)?;
    let ends = [tcp.local_addr(), tcp.peer_addr()].map(|end| end.map_or(IpAddr::from([127, 0, 0, 1]), |a| a.ip()));
    Ok((Wire::new(session, tcp), ends))
}

/// Connects and logs in, again when sshd drops the connection because it has too many logins under way. The session is
/// still a blocking one.
pub(super) fn log_in(target: &Target, connect: &Connect) -> Result<(Session, TcpStream), HostError> {
    let host = target.id();
    let mut why = String::new();
    for tried in 0..pace::TRIES {
        if tried > 0 {
            thread::sleep(pace::back_off(tried - 1));
        }
        let place = pace::place(&target.socket());
        let tcp = dial(target, connect)?;
        match auth::handshake(&tcp, connect.timeout, &known_hosts::types(&connect.known_hosts, target)) {
            Ok(session) => {
                let key = session.host_key().map(|(key, _)| key.to_vec()).unwrap_or_default();
                known_hosts::check(connect, target, &key)?;
                match auth::login(&session, target, connect.timeout) {
                    Err(LoginError::Dropped(lost)) => why = lost,
                    Err(LoginError::Final(e)) => return Err(e),
                    Ok(()) => return Ok((session, tcp)),
                }
            }
            Err(e) if auth::is_drop(&e) => why = e.to_string(),
            Err(e) => return Err(HostError::Unreachable { host, why: format!("SSH handshake: {e}") }),
        }
        drop(place);
    }
    Err(HostError::Dropped { host, tries: pace::TRIES, why })
}

fn dial(target: &Target, connect: &Connect) -> Result<TcpStream, HostError> {
    let fail = |why: String| HostError::Unreachable { host: target.id(), why };
    let addresses: Vec<SocketAddr> = match target.address.ip() {
        Some(ip) => vec![SocketAddr::new(ip, target.port)],
        None => (target.address.to_string(), target.port)
            .to_socket_addrs()
            .map_err(|e| fail(format!("its name cannot be resolved: {e}")))?
            .collect(),
    };
    let mut why = "its name has no address".to_owned();
    for address in addresses {
        match TcpStream::connect_timeout(&address, connect.timeout) {
            Ok(tcp) => {
                // Commands are small packets that each wait for an answer.
                let _ = tcp.set_nodelay(true);
                let _ = setsockopt(&tcp.as_fd(), sockopt::TcpUserTimeout, &PEER_GONE_MS);
                return Ok(tcp);
            }
            Err(e) => why = format!("{address}: {e}"),
        }
    }
    Err(fail(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_limit_beyond_all_times_is_no_panic() {
        let now = Instant::now();
        assert_eq!(later(now, Duration::from_secs(8)), now + Duration::from_secs(8));
        assert!(later(now, Duration::MAX) > now + Duration::from_secs(1 << 28));
    }
}
