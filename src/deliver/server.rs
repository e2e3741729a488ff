//! The run's repository server: what is in the bundle, and what was given with -f, on one port under a random token.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use camino::Utf8PathBuf;
use payload::{Bundle, Member, MemberKind, Reference, Sha256, Stored};
use tokio_rustls::rustls::ServerConfig;
use tracing::info;

use super::content::{Content, Entry};
use super::error::DeliverError;
use super::image_archive;
use super::listener::{self, Limits, Shared};
use super::local::{self, LocalRpm};
use super::offer::Catalogues;
use super::registry::Registry;
use super::repofile;
use super::repository::Repository;
use super::signing::SigningKey;
use super::stream::Maps;

/// The metadata's entry point, in a repository's root.
pub(super) const REPOMD: &str = "repodata/repomd.xml";

/// Where the public key is served, for `repo serve`; a run hands it over SSH.
pub(super) const KEY_FILE: &str = "RPM-GPG-KEY-sunshine-installer";

/// The repository, served over HTTP for as long as this value lives.
#[derive(Debug)]
pub struct Server {
    place: Place,
    runtime: Option<tokio::runtime::Runtime>,
}

/// What is served and where: what a host's view of the repository keeps of the server.
#[derive(Debug, Clone)]
pub struct Place {
    pub(crate) stock: Arc<Stock>,
    addr: SocketAddr,
}

/// What is served; shared with every host's view of it.
#[derive(Debug)]
pub(crate) struct Stock {
    shared: Arc<Shared>,
    /// The first part of every path.
    token: String,
    pub(crate) bundle: Option<Bundle>,
    pub(super) local: Vec<LocalRpm>,
    /// Metadata files by name, of the bundle and of the local rpms.
    pub(crate) metadata: Vec<String>,
    key: OnceLock<Result<SigningKey, String>>,
    pub(super) catalogues: Catalogues,
    checked: Mutex<BTreeMap<String, ()>>,
    /// Names the run's folders on the hosts.
    pub(crate) run: String,
}

impl Server {
    /// Serves the bundle, and `local_rpms` (files on the control host) under `local/`, on `listen`; port 0 takes a free one.
    pub fn start(
        bundle: Option<Bundle>,
        local_rpms: &[Utf8PathBuf],
        listen: SocketAddr,
    ) -> Result<Server, DeliverError> {
        Server::start_with(bundle, local_rpms, listen, None, Limits::default())
    }

    /// The same over TLS, where `tls` says how.
    pub fn start_over(
        tls: Option<Arc<ServerConfig>>,
        bundle: Option<Bundle>,
        local_rpms: &[Utf8PathBuf],
        listen: SocketAddr,
    ) -> Result<Server, DeliverError> {
        Server::start_with(bundle, local_rpms, listen, tls, Limits::default())
    }

    pub(super) fn start_with(
        bundle: Option<Bundle>,
        local_rpms: &[Utf8PathBuf],
        listen: SocketAddr,
        tls: Option<Arc<ServerConfig>>,
        limits: Limits,
    ) -> Result<Server, DeliverError> {
        let stock = Arc::new(Stock::new(bundle, local_rpms, tls, limits)?);
        let failed = |source| DeliverError::Listen { address: listen, source };
        let workers = std::thread::available_parallelism().map_or(1, usize::from).min(4);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(workers)
            .thread_name("repository")
            .enable_all()
            .build()
            .map_err(failed)?;
        let listener = runtime.block_on(listener::listen(listen)).map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        runtime.spawn(listener::serve(listener, Arc::clone(&stock.shared)));
        // The key takes a part of a second; hosts are connected to meanwhile. Whoever needs it first waits for it.
        let signer = Arc::clone(&stock);
        runtime.spawn_blocking(move || signer.sign());
        info!(%addr, "repository server started");
        Ok(Server { place: Place { stock, addr }, runtime: Some(runtime) })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.place.addr
    }

    /// The repository's address as a host sees it that reaches the control host by `ip`. Ends in `/`.
    #[must_use]
    pub fn url_for(&self, ip: IpAddr) -> String {
        self.place.url_for(ip)
    }

    /// How a client of registries names an image for a host that reaches the control host by `ip`.
    #[must_use]
    pub fn image_name(&self, ip: IpAddr, image: &Reference) -> String {
        let url = self.place.url_for(ip);
        format!("{}{image}", url.split_once("://").map_or(url.as_str(), |(_, place)| place))
    }

    /// What hosts' views of it keep.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The .repo file to put on hosts that reach the control host by `ip`, for `repo serve`. One file for all of them: the
    /// repository of a platform is not enabled in it.
    ///
    /// # Errors
    /// When the run's key cannot be made.
    pub fn repo_file(&self, ip: IpAddr) -> Result<String, DeliverError> {
        let stock = &self.place.stock;
        let url = self.url_for(ip);
        stock.key()?;
        Ok(repofile::for_any_host(&stock.repositories(), &url, &format!("{url}{KEY_FILE}")))
    }

