//! One command over one channel of a session: standard input, output and error concurrently, with a deadline.
//!
//! The session is non-blocking; whenever nothing moves, the socket is polled. So a command that writes much to standard
//! error while we send it much cannot lock up, and a host that went silent is noticed in time. Nor does a host that never
//! stops sending hold us up: the deadline is looked at in every turn, what is kept of the output has a limit, and the
//! watchdog ends a call into libssh2 that does not come back.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ssh2::{BlockDirections, Channel, ErrorCode, Session};

use super::fence::{Fenced, Shipped};
use super::watchdog;

/// libssh2's code for "would block".
const EAGAIN: i32 = -37;
/// A packet of nothing this often keeps firewalls from forgetting the connection.
const KEEPALIVE: Duration = Duration::from_secs(15);
const CHUNK: usize = 64 * 1024;
/// How long after its deadline a call that has not come back is ended.
const GRACE: Duration = Duration::from_secs(2);

/// Why a command's end is not known.
#[derive(Debug)]
pub(super) enum WireError {
    Timeout,
    /// It took nothing of its input for this long.
    Stalled(Duration),
    /// So many bytes came, more than the command may print.
    TooMuch(usize),
    /// The login shell ended without running the command: its exit status, and what it said.
    NotRun(i32, Vec<u8>),
    Lost(String),
    /// Our own input could not be read.
    Input(io::Error),
}

/// What goes in and comes out.
pub(super) struct Streams<'a> {
    /// Sent before `stdin`, behind the script where that goes this way too: sudo's password.
    pub(super) first: Vec<u8>,
    pub(super) stdin: &'a mut dyn Read,
    pub(super) out: &'a mut dyn FnMut(&[u8]),
    pub(super) err: &'a mut Vec<u8>,
    /// The longest that sending may stand still.
    pub(super) stall: Option<Duration>,
    /// The most bytes that may come, of both outputs together and all that is printed around them.
    pub(super) most: usize,
}

/// A logged-in session and its socket.
pub(super) struct Wire {
    session: Session,
    tcp: Arc<TcpStream>,
    broken: bool,
    kept_alive: Instant,
}

