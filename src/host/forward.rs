//! A port of the host's loopback that leads to an address on our side (`ssh -R`), for hosts that cannot reach us.
//!
//! It has a session of its own, so that its traffic and the host's commands do not wait for each other. One thread
//! moves the bytes of all its connections: libssh2 allows one caller at a time anyway.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ssh2::{Channel, Listener, Session};

use super::auth;
use super::error::HostError;
use super::session::{Host, log_in};

const CHUNK: usize = 128 * 1024;
/// Woken this often, in milliseconds, to see whether it should end.
const TICK_MS: u16 = 200;
/// And this often while connections are open: reading for one may have taken in what another waits for.
const BUSY_TICK_MS: u16 = 10;
const EAGAIN: ssh2::ErrorCode = ssh2::ErrorCode::Session(-37);

/// A forwarded port; dropped, it is closed.
pub struct Forward {
    port: u16,
    end: Arc<AtomicBool>,
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
        self.end.store(true, Ordering::SeqCst);
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
        let fail = |e: ssh2::Error| HostError::Forward { host: self.name().to_owned(), why: e.to_string() };
        let (listener, port) = session.channel_forward_listen(0, Some("127.0.0.1"), None).map_err(fail)?;
        session.set_blocking(false);
        session.set_keepalive(false, 15);
        let end = Arc::new(AtomicBool::new(false));
        let mover = Mover { session, tcp, listener, local, pairs: Vec::new(), end: Arc::clone(&end) };
        let mover = thread::Builder::new().name("forward".into()).spawn(move || mover.run());
        let mover =
            mover.map_err(|e| HostError::Forward { host: self.name().to_owned(), why: format!("no thread: {e}") })?;
        Ok(Forward { port, end, mover: Some(mover) })
    }
}

struct Mover {
    session: Session,
    tcp: TcpStream,
    listener: Listener,
    local: SocketAddr,
    pairs: Vec<Pair>,
    end: Arc<AtomicBool>,
}

impl Mover {
    fn run(mut self) {
        let mut buffer = vec![0; CHUNK];
        while !self.end.load(Ordering::SeqCst) {
            let Some(mut moved) = self.accept() else { break };
            for pair in &mut self.pairs {
                moved |= pair.go_on(&mut buffer);
            }
            self.pairs.retain_mut(|p| !p.is_over());
            if !moved && !self.wait() {
                break;
            }
        }
    }

    /// Takes a connection when there is one; `None` when the session is gone.
    fn accept(&mut self) -> Option<bool> {
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

    /// Waits for any socket; false when the session is gone.
    fn wait(&self) -> bool {
        if self.session.keepalive_send().is_err_and(|e| e.code() != EAGAIN) {
            return false;
        }
        let mut flags = PollFlags::POLLIN;
        if self.pairs.iter().any(|p| !p.down.is_empty()) {
            flags |= PollFlags::POLLOUT;
        }
        let mut fds = vec![PollFd::new(self.tcp.as_fd(), flags)];
        for pair in &self.pairs {
            let mut wanted = PollFlags::empty();
            if pair.down.is_empty() && !pair.down.over {
                wanted |= PollFlags::POLLIN;
            }
            if !pair.up.is_empty() {
                wanted |= PollFlags::POLLOUT;
            }
            // poll() reports an error or hang-up unasked, and would do so again and again.
            if !wanted.is_empty() {
                fds.push(PollFd::new(pair.local.as_fd(), wanted));
            }
        }
        let tick = if self.pairs.is_empty() { TICK_MS } else { BUSY_TICK_MS };
        if matches!(poll(&mut fds, PollTimeout::from(tick)), Err(e) if e != nix::errno::Errno::EINTR) {
            return false;
        }
        !matches!(self.tcp.peek(&mut [0]), Ok(0))
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
