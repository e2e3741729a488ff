//! What the packages say about themselves: read from the rpm headers when something needs more than their names,
//! such as who signed them, or what they require on a host that has no solver of its own.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufRead, BufReader, Read};

use payload::{MemberKind, RpmId};
use pgp::composed::{Deserializable, SignedPublicKey};
use pgp::packet::{Packet, PacketParser};
use rpm::{DependencyFlags, FileFlags, FileType, PackageMetadata};

use super::content::{Entry, Pieces};
use super::error::DeliverError;
use super::offer::Offer;

/// All packages that a host is offered.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    pub(crate) packages: Vec<Package>,
    by_name: HashMap<String, Vec<usize>>,
    by_capability: HashMap<String, Vec<usize>>,
    /// Key ids (16 hex digits) of the public keys in the bundle, with the member they are in.
    pub(crate) keys: HashMap<String, String>,
}

/// One package.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) id: RpmId,
    pub(crate) provides: Vec<Capability>,
    pub(crate) requires: Vec<Capability>,
    /// Id of the key that signed it: 16 hex digits.
    pub(crate) signer: Option<String>,
    /// Bytes before its payload: what rpm reads of it for a test.
    pub(crate) head: u64,
    /// Bytes of its files, by the folder that they lie in.
    pub(crate) files: BTreeMap<String, u64>,
}

/// A name, with a version where one is stated.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Capability {
    pub(crate) name: String,
    /// `<`, `<=`, `=`, `>=` or `>`, and `[epoch:]version[-release]`.
    pub(crate) version: Option<(&'static str, String)>,
}

impl Catalogue {
    /// Reads the headers of everything that is offered.
    pub(crate) fn read(offer: &Offer) -> Result<Catalogue, DeliverError> {
        let stock = &offer.stock;
        let mut catalogue = Catalogue::default();
        for (id, served) in offer.packages() {
            // The same package in a repository of higher cost is not installed.
            if catalogue.package(id).is_some() {
                continue;
            }
            let entry = stock.entry(&served).ok_or_else(|| unreadable(&served, "it is not served"))?;
            let mut reader = BufReader::new(EntryReader::open(&entry).map_err(|error| unreadable(&served, error))?);
            let header = read_header(&mut reader).map_err(|error| unreadable(&served, error))?;
            catalogue.add(Package::of(&header).map_err(|why| unreadable(&served, why))?);
        }
        let members = stock.bundle.iter().flat_map(|bundle| &bundle.manifest().members);
        for key in members.filter(|member| member.kind == MemberKind::Key) {
            let text = stock.read(&key.name)?;
            for id in key_ids(&text) {
                catalogue.keys.insert(id, key.name.clone());
            }
        }
        Ok(catalogue)
    }

    pub(crate) fn add(&mut self, package: Package) {
        let at = self.packages.len();
        self.by_name.entry(package.id.name.clone()).or_default().push(at);
        for capability in &package.provides {
            let places = self.by_capability.entry(capability.name.clone()).or_default();
            if places.last() != Some(&at) {
                places.push(at);
            }
        }
        self.packages.push(package);
    }

    /// Packages of this name, else packages that provide it as a capability.
    pub(crate) fn named(&self, name: &str) -> impl Iterator<Item = &Package> {
        let places = self.by_name.get(name).or_else(|| self.by_capability.get(name));
        places.into_iter().flatten().filter_map(|at| self.packages.get(*at))
    }

    /// Packages that satisfy a requirement.
    pub(crate) fn providers<'a>(&'a self, wanted: &'a Capability) -> impl Iterator<Item = &'a Package> {
        let places = self.by_capability.get(&wanted.name);
        let packages = places.into_iter().flatten().filter_map(|at| self.packages.get(*at));
        packages.filter(|package| package.provides.iter().any(|provided| provided.satisfies(wanted)))
    }

    /// The package with this identity.
    pub(crate) fn package(&self, id: &RpmId) -> Option<&Package> {
        self.named(&id.name).find(|package| package.id == *id)
    }
}

impl Package {
    fn of(header: &PackageMetadata) -> Result<Package, String> {
        let id = identity(header)?;
        let list = |list: Result<Vec<rpm::Dependency>, rpm::Error>| match list {
            Ok(list) => list.iter().map(Capability::of).collect(),
            Err(_) => Vec::new(),
        };
        let mut provides: Vec<Capability> = list(header.get_provides());
        // A path can be required like any capability.
        let paths = header.get_file_paths().unwrap_or_default();
        let paths = paths.iter().filter_map(|path| path.to_str());
        provides.extend(paths.map(|path| Capability { name: path.to_owned(), version: None }));
        let mut requires: Vec<Capability> = list(header.get_requires());
        // What rpm itself must be able to do is not in any package.
        requires.retain(|capability| !capability.name.starts_with("rpmlib("));
        let signer = header.raw_signatures().ok().and_then(|all| all.iter().find_map(|bytes| signer(bytes)));
        let head = header.get_package_segment_offsets().payload;
        Ok(Package { id, provides, requires, signer, head, files: sizes(header) })
    }
}

impl std::fmt::Display for Capability {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.version {
            None => f.write_str(&self.name),
            Some((operator, version)) => write!(f, "{} {operator} {version}", self.name),
        }
    }
}