    /// The address of the key by which the metadata is signed, and its fingerprint: whoever can change what is served on its way
    /// can change both together, but not what is compared by other means.
    ///
    /// # Errors
    /// When the run's key cannot be made.
    pub fn key_of(&self, ip: IpAddr) -> Result<(String, String), DeliverError> {
        let fingerprint = self.place.stock.key()?.fingerprint();
        Ok((format!("{}{KEY_FILE}", self.url_for(ip)), fingerprint))
    }
}

impl Place {
    /// The address for a host that reaches the control host by `ip`; a server that listens on one address has only that.
    pub(crate) fn url_for(&self, ip: IpAddr) -> String {
        let own = self.addr.ip();
        let ip = if own.is_unspecified() { ip } else { own };
        self.url_at(SocketAddr::new(ip, self.addr.port()))
    }

    pub(crate) fn url_at(&self, address: SocketAddr) -> String {
        let scheme = if self.stock.shared.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{address}/{}/", self.stock.token)
    }

    /// An address of the control host at which its own SSH session can reach the server.
    pub(crate) fn own_address(&self) -> SocketAddr {
        let mut address = self.addr;
        match address.ip() {
            // One that listens on all of IPv6 listens on all of IPv4 as well.
            ip if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
            _ => {}
        }
        address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Not waiting: a client in the middle of a download must not hold up the end of the program.
            runtime.shutdown_background();
        }
    }
}

impl Stock {
    fn new(
        bundle: Option<Bundle>,
        local_rpms: &[Utf8PathBuf],
        tls: Option<Arc<ServerConfig>>,
        limits: Limits,
    ) -> Result<Stock, DeliverError> {
        let images = bundle.as_ref().map(Bundle::images).transpose()?.unwrap_or_default();
        let token = random_hex();
        let shared = Shared {
            content: Content::default(),
            registry: Registry::new(&images),
            maps: Arc::new(Maps::default()),
            token: Some(token.clone()),
            tls,
            limits,
        };
        let mut metadata = Vec::new();
        if let Some(bundle) = &bundle {
            let shelf = Shelf::open(bundle)?;
            for member in bundle.manifest().members.iter().filter(|member| is_public(member)) {
                shared.content.put(member.name.clone(), shelf.entry(member, &shared.maps)?);
                if member.kind == MemberKind::Repodata {
                    metadata.push(member.name.clone());
                }
            }
        }
        for image in &images {
            shared.content.put(image_archive::docker_name(image), image_archive::docker(&shared.content, image)?);
        }
        let (local, repodata) = local::open(local_rpms)?;
        for rpm in &local {
            shared.content.put(rpm.served(), rpm.entry());
        }
        for file in repodata {
            let name = format!("{}{}", Repository::Local.prefix(), file.name);
            let sum = Sha256::of(&file.bytes).to_string();
            shared.content.put(name.clone(), Entry::bytes(Bytes::from(file.bytes), sum, SystemTime::now()));
            metadata.push(name);
        }
        Ok(Stock {
            shared: Arc::new(shared),
            catalogues: Catalogues::of(bundle.as_ref().map(Bundle::manifest)),
            token,
            bundle,
            local,
            metadata,
            key: OnceLock::new(),
            checked: Mutex::default(),
            run: random_hex()[..12].to_owned(),
        })
    }

    /// The public half of the run's key, armored.
    pub(crate) fn public_key(&self) -> Result<&str, DeliverError> {
        Ok(self.key()?.public())
    }

    /// The run's key; made by whoever comes first, everyone else waits.
    pub(super) fn key(&self) -> Result<&SigningKey, DeliverError> {
        let made = self.key.get_or_init(|| self.make_key().map_err(|error| error.to_string()));
        made.as_ref().map_err(|why| DeliverError::Signing { why: why.clone() })
    }

    fn sign(&self) {
        if let Err(error) = self.key() {
            tracing::error!(%error, "the run's key");
        }
    }

    /// Makes the key, and with it the signatures that are served beside each repomd.xml.
    fn make_key(&self) -> Result<SigningKey, DeliverError> {
        let key = SigningKey::generate()?;
        for repomd in self.metadata.iter().filter(|name| name.ends_with(REPOMD)) {
            let text = self.read(repomd)?;
            self.put_text(&format!("{repomd}.asc"), key.sign(&text)?);
        }
        self.put_text(KEY_FILE, key.public().to_owned());
        Ok(key)
    }

    fn put_text(&self, name: &str, text: String) {
        let sum = Sha256::of(text.as_bytes()).to_string();
        self.shared.content.put(name, Entry::bytes(Bytes::from(text), sum, SystemTime::now()));
    }

