//! The listening side: connections in, limits on them, answers out.
//!
//! Clients keep their connections for a next request that may never come, while another host decides by the time that its
//! first request takes whether it can fetch from here at all. So a connection that only waits gives its place up as soon
//! as somebody else wants it; whoever is being answered keeps it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::rt::{Read, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tracing::debug;

use super::content::Content;
use super::http::{Answer, answer};
use super::kept::{Kept, Seat};
use super::registry::Registry;
use super::stream::{Maps, Patience, Stream};

/// What the server allows its clients.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Connections at once; more wait in the kernel's queue until one ends, or is ended since it only waits.
    pub(super) connections: usize,
    /// Time for a request's head to arrive, also for the next one on a connection that is kept.
    pub(super) head: Duration,
    /// How slowly an answer may be taken.
    pub(super) patience: Patience,
}

/// Enough for hundreds of hosts that fetch several packages at once each. A connection costs little more than its
/// descriptor: packages go from the page cache to the socket.
pub const CONNECTIONS: usize = 1024;

/// A client that has connected and sent nothing for this long is as good as one that waits with its next request.
const SILENT: Duration = Duration::from_secs(1);

/// A connection that was told to end, and has not, is not waited for longer before the next one is told.
const NEXT: Duration = Duration::from_millis(100);

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: CONNECTIONS,
            head: Duration::from_secs(20),
            patience: Patience { stall: Duration::from_secs(30), least: 32 * 1024 },
        }
    }
}

/// What all connections share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) content: Content,
    pub(super) registry: Registry,
    pub(super) maps: Arc<Maps>,
    /// What stands before everything that is asked for; `None`: a registry only, which is everybody's.
    pub(super) token: Option<String>,
    /// How connections are encrypted, where they are.
    pub(super) tls: Option<Arc<ServerConfig>>,
    pub(super) limits: Limits,
}

/// hyper's buffer for a request's head and for answers that are read rather than mapped, per connection.
const BUFFER: usize = 64 * 1024;

/// Connections that the kernel finishes before they are accepted; it allows no more than `net.core.somaxconn`. With the usual
/// 128 a burst has later clients wait a second, for their next try.
const QUEUE: u32 = 4096;

/// Listens; on all addresses of both families where all of IPv6 are meant, whatever the host's `net.ipv6.bindv6only` is.
///
/// # Errors
/// When the address is not this machine's, or is in use.
pub async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        setsockopt(&socket, sockopt::Ipv6V6Only, &false)?;
    }
    socket.bind(address)?;
    socket.listen(QUEUE)
}

/// Accepts until the runtime ends.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let (free, kept) = (Arc::new(Semaphore::new(shared.limits.connections)), Arc::new(Kept::default()));
    loop {
        let (tcp, client) = match listener.accept().await {
            Ok(accepted) => accepted,
            // Out of file descriptors, or a client that left at once: neither ends the server.
            Err(error) => {
                debug!(%error, "accept");
                kept.end_one();
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Some(permit) = place(&free, &kept).await else { return };
        let (shared, seat) = (Arc::clone(&shared), Arc::new(Seat::new(&kept)));
        tokio::spawn(async move {
            connection(tcp, client, shared, seat).await;
            drop(permit);
        });
    }
}

/// A place for one more connection, if need be that of one that waits.
async fn place(free: &Arc<Semaphore>, kept: &Kept) -> Option<OwnedSemaphorePermit> {
    if let Ok(permit) = Arc::clone(free).try_acquire_owned() {
        return Some(permit);
    }
    let permit = Arc::clone(free).acquire_owned();
    tokio::pin!(permit);
    loop {
        let told = kept.end_one();
        tokio::select! {
            permit = &mut permit => return permit.ok(),
            () = kept.another(), if !told => {}
            () = tokio::time::sleep(NEXT) => {}
        }
    }
}

async fn connection(tcp: TcpStream, client: SocketAddr, shared: Arc<Shared>, seat: Arc<Seat>) {
    if let Err(error) = tcp.set_nodelay(true) {
        debug!(%client, %error, "nodelay");
    }
    let Some(config) = &shared.tls else {
        let stream = Stream::new(tcp, Arc::clone(&shared.maps), shared.limits.patience);
        return talk(stream, client, &shared, &seat).await;
    };
    let stall = shared.limits.patience.stall;
    let mut stream = TimeoutStream::new(tcp);
    stream.set_write_timeout(Some(stall));
    match tokio::time::timeout(stall, TlsAcceptor::from(Arc::clone(config)).accept(Box::pin(stream))).await {
        Ok(Ok(stream)) => talk(TokioIo::new(stream), client, &shared, &seat).await,
        Ok(Err(error)) => debug!(%client, %error, "TLS"),
        Err(_) => debug!(%client, "TLS: no greeting"),
    }
}

/// Answers the requests of a connection until it ends.
async fn talk(stream: impl Read + Write + Unpin, client: SocketAddr, shared: &Arc<Shared>, seat: &Arc<Seat>) {
    let asked = AtomicBool::new(false);
    let service = service_fn(|request| {
        asked.store(true, Ordering::Relaxed);
        seat.works();
        let response = answer(shared, client, &request);
        let seat = Arc::clone(seat);
        std::future::ready(response.map(|response| response.map(|answer| Seated { answer, seat })))
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(shared.limits.head)
        .max_buf_size(BUFFER)
        .serve_connection(stream, service);
    tokio::pin!(served);
    let silent = tokio::time::sleep(SILENT);
    tokio::pin!(silent);
    let mut fresh = true;
    let served = loop {
        tokio::select! {
            served = &mut served => break served,
            // What is being answered is sent to its end first.
            () = seat.told_to_end() => served.as_mut().graceful_shutdown(),
            () = &mut silent, if fresh => {
                fresh = false;
                if !asked.load(Ordering::Relaxed) {
                    seat.waits();
                }
            }
        }
    };
    if let Err(error) = served {
        debug!(%client, %error, "connection ended");
    }
}

/// An answer whose end lets its connection wait for the next request.
struct Seated {
    answer: Answer,
    seat: Arc<Seat>,
}

impl Drop for Seated {
    fn drop(&mut self) {
        self.seat.waits();
    }
}

impl Body for Seated {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Pin::new(&mut self.answer).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.answer.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.answer.size_hint()
    }
}