impl Capability {
    fn of(dependency: &rpm::Dependency) -> Capability {
        let has = |flag| dependency.flags.contains(flag);
        let (less, equal, greater) =
            (has(DependencyFlags::LESS), has(DependencyFlags::EQUAL), has(DependencyFlags::GREATER));
        let operator = match (less, equal, greater) {
            (true, true, _) => Some("<="),
            (true, false, _) => Some("<"),
            (false, true, true) => Some(">="),
            (false, false, true) => Some(">"),
            (false, true, false) => Some("="),
            (false, false, false) => None,
        };
        let version = operator.filter(|_| !dependency.version.is_empty());
        Capability {
            name: dependency.name.clone(),
            version: version.map(|operator| (operator, dependency.version.clone())),
        }
    }

    /// Whether this, provided, is enough for `wanted`. One without a version satisfies any, as for rpm.
    pub(crate) fn satisfies(&self, wanted: &Capability) -> bool {
        if self.name != wanted.name {
            return false;
        }
        let (Some((have, version)), Some((operator, least))) = (&self.version, &wanted.version) else { return true };
        let order = compare_loosely(version, least);
        // Two ranges overlap when one holds at the other's end, or both are open in the same direction.
        let open = |a: &str, b: char| a.contains(b);
        match order {
            std::cmp::Ordering::Equal => {
                (open(have, '=') && open(operator, '='))
                    || (open(have, '<') && open(operator, '<'))
                    || (open(have, '>') && open(operator, '>'))
            }
            std::cmp::Ordering::Greater => open(operator, '>') || open(have, '<'),
            std::cmp::Ordering::Less => open(operator, '<') || open(have, '>'),
        }
    }
}

/// Compares two `[epoch:]version[-release]`; a release that one of them lacks does not count.
fn compare_loosely(a: &str, b: &str) -> std::cmp::Ordering {
    let split = |text: &str| text.rsplit_once('-').map(|(rest, _)| rest.to_owned());
    match (split(a), split(b)) {
        (Some(a), None) => rpm_version::rpm_evr_compare(&a, b),
        (None, Some(b)) => rpm_version::rpm_evr_compare(a, &b),
        _ => rpm_version::rpm_evr_compare(a, b),
    }
}

/// A file takes whole blocks.
const BLOCK: u64 = 4096;

/// What a package's files take, by folder; nothing where its header does not tell.
fn sizes(header: &PackageMetadata) -> BTreeMap<String, u64> {
    let mut sizes = BTreeMap::new();
    for file in header.get_file_entries().unwrap_or_default() {
        if file.file_type() == FileType::Regular && !file.flags().contains(FileFlags::GHOST) {
            let blocks = u64::try_from(file.size()).unwrap_or(u64::MAX).div_ceil(BLOCK);
            let taken: &mut u64 = sizes.entry(file.dirname().to_owned()).or_default();
            *taken = taken.saturating_add(blocks.saturating_mul(BLOCK));
        }
    }
    sizes
}

/// Which package a header describes.
fn identity(header: &PackageMetadata) -> Result<RpmId, String> {
    let nevra = header.get_nevra().map_err(|error| error.to_string())?;
    Ok(RpmId {
        name: nevra.name().to_owned(),
        epoch: if nevra.epoch().is_empty() {
            0
        } else {
            nevra.epoch().parse().map_err(|_| "its epoch is no number")?
        },
        version: nevra.version().to_owned(),
        release: nevra.release().to_owned(),
        arch: nevra.arch().to_owned(),
    })
}

fn read_header(reader: &mut impl BufRead) -> Result<PackageMetadata, rpm::Error> {
    PackageMetadata::parse(reader)
}

/// The id of the key that made a signature.
fn signer(bytes: &[u8]) -> Option<String> {
    let packets = PacketParser::new(io::Cursor::new(bytes));
    packets.flatten().find_map(|packet| match packet {
        Packet::Signature(signature) => {
            let id = signature.issuer_key_id().first().map(hex::encode);
            id.or_else(|| signature.issuer_fingerprint().first().map(|print| last_16(&hex::encode(print.as_bytes()))))
        }
        _ => None,
    })
}

fn last_16(hex: &str) -> String {
    hex.chars().skip(hex.len().saturating_sub(16)).collect()
}

/// The ids of the keys in a public key file, subkeys included.
fn key_ids(text: &[u8]) -> Vec<String> {
    use pgp::types::KeyDetails;
    let Ok((keys, _)) = SignedPublicKey::from_reader_many(text) else { return Vec::new() };
    let ids = keys.flatten().flat_map(|key| {
        let subkeys = key.public_subkeys.iter().map(|subkey| hex::encode(subkey.legacy_key_id())).collect::<Vec<_>>();
        std::iter::once(hex::encode(key.legacy_key_id())).chain(subkeys)
    });
    ids.collect()
}

fn unreadable(name: &str, why: impl std::fmt::Display) -> DeliverError {
    DeliverError::Metadata { why: format!("{name}: {why}") }
}

/// Reads an entry from its beginning; only as much of it as is asked for.
pub(super) struct EntryReader {
    pieces: Pieces,
    at: u64,
    size: u64,
}

impl EntryReader {
    pub(crate) fn open(entry: &Entry) -> io::Result<EntryReader> {
        Ok(EntryReader { pieces: entry.open()?, at: 0, size: entry.size })
    }
}

impl Read for EntryReader {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        let room = u64::try_from(space.len()).unwrap_or(u64::MAX);
        let end = self.size.min(self.at.saturating_add(room));
        if end == self.at {
            return Ok(0);
        }
        let piece = self.pieces.next(self.at, end)?;
        space[..piece.len()].copy_from_slice(&piece);
        self.at += u64::try_from(piece.len()).unwrap_or(u64::MAX);
        Ok(piece.len())
    }
}
