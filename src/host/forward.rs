//! A port of the host's loopback that leads to an address on our side (`ssh -R`), for hosts that cannot reach us.
//!
//! It has a session of its own, so that its traffic and the host's commands do not wait for each other. One thread
//! moves the bytes of all its connections: libssh2 allows one caller at a time anyway.
//!
//! The thread sleeps until a socket is ready. That alone would not do: every call into libssh2 takes in whatever has
//! arrived, for all channels, so reading for one connection may leave another's bytes in memory while the socket has
//! nothing more to say. Before it sleeps the thread therefore asks each channel what it holds ([`Mover::at_hand`]).

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ssh2::{BlockDirections, Channel, Listener, Session};

use super::auth;
use super::error::HostError;
use super::login::log_in;
use super::session::Host;
use super::watchdog;

const CHUNK: usize = 128 * 1024;
/// Connections of one host at once. A package manager or container runtime has about ten; each costs memory and a descriptor
/// here, and the host may open as many as it likes.
const MOST_PAIRS: usize = 64;
/// And as many that wait for one of those to end, or came in one burst; sshd is refused more (libssh2 counts them).
const MOST_WAITING: u32 = 64;
/// A packet of nothing this often, in seconds, keeps firewalls from forgetting the connection.
const KEEPALIVE: u32 = 15;
/// The longest sleep, in milliseconds, while connections are open: the end of one may have been taken in unseen.
const OPEN_MS: u16 = 1000;
/// After so many rounds in which nothing moved although something could, libssh2 waits for something itself, as in the
/// middle of a new key exchange: looked at this often, in milliseconds.
const PATIENT: u32 = 64;
const STUCK_MS: u16 = 50;
const EAGAIN: ssh2::ErrorCode = ssh2::ErrorCode::Session(-37);

/// A forwarded port; dropped, it is closed.
pub struct Forward {
    port: u16,
    /// Dropped, it wakes the thread to its end.
    end: Option<UnixStream>,
    tcp: Arc<TcpStream>,
    mover: Option<JoinHandle<()>>,
}

impl fmt::Debug for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Forward(127.0.0.1:{})", self.port)
    }
}

impl Forward {
    /// The port on the host's 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        drop(self.end.take());
        // A host that never stops sending would keep the thread inside libssh2.
        let _ = self.tcp.shutdown(Shutdown::Both);
        if let Some(mover) = self.mover.take() {
            let _ = mover.join();
        }
    }
}

impl Host {
    /// Opens a port on the host's loopback; each connection to it is led to `local` here.
    ///
    /// # Errors
    /// [`HostError::Forward`] when its sshd forbids that (`AllowTcpForwarding`).
    pub fn forward_to(&self, local: SocketAddr) -> Result<Forward, HostError> {
        let (session, tcp) = log_in(self.target(), self.settings())?;
        let fail = |why: String| HostError::Forward { host: self.name().clone(), why };
        let refused = |e: ssh2::Error| fail(e.to_string());
        let watched = watchdog::watch(&tcp, watchdog::later(Instant::now(), self.settings().timeout));
        let listening = session.channel_forward_listen(0, Some("127.0.0.1"), Some(MOST_WAITING));
        drop(watched);
        let (listener, port) = listening.map_err(refused)?;
        session.set_blocking(false);
        session.set_keepalive(false, KEEPALIVE);
        let (end, woken) = UnixStream::pair().map_err(|e| fail(format!("no socket: {e}")))?;
        let mover = Mover { session, tcp: Arc::clone(&tcp), listener, local, pairs: Vec::new(), woken };
        let mover = thread::Builder::new().name("forward".into()).spawn(move || mover.run());
        let mover = mover.map_err(|e| fail(format!("no thread: {e}")))?;
        Ok(Forward { port, end: Some(end), tcp, mover: Some(mover) })
    }
}

struct Mover {
    session: Session,
    tcp: Arc<TcpStream>,
    listener: Listener,
    local: SocketAddr,
    pairs: Vec<Pair>,
    /// Its other end is closed when all is to end.
    woken: UnixStream,
}

/// Why the thread goes on.
enum Woken {
    Go,
    /// Nothing happened for as long as it may sleep.
    Slept,
    /// All is to end, or the session is gone.
    End,
}

