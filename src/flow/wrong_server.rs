//! A server for tests that answers wrongly before it answers right, as the API and etcd do while a member leaves.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

use super::pki::KeyPairPem;

/// What a request gets.
pub(super) enum Answer {
    Text(u16, String),
    /// The connection is closed without an answer.
    HangUp,
}

impl Answer {
    pub(super) fn text(status: u16, text: &str) -> Self {
        Self::Text(status, text.to_owned())
    }

    pub(super) fn json(status: u16, value: &Value) -> Self {
        Self::Text(status, value.to_string())
    }
}

#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub method: String,
    pub path: String,
    pub body: String,
    pub authorization: Option<String>,
}

/// Listens on the loopback for as long as the test runs; one request a connection.
pub(super) struct WrongServer {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl WrongServer {
    /// With TLS when it has a certificate.
    pub(super) fn start(keys: Option<&KeyPairPem>, answer: impl Fn(&Seen) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (tls, requests) = (keys.map(tls), Arc::clone(&seen));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that does not trust us ends the connection: no request, and no answer.
                let _ = match &tls {
                    None => serve(stream, &requests, &answer),
                    Some(config) => {
                        let connection = ServerConnection::new(Arc::clone(config)).unwrap();
                        serve(StreamOwned::new(connection, stream), &requests, &answer)
                    }
                };
            }
        });
        Self { address, seen }
    }

    pub(super) fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.address)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests so far.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

fn tls(keys: &KeyPairPem) -> Arc<ServerConfig> {
    let own = CertificateDer::from_pem_slice(keys.cert.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(keys.key.expose().as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_no_client_auth().with_single_cert(vec![own], key).unwrap())
}

fn serve(stream: impl Read + Write, seen: &Mutex<Vec<Seen>>, answer: &impl Fn(&Seen) -> Answer) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split(' ').map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(()) };
    let (mut length, mut authorization) = (0, None);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        if header.trim().is_empty() {
            break;
        }
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if let Some((_, value)) = header.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("authorization"))
        {
            authorization = Some(value.trim().to_owned());
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let request = Seen { method, path, body: String::from_utf8(body).unwrap(), authorization };
    seen.lock().unwrap().push(request.clone());
    if let Answer::Text(status, text) = answer(&request) {
        let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", text.len());
        let stream = reader.get_mut();
        stream.write_all(head.as_bytes())?;
        stream.write_all(text.as_bytes())?;
        stream.flush()?;
    }
    Ok(())
}
