//! The listening side: connections in, limits on them, answers out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tracing::debug;

use super::content::Content;
use super::http::answer;
use super::stream::{Maps, Patience, Stream};

/// What the server allows its clients.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Connections at once; more wait in the kernel's queue until one ends.
    pub(super) connections: usize,
    /// Time for a request's head to arrive, also for the next one on a connection that is kept.
    pub(super) head: Duration,
    /// How slowly an answer may be taken.
    pub(super) patience: Patience,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 256,
            head: Duration::from_secs(20),
            patience: Patience { stall: Duration::from_secs(30), least: 32 * 1024 },
        }
    }
}

/// What all connections share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) content: Content,
    pub(super) maps: Arc<Maps>,
    pub(super) token: String,
    pub(super) limits: Limits,
}

/// hyper's buffer for a request's head and for answers that are read rather than mapped, per connection.
const BUFFER: usize = 64 * 1024;

/// Accepts until the runtime ends.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let free = Arc::new(Semaphore::new(shared.limits.connections));
    loop {
        let Ok(permit) = Arc::clone(&free).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((tcp, client)) => {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    connection(tcp, client, shared).await;
                    drop(permit);
                });
            }
            // Out of file descriptors, or a client that left at once: neither ends the server.
            Err(error) => {
                debug!(%error, "accept");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(tcp: TcpStream, client: SocketAddr, shared: Arc<Shared>) {
    if let Err(error) = tcp.set_nodelay(true) {
        debug!(%client, %error, "nodelay");
    }
    let stream = Stream::new(tcp, Arc::clone(&shared.maps), shared.limits.patience);
    let service = service_fn(|request| {
        let response = answer(&shared.content, &shared.token, client, &request);
        std::future::ready(response)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(shared.limits.head)
        .max_buf_size(BUFFER)
        .serve_connection(stream, service)
        .await;
    if let Err(error) = served {
        debug!(%client, %error, "connection ended");
    }
}