impl Mover {
    fn run(mut self) {
        let mut buffer = vec![0; CHUNK];
        // Rounds in which nothing moved, one after another.
        let mut quiet = 0;
        while let Some(moved) = self.go_on(&mut buffer) {
            quiet = if moved { 0 } else { quiet + 1 };
            match self.wait(quiet) {
                Woken::Go => {}
                Woken::Slept => quiet = 0,
                Woken::End => break,
            }
        }
    }

    /// Moves what can be moved now; whether anything was, `None` when the session is gone.
    ///
    /// New connections come last: those that the reading before has taken in are then seen, and what is taken in by
    /// looking for them is seen by [`Mover::at_hand`].
    fn go_on(&mut self, buffer: &mut [u8]) -> Option<bool> {
        let mut moved = false;
        for pair in &mut self.pairs {
            moved |= pair.go_on(buffer);
        }
        self.pairs.retain_mut(|p| !p.is_over());
        Some(self.accept()? || moved)
    }

    /// Takes a connection when there is one and room for it; `None` when the session is gone.
    fn accept(&mut self) -> Option<bool> {
        if self.pairs.len() >= MOST_PAIRS {
            return Some(false);
        }
        let channel = match self.listener.accept() {
            Ok(channel) => channel,
            Err(e) if e.code() == EAGAIN => return Some(false),
            // libssh2 says "unknown" too when only nobody has connected yet; a dead session fails in wait().
            Err(e) if !auth::is_drop(&e) => return Some(false),
            Err(_) => return None,
        };
        // When our own server is gone, the host sees a closed connection: the truth.
        if let Ok(local) = TcpStream::connect_timeout(&self.local, Duration::from_secs(5))
            && local.set_nonblocking(true).is_ok()
        {
            let _ = local.set_nodelay(true);
            self.pairs.push(Pair { channel, local, up: Lane::default(), down: Lane::default() });
        }
        Some(true)
    }

    /// Whether bytes for the host wait for the session's socket. libssh2's own answer is not enough: a channel whose window
    /// is full overwrites the direction that another one has set.
    fn wants_out(&self) -> bool {
        matches!(self.session.block_directions(), BlockDirections::Outbound | BlockDirections::Both)
            || self.pairs.iter().any(|p| !p.down.is_empty() && p.channel.write_window().remaining > 0)
    }

    /// Whether libssh2 holds bytes, or the end, of a connection that reads: no socket says so.
    fn at_hand(&self) -> bool {
        let reads = |p: &&Pair| p.up.is_empty() && !p.up.over;
        self.pairs.iter().filter(reads).any(|p| p.channel.read_window().available > 0 || p.channel.eof())
    }

    /// Waits for any socket, unless there is more to do at once.
    fn wait(&self, quiet: u32) -> Woken {
        let mut fds = vec![PollFd::new(self.woken.as_fd(), PollFlags::POLLIN)];
        let (held, wants_out) = (self.at_hand(), self.wants_out());
        let stuck = quiet > PATIENT;
        if quiet == 0 || (held && !stuck) {
            return if matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1..)) { Woken::End } else { Woken::Go };
        }
        let Ok(next_keepalive) = self.keep_alive() else { return Woken::End };
        let mut flags = PollFlags::POLLIN;
        if wants_out && !stuck {
            flags |= PollFlags::POLLOUT;
        }
        fds.push(PollFd::new(self.tcp.as_fd(), flags));
        for pair in &self.pairs {
            let wanted = pair.wanted();
            // poll() reports an error or hang-up unasked, and would do so again and again.
            if !wanted.is_empty() {
                fds.push(PollFd::new(pair.local.as_fd(), wanted));
            }
        }
        let sleep = match (stuck && (held || wants_out), self.pairs.is_empty()) {
            (true, _) => STUCK_MS,
            (false, false) => OPEN_MS,
            (false, true) => next_keepalive,
        };
        match poll(&mut fds, PollTimeout::from(sleep)) {
            Ok(0) if !stuck => return Woken::Slept,
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(_) => return Woken::End,
        }
        let spoke = |fd: usize| fds.get(fd).is_some_and(|fd| fd.any().unwrap_or(true));
        if spoke(0) || (spoke(1) && !self.is_connected()) { Woken::End } else { Woken::Go }
    }

    /// Sends a packet of nothing when it is time for one; the milliseconds until the next one is due.
    fn keep_alive(&self) -> Result<u16, ssh2::Error> {
        match self.session.keepalive_send() {
            Err(e) if e.code() != EAGAIN => Err(e),
            sent => {
                let seconds = sent.unwrap_or(1).clamp(1, KEEPALIVE);
                Ok(u16::try_from(seconds * 1000).unwrap_or(OPEN_MS))
            }
        }
    }

    fn is_connected(&self) -> bool {
        match self.tcp.peek(&mut [0]) {
            Ok(n) => n > 0,
            Err(e) => is_busy(&e),
        }
    }
}

