//! HTTPS from the control host to a cluster's own servers (the Kubernetes API, etcd's health), with the certificates that its
//! authority on the control host signs.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};

use ureq::http::Request;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig, TlsProvider};
use ureq::{Agent, AsSendBody};

use super::pki::KeyPairPem;
use super::retry;

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(3);
/// Longest answer that is read.
const LONGEST: u64 = 64 << 20;

/// Why there was no answer.
#[derive(Debug)]
pub(super) struct NoAnswer {
    pub why: String,
    /// Asked again, there may be one.
    pub passes: bool,
}

impl From<ureq::Error> for NoAnswer {
    fn from(error: ureq::Error) -> Self {
        Self { passes: retry::transport_passes(&error), why: error.to_string() }
    }
}

/// Sends a request, once; status and text of the answer.
///
/// # Errors
/// When no whole answer comes.
pub(super) fn send(agent: &Agent, request: Request<impl AsSendBody>) -> Result<(u16, String), NoAnswer> {
    let mut answer = agent.run(request)?;
    let status = answer.status().as_u16();
    Ok((status, answer.body_mut().with_config().limit(LONGEST).read_to_string()?))
}

/// When the certificate ends that a server shows, as seconds since 1970, whoever it lets in.
///
/// # Errors
/// When it shows none that `ca` has signed for its address.
pub(super) fn certificate_ends(ca: &str, server: SocketAddr) -> Result<i64, String> {
    let ca = CertificateDer::from_pem_slice(ca.as_bytes()).map_err(|e| e.to_string())?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(ca).map_err(|e| e.to_string())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::IpAddress(server.ip().into());
    let mut tls = rustls::ClientConnection::new(Arc::new(config), name).map_err(|e| e.to_string())?;
    let mut tcp = TcpStream::connect_timeout(&server, CONNECT).map_err(|e| e.to_string())?;
    tcp.set_read_timeout(Some(CONNECT)).map_err(|e| e.to_string())?;
    tcp.set_write_timeout(Some(CONNECT)).map_err(|e| e.to_string())?;
    rustls::Stream::new(&mut tls, &mut tcp).flush().map_err(|e| e.to_string())?;
    let shown = tls.peer_certificates().and_then(<[_]>::first).ok_or("it shows no certificate")?;
    let (_, certificate) = x509_parser::parse_x509_certificate(shown).map_err(|e| e.to_string())?;
    Ok(certificate.validity().not_after.timestamp())
}

/// A client that trusts `ca` only and shows `keys`. HTTP statuses are answers, not errors.
///
/// # Errors
/// When a certificate or key cannot be read.
pub(super) fn agent(ca: &str, keys: &KeyPairPem, timeout: Duration) -> Result<Agent, ureq::Error> {
    let root = Certificate::from_pem(ca.as_bytes())?;
    let own = Certificate::from_pem(keys.cert.as_bytes())?;
    let key = PrivateKey::from_pem(keys.key.expose().as_bytes())?;
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .root_certs(RootCerts::new_with_certs(&[root]))
        .client_cert(Some(ClientCert::new_with_certs(&[own], key)))
        .build();
    Ok(plain(timeout, Some(tls)))
}

/// A client for servers without TLS, or with `tls`. No proxy of the environment comes between.
pub(super) fn plain(timeout: Duration, tls: Option<TlsConfig>) -> Agent {
    let config = Agent::config_builder()
        .timeout_connect(Some(CONNECT))
        .timeout_global(Some(timeout))
        .http_status_as_error(false)
        .proxy(None);
    let config = match tls {
        Some(tls) => config.tls_config(tls),
        None => config,
    };
    config.build().new_agent()
}
