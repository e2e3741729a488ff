//! The images of one archive as a read-only registry, for as long as the value lives: `registry serve`. In: an archive as
//! [`super::layout_tar`] reads it, an address and how TLS is done. Out: answers, as the run's own server gives them.

use std::fs::File;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use camino::Utf8Path;
use payload::blob_member;
use tokio_rustls::rustls::ServerConfig;

use super::content::{Content, Entry};
use super::error::DeliverError;
use super::layout_tar::Layout;
use super::listener::{self, Limits, Shared};
use super::registry::Registry;

/// Fewer than a service may have files open (systemd's default is 1024).
const CONNECTIONS: usize = 512;

/// A running server.
#[derive(Debug)]
pub struct ArchiveServer {
    runtime: Option<tokio::runtime::Runtime>,
    address: SocketAddr,
    images: usize,
}

impl ArchiveServer {
    /// Serves the images of the archive on `listen`, with TLS where `tls` says how.
    ///
    /// # Errors
    /// When the archive is not whole, or the address is taken.
    pub fn start(
        archive: &Utf8Path,
        listen: SocketAddr,
        tls: Option<Arc<ServerConfig>>,
    ) -> Result<ArchiveServer, DeliverError> {
        let bad = |why: String| DeliverError::Archive { path: archive.to_owned(), why };
        let file = File::open(archive).map_err(|e| bad(e.to_string()))?;
        let modified = file.metadata().and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        let layout = Layout::read(&file).map_err(bad)?;
        let limits = Limits { connections: CONNECTIONS, ..Limits::default() };
        let (content, registry) = stock(&layout, &Arc::new(file), modified);
        let shared = Shared { content, registry, maps: Arc::default(), token: None, tls, limits };
        let failed = |source| DeliverError::Listen { address: listen, source };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("registry")
            .enable_all()
            .build()
            .map_err(failed)?;
        let listener = runtime.block_on(listener::listen(listen)).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        runtime.spawn(listener::serve(listener, Arc::new(shared)));
        Ok(ArchiveServer { runtime: Some(runtime), address, images: layout.names.len() })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many names of images it knows.
    #[must_use]
    pub fn images(&self) -> usize {
        self.images
    }
}

impl Drop for ArchiveServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A client in the middle of a download must not hold up the end of the program.
            runtime.shutdown_background();
        }
    }
}

fn stock(layout: &Layout, file: &Arc<File>, modified: SystemTime) -> (Content, Registry) {
    let (content, mut registry) = (Content::default(), Registry::default());
    for (digest, (at, size)) in &layout.blobs {
        let entry = Entry::file(Arc::clone(file), *at, *size, digest.to_string(), modified);
        content.put(blob_member(digest), entry);
    }
    for held in &layout.manifests {
        registry.hold(held.digest, &held.media_type, held.blobs.iter().copied());
    }
    for (name, manifest) in &layout.names {
        registry.tag(name, *manifest);
    }
    (content, registry)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, Write};
    use std::net::TcpStream;
    use std::time::Duration;

    use payload::Sha256;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};

    use super::*;
    use crate::deliver::layout_tar::tests::{LAYER, NAME, archive, members};

    struct Served {
        server: ArchiveServer,
        certificate: Option<CertificateDer<'static>>,
        _folder: tempfile::TempDir,
    }

    fn served(with_tls: bool) -> Served {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap().join("images.tar");
        let mut from = archive(&members());
        from.rewind().unwrap();
        std::io::copy(&mut from, &mut File::create(&path).unwrap()).unwrap();
        let (mut certificate, mut tls) = (None, None);
        if with_tls {
            let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
            let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
            let chain = vec![made.cert.der().clone()];
            let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
            (certificate, tls) = (Some(made.cert.der().clone()), Some(Arc::new(config)));
        }
        let server = ArchiveServer::start(&path, "127.0.0.1:0".parse().unwrap(), tls).unwrap();
        Served { server, certificate, _folder: folder }
    }

    /// The whole answer to one request.
    fn ask(served: &Served, head: &str) -> String {
        let mut tcp = TcpStream::connect(served.server.address()).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let request = format!("{head}\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let mut answer = Vec::new();
        match &served.certificate {
            None => {
                tcp.write_all(request.as_bytes()).unwrap();
                tcp.read_to_end(&mut answer).unwrap();
            }
            Some(certificate) => {
                let mut roots = rustls::RootCertStore::empty();
                roots.add(certificate.clone()).unwrap();
                let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
                let name = ServerName::try_from("localhost").unwrap();
                let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
                let mut stream = rustls::Stream::new(&mut client, &mut tcp);
                stream.write_all(request.as_bytes()).unwrap();
                // The server may end the connection without TLS's own goodbye.
                let _ = stream.read_to_end(&mut answer);
            }
        }
        String::from_utf8(answer).unwrap()
    }

    #[test]
    fn an_image_is_pulled_over_tls_and_in_the_clear() {
        for served in [served(true), served(false)] {
            assert_eq!(served.server.images(), 2);
            let version = ask(&served, "GET /v2/ HTTP/1.1");
            assert!(version.starts_with("HTTP/1.1 200 OK") && version.contains("registry/2.0"), "{version}");
            for place in ["pause/manifests/3.10?ns=registry.k8s.io", "registry.k8s.io/pause/manifests/3.10"] {
                let head = ask(&served, &format!("HEAD /v2/{place} HTTP/1.1"));
                assert!(head.starts_with("HTTP/1.1 200 OK") && head.contains("image.index.v1+json"), "{head}");
                assert!(head.contains("docker-content-digest: sha256:") && head.ends_with("\r\n\r\n"), "{head}");
            }
            let layer = format!("/v2/registry.k8s.io/pause/blobs/sha256:{}", Sha256::of(LAYER));
            let whole = ask(&served, &format!("GET {layer} HTTP/1.1"));
            assert!(whole.ends_with(std::str::from_utf8(LAYER).unwrap()), "{whole}");
            let part = ask(&served, &format!("GET {layer} HTTP/1.1\r\nRange: bytes=2-6"));
            assert!(part.starts_with("HTTP/1.1 206") && part.ends_with("\r\n\r\nlayer"), "{part}");
            let absent = ask(&served, "GET /v2/registry.k8s.io/pause/manifests/4 HTTP/1.1");
            assert!(absent.starts_with("HTTP/1.1 404") && absent.contains("MANIFEST_UNKNOWN"), "{absent}");
            let push = ask(&served, "POST /v2/registry.k8s.io/pause/blobs/uploads/ HTTP/1.1\r\nContent-Length: 0");
            assert!(push.starts_with("HTTP/1.1 405") && push.contains("read-only"), "{push}");
            assert!(ask(&served, "GET /index.json HTTP/1.1").starts_with("HTTP/1.1 404"));
        }
        assert_eq!(NAME, "registry.k8s.io/pause:3.10");
    }

    #[test]
    fn what_is_no_archive_is_refused_by_its_name() {
        let error = |path: &str| ArchiveServer::start(path.into(), "127.0.0.1:0".parse().unwrap(), None).unwrap_err();
        let said = error("/nowhere/images.tar").to_string();
        assert!(said.contains("cannot serve the images in /nowhere/images.tar: No such file"), "{said}");
        assert!(error("/proc/self/exe").to_string().contains("/proc/self/exe"));
    }
}