/// One connection: the host's channel and our stream.
struct Pair {
    channel: Channel,
    local: TcpStream,
    /// From the host to us.
    up: Lane,
    /// From us to the host.
    down: Lane,
}

/// Bytes on their way in one direction.
#[derive(Default)]
struct Lane {
    held: Vec<u8>,
    at: usize,
    /// The source has ended.
    over: bool,
    /// The end has been passed on.
    told: bool,
}

impl Lane {
    fn is_empty(&self) -> bool {
        self.at == self.held.len()
    }

    /// Reads when nothing is held, writes what is held; true when anything moved.
    fn go_on(&mut self, from: &mut impl Read, to: &mut impl Write, buffer: &mut [u8]) -> bool {
        let mut moved = false;
        if self.is_empty() && !self.over {
            match from.read(buffer) {
                Ok(0) => self.over = true,
                Ok(n) => {
                    self.held.clear();
                    self.held.extend_from_slice(&buffer[..n]);
                    self.at = 0;
                    moved = true;
                }
                Err(e) if is_busy(&e) => {}
                Err(_) => self.over = true,
            }
        }
        if !self.is_empty() {
            match to.write(&self.held[self.at..]) {
                Ok(n) => {
                    self.at += n;
                    moved = true;
                }
                Err(e) if is_busy(&e) => {}
                Err(_) => {
                    self.held.clear();
                    self.at = 0;
                    self.over = true;
                }
            }
        }
        moved
    }

    fn ended(&self) -> bool {
        self.over && self.is_empty()
    }
}

fn is_busy(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

impl Pair {
    /// What its own socket is to be waited for.
    fn wanted(&self) -> PollFlags {
        let mut wanted = PollFlags::empty();
        if self.down.is_empty() && !self.down.over {
            wanted |= PollFlags::POLLIN;
        }
        if !self.up.is_empty() {
            wanted |= PollFlags::POLLOUT;
        }
        wanted
    }

    fn go_on(&mut self, buffer: &mut [u8]) -> bool {
        let mut moved = self.down.go_on(&mut self.local, &mut self.channel, buffer);
        // A channel reads 0 both when it has ended and when it has nothing: only eof() tells.
        let mut reader = ChannelReader(&mut self.channel);
        moved |= self.up.go_on(&mut reader, &mut self.local, buffer);
        if self.down.ended() && !self.down.told {
            self.down.told = self.channel.send_eof().is_ok();
        }
        if self.up.ended() && !self.up.told {
            self.up.told = true;
            let _ = self.local.shutdown(std::net::Shutdown::Write);
        }
        moved
    }

    /// Whether all is done; then the channel's end has been sent too. That the host will send no more is no reason: it
    /// may still read, as a client does that has ended its request and waits for the answer.
    fn is_over(&mut self) -> bool {
        let both_told = self.up.ended() && self.down.ended() && self.down.told;
        let closed_there = self.channel.eof() && self.up.ended() && self.channel.wait_close().is_ok();
        (both_told || closed_there) && !matches!(self.channel.close(), Err(e) if e.code() == EAGAIN)
    }
}

struct ChannelReader<'a>(&'a mut Channel);

impl Read for ChannelReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer) {
            Ok(0) if !self.0.eof() => Err(io::ErrorKind::WouldBlock.into()),
            other => other,
        }
    }
}