impl Wire {
    pub(super) fn new(session: Session, tcp: Arc<TcpStream>) -> Self {
        session.set_blocking(false);
        session.set_keepalive(false, 1);
        Self { session, tcp, broken: false, kept_alive: Instant::now() }
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Opens a channel for one command. Nothing runs on the host yet.
    pub(super) fn open_channel(&mut self, deadline: Instant) -> Result<Channel, WireError> {
        let _watched = watchdog::watch(&self.tcp, deadline + GRACE);
        let session = self.session.clone();
        let result = self.patiently(deadline, || session.channel_session());
        self.or_break(result, deadline)
    }

    /// Runs a command by the login shell; the exit status.
    pub(super) fn exec(
        &mut self,
        channel: Channel,
        command: Shipped,
        io: &mut Streams<'_>,
        deadline: Instant,
    ) -> Result<i32, WireError> {
        let _watched = watchdog::watch(&self.tcp, deadline + GRACE);
        let result = self.try_exec(channel, command, io, deadline);
        self.or_break(result, deadline)
    }

    /// After a failure nobody knows what is still on its way in this session. It ends here and now: the host's side of the
    /// command ends with it, and to free it must not wait for the host.
    fn or_break<T>(&mut self, result: Result<T, WireError>, deadline: Instant) -> Result<T, WireError> {
        if matches!(result, Ok(_) | Err(WireError::NotRun(..))) {
            return result;
        }
        self.broken = true;
        // One that is closed already has what it should have.
        let _ = self.tcp.shutdown(Shutdown::Both);
        match result {
            // The watchdog's end of the connection is a time-out too.
            Err(WireError::Lost(_)) if Instant::now() >= deadline + GRACE => Err(WireError::Timeout),
            other => other,
        }
    }

    fn try_exec(
        &mut self,
        mut channel: Channel,
        command: Shipped,
        io: &mut Streams<'_>,
        deadline: Instant,
    ) -> Result<i32, WireError> {
        self.patiently(deadline, || channel.exec(&command.line))?;
        let mut first = command.first;
        first.append(&mut io.first);
        io.first = first;
        let not_run = self.pump(&mut channel, io, deadline)?;
        self.patiently(deadline, || channel.close())?;
        self.patiently(deadline, || channel.wait_close())?;
        self.still_connected()?;
        let signalled = channel.exit_signal().ok().and_then(|s| s.exit_signal).is_some();
        let status = channel.exit_status().map_err(|e| WireError::Lost(e.to_string()))?;
        let status = if signalled && status == 0 { 128 } else { status };
        not_run.map_or(Ok(status), |said| Err(WireError::NotRun(status, said)))
    }

    /// libssh2 says exit status 0 when the connection ended before any status came: that must not pass for success.
    fn still_connected(&self) -> Result<(), WireError> {
        match self.tcp.peek(&mut [0]) {
            Ok(0) => Err(WireError::Lost("the host closed the connection".into())),
            Ok(_) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(e) => Err(WireError::Lost(e.to_string())),
        }
    }

    /// Moves bytes until the command's output has ended; what was said instead when no command was begun.
    fn pump(
        &mut self,
        channel: &mut Channel,
        io: &mut Streams<'_>,
        deadline: Instant,
    ) -> Result<Option<Vec<u8>>, WireError> {
        let mut buffer = vec![0; CHUNK];
        let mut last_moved = Instant::now();
        let mut sending = Sending { pending: std::mem::take(&mut io.first), at: 0, read_all: false, closed: false };
        let (mut out, mut err) = (Fenced::default(), Fenced::default());
        let mut came = 0;
        while !channel.eof() {
            if Instant::now() >= deadline {
                return Err(WireError::Timeout);
            }
            let printed = would_block(channel.read(&mut buffer))?.unwrap_or(0);
            out.take(&buffer[..printed], io.out);
            let warned = would_block(channel.stderr().read(&mut buffer))?.unwrap_or(0);
            err.take(&buffer[..warned], &mut |bytes| io.err.extend_from_slice(bytes));
            came += printed + warned;
            if came > io.most {
                return Err(WireError::TooMuch(came));
            }
            if sending.go_on(channel, io.stdin)? || printed + warned > 0 {
                last_moved = Instant::now();
            } else if !channel.eof() {
                self.wait(deadline)?;
                if let Some(stall) = io.stall
                    && !sending.closed
                    && last_moved.elapsed() > stall
                {
                    return Err(WireError::Stalled(stall));
                }
            }
        }
        out.finish(io.out);
        err.finish(&mut |bytes| io.err.extend_from_slice(bytes));
        Ok((!out.has_begun()).then(|| [out.before(), err.before()].concat()))
    }

    /// Repeats a call that would block until it has been done.
    fn patiently<T>(
        &mut self,
        deadline: Instant,
        mut call: impl FnMut() -> Result<T, ssh2::Error>,
    ) -> Result<T, WireError> {
        loop {
            match call() {
                Ok(value) => return Ok(value),
                Err(e) if e.code() == ErrorCode::Session(EAGAIN) => self.wait(deadline)?,
                Err(e) => return Err(WireError::Lost(e.to_string())),
            }
        }
    }

    /// Waits until the socket is ready for what libssh2 wants of it.
    fn wait(&mut self, deadline: Instant) -> Result<(), WireError> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(WireError::Timeout);
        }
        if self.kept_alive.elapsed() >= KEEPALIVE {
            self.kept_alive = Instant::now();
            if let Err(e) = self.session.keepalive_send()
                && e.code() != ErrorCode::Session(EAGAIN)
            {
                return Err(WireError::Lost(e.to_string()));
            }
        }
        let flags = match self.session.block_directions() {
            BlockDirections::Outbound => PollFlags::POLLOUT,
            BlockDirections::Both => PollFlags::POLLIN | PollFlags::POLLOUT,
            BlockDirections::None | BlockDirections::Inbound => PollFlags::POLLIN,
        };
        // Woken at least once a second, for the keep-alive.
        let millis = u16::try_from(left.as_millis().clamp(1, 1000)).unwrap_or(1000);
        match poll(&mut [PollFd::new(self.tcp.as_fd(), flags)], PollTimeout::from(millis)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(e) => Err(WireError::Lost(e.to_string())),
        }
    }
}

/// Our side of standard input.
struct Sending {
    pending: Vec<u8>,
    at: usize,
    read_all: bool,
    closed: bool,
}

impl Sending {
    /// Sends what can be sent now; true when anything moved.
    fn go_on(&mut self, channel: &mut Channel, stdin: &mut dyn Read) -> Result<bool, WireError> {
        if self.closed {
            return Ok(false);
        }
        if self.at == self.pending.len() && !self.read_all {
            self.pending.resize(CHUNK, 0);
            let n = stdin.read(&mut self.pending).map_err(WireError::Input)?;
            self.pending.truncate(n);
            self.at = 0;
            self.read_all = n == 0;
        }
        if self.at < self.pending.len() {
            match channel.write(&self.pending[self.at..]) {
                Ok(n) => self.at += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                // The command ended without reading all of its input: its exit status says whether that is well.
                Err(_) => self.closed = true,
            }
            return Ok(true);
        }
        match channel.send_eof() {
            Err(e) if e.code() == ErrorCode::Session(EAGAIN) => return Ok(false),
            _ => self.closed = true,
        }
        Ok(true)
    }
}

fn would_block(result: io::Result<usize>) -> Result<Option<usize>, WireError> {
    match result {
        Ok(n) => Ok(Some(n)),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(e) => Err(WireError::Lost(e.to_string())),
    }
}
