//! Connections in, with limits: how many at once ([`super::seats`]), how long the first byte, a request's head and an
//! answer's taking may last.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use camino::Utf8Path;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tracing::debug;

use crate::flow::FlowError;
use crate::host::raise_descriptors;

use super::auth::Caller;
use super::routes::{RestApi, answer};
use super::seats::{Peer, Seat, Seats};

/// For the first byte of a connection.
const FIRST: Duration = Duration::from_secs(5);
/// For a request's head to arrive, also the next one's on a connection that is kept.
const HEAD: Duration = Duration::from_secs(20);
/// For a client to take some of an answer, or to greet in TLS.
const STALL: Duration = Duration::from_secs(30);
/// hyper's buffer for a request's head.
const BUFFER: usize = 64 * 1024;

/// How connections are encrypted.
#[derive(Clone)]
pub(crate) struct Tls(TlsAcceptor);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// Reads a certificate chain and its key, both PEM.
    pub(crate) fn read(cert: &Utf8Path, key: &Utf8Path) -> Result<Self, FlowError> {
        let wrong = |option: &str, path: &Utf8Path, why: String| FlowError::request(format!("{option} {path}: {why}"));
        let bad_cert = |e: &dyn std::fmt::Display| wrong("--tls-cert", cert, e.to_string());
        let bad_key = |e: &dyn std::fmt::Display| wrong("--tls-key", key, e.to_string());
        let chain = CertificateDer::pem_file_iter(cert)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|e| bad_cert(&e))?;
        if chain.is_empty() {
            return Err(bad_cert(&"there is no certificate (PEM) in it"));
        }
        let private = PrivateKeyDer::from_pem_file(key).map_err(|e| bad_key(&e))?;
        let mut config =
            ServerConfig::builder().with_no_client_auth().with_single_cert(chain, private).map_err(|e| bad_cert(&e))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// For a listener of another kind.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(self.0.config())
    }
}

/// A connection: who has its other end, and its place among the others.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) caller: Caller,
    pub(super) seat: Arc<Seat>,
}

/// Accepts until the runtime ends.
pub(crate) async fn serve(listener: TcpListener, tls: Option<Tls>, api: Arc<RestApi>) {
    let seats = Seats::within(raise_descriptors());
    loop {
        let (tcp, client) = match listener.accept().await {
            Ok(accepted) => accepted,
            // Out of file descriptors, or a client that left at once: neither ends the listener.
            Err(error) => {
                debug!(%error, "accept");
                seats.end_one();
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        let caller = tcp.local_addr().map_or(Caller::Unknown, |server| Caller::of(client, server));
        let Some(seat) = seats.admit(Peer::of(caller, client.ip())) else {
            debug!(%client, "as many of its requests are being answered as may be: this connection is closed");
            continue;
        };
        let connection = Connection { caller, seat: Arc::new(seat) };
        let (tls, api) = (tls.clone(), Arc::clone(&api));
        tokio::spawn(async move {
            tokio::select! {
                () = connection.seat.ended() => debug!(%client, "closed: others need its place"),
                () = converse(tcp, tls, &api, &connection) => {}
            }
        });
    }
}

async fn converse(tcp: TcpStream, tls: Option<Tls>, api: &Arc<RestApi>, connection: &Connection) {
    if let Err(error) = tcp.set_nodelay(true) {
        debug!(%error, "nodelay");
    }
    if tokio::time::timeout(FIRST, tcp.readable()).await.is_err() {
        debug!("no first byte");
        return;
    }
    let mut stream = TimeoutStream::new(tcp);
    stream.set_write_timeout(Some(STALL));
    let stream = Box::pin(stream);
    match tls {
        None => talk(stream, api, connection).await,
        Some(Tls(acceptor)) => match tokio::time::timeout(STALL, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => talk(stream, api, connection).await,
            Ok(Err(error)) => debug!(%error, "TLS"),
            Err(_) => debug!("TLS: no greeting"),
        },
    }
}

async fn talk(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, api: &Arc<RestApi>, connection: &Connection) {
    let service = service_fn(|request| async move { Ok::<_, Infallible>(answer(api, connection, request).await) });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        debug!(%error, "connection ended");
    }
}