    /// The whole of something small that is served (metadata, keys).
    pub(crate) fn read(&self, name: &str) -> Result<Vec<u8>, DeliverError> {
        let failed = |why: String| DeliverError::Metadata { why: format!("{name}: {why}") };
        let entry = self.shared.content.get(name).ok_or_else(|| failed("it is not in the bundle".into()))?;
        let pieces = entry.open().map_err(|error| failed(error.to_string()))?;
        let mut whole = Vec::new();
        let mut at = 0;
        while at < entry.size {
            let piece = pieces.next(at, entry.size).map_err(|error| failed(error.to_string()))?;
            at += u64::try_from(piece.len()).unwrap_or(u64::MAX);
            whole.extend_from_slice(&piece);
        }
        let found = Sha256::of(&whole).to_string();
        if found != entry.sha256 {
            return Err(failed(format!("it is damaged: sha256 {found} instead of {}", entry.sha256)));
        }
        Ok(whole)
    }

    /// All that is served.
    pub(super) fn content(&self) -> &Content {
        &self.shared.content
    }

    /// What is served under a name, for uploads.
    pub(super) fn entry(&self, name: &str) -> Option<Arc<Entry>> {
        self.shared.content.get(name)
    }

    /// All that there are. The bundle's first one is there also when all its packages are for platforms.
    pub(crate) fn repositories(&self) -> Vec<Repository> {
        let common = self.bundle.iter().map(|_| Repository::Common);
        let platforms = self.catalogues.platforms().cloned().map(Repository::Platform);
        let local = (!self.local.is_empty()).then_some(Repository::Local);
        common.chain(platforms).chain(local).collect()
    }

    /// The public keys in the bundle: a file name for each on a host, and its member.
    pub(crate) fn rpm_keys(&self) -> Vec<(String, String)> {
        let members = self.bundle.iter().flat_map(|bundle| &bundle.manifest().members);
        let keys = members.filter(|member| member.kind == MemberKind::Key).enumerate();
        keys.map(|(at, member)| (format!("rpm-key-{at}.asc"), member.name.clone())).collect()
    }

    /// The entry point of the first repository there is.
    pub(crate) fn first_repomd(&self) -> String {
        let first = if self.bundle.is_some() { Repository::Common } else { Repository::Local };
        format!("{}{REPOMD}", first.prefix())
    }

    /// The run's token out of a text that goes to people or to the log.
    pub(crate) fn without_token(&self, text: &str) -> String {
        text.replace(&self.token, "…")
    }

    /// Checks members of the bundle that are about to be used, each once in a run, so that damage is found before a
    /// host is changed.
    pub(crate) fn check<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<(), DeliverError> {
        let Some(bundle) = &self.bundle else { return Ok(()) };
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        for name in names {
            let Some(member) = bundle.member(name) else { continue };
            if !checked.contains_key(name) {
                bundle.check(member)?;
                checked.insert(name.to_owned(), ());
            }
        }
        Ok(())
    }
}

/// Everything but the configuration files, which hold passwords.
fn is_public(member: &Member) -> bool {
    member.kind != MemberKind::Ini
}

/// How a bundle's members are served: from the map of the one file, or each from its own file in a folder.
struct Shelf<'a> {
    bundle: &'a Bundle,
    file: Option<Arc<File>>,
    modified: SystemTime,
}

impl Shelf<'_> {
    fn open(bundle: &Bundle) -> Result<Shelf<'_>, DeliverError> {
        let file = bundle.file().map(File::try_clone).transpose();
        let file = file.map_err(|error| DeliverError::Metadata { why: format!("{}: {error}", bundle.path()) })?;
        Ok(Shelf { bundle, file: file.map(Arc::new), modified: modified(bundle) })
    }

    fn entry(&self, member: &Member, maps: &Maps) -> Result<Entry, DeliverError> {
        let (size, sum) = (member.size, member.sha256.to_string());
        let Some(file) = &self.file else {
            let path = self.bundle.path().join(&member.name);
            let file = fs_err::File::open(path).map_err(|error| DeliverError::Metadata { why: error.to_string() })?;
            return Ok(Entry::file(Arc::new(file.into_parts().0), 0, size, sum, self.modified));
        };
        if member.stored == Stored::Plain {
            let bytes = self.bundle.bytes(member)?;
            maps.add(&bytes, Arc::clone(file), member.offset);
            return Ok(Entry::bytes(bytes, sum, self.modified));
        }
        let (bundle, member) = (self.bundle.clone(), member.clone());
        let load = move || bundle.bytes(&member).map_err(io::Error::other);
        Ok(Entry::packed(Box::new(load), size, sum, self.modified))
    }
}

/// When the bundle was written: one date for all its members.
fn modified(bundle: &Bundle) -> SystemTime {
    let written = fs_err::metadata(bundle.path()).and_then(|meta| meta.modified());
    written.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// 128 random bits: nobody guesses the path that the repository is served under.
fn random_hex() -> String {
    hex::encode(rand::random::<[u8; 16]>())
}
