//! One rpm file, read once: its identity, its sums, its dependencies and its three pieces of metadata.

use std::collections::HashSet;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher as _};

use camino::{Utf8Path, Utf8PathBuf};
use rpm::{IndexSignatureTag as SignatureTag, IndexTag as Tag};
use rpmrepo_metadata::{
    Changelog, Checksum, FilelistsXml, OtherXml, Package, PackageOptions, PackageSource, PrimaryXml, utils,
};
use sha2::Digest as _;

use super::header::Head;
use crate::digest::{CHUNK, FileSlice, Hasher, Sha256};
use crate::error::BundleError;
use crate::member::RpmId;

/// A package file that is whole: its digests hold.
#[derive(Clone, Debug)]
pub struct RpmFile {
    /// Where it was read.
    pub path: Utf8PathBuf,
    /// Which package it is.
    pub id: RpmId,
    /// Bytes of the file.
    pub size: u64,
    /// Sum of the file.
    pub sha256: Sha256,
    /// Seconds since 1970 when it was built.
    pub build_time: u64,
    /// True when it carries an OpenPGP signature (which is not checked here: that needs the signer's key).
    pub signed: bool,
    pub(super) needs: Needs,
    pub(super) xml: Xml,
}

/// How much of a package is held against its own digests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// The header: all that metadata is made from.
    Header,
    /// Header and payload: what goes into a bundle must be whole.
    All,
}

/// What dependency checks look at.
#[derive(Clone, Debug, Default)]
pub(super) struct Needs {
    pub(super) provides: Vec<rpm::Dependency>,
    pub(super) requires: Vec<rpm::Dependency>,
    /// Hashes of the paths of its files: the paths themselves would take far more memory.
    pub(super) files: HashSet<u64>,
}

/// One `<package>` element for each metadata file.
#[derive(Clone, Debug, Default)]
pub(super) struct Xml {
    pub(super) primary: Vec<u8>,
    pub(super) filelists: Vec<u8>,
    pub(super) other: Vec<u8>,
}

pub(super) fn path_hash(path: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}

impl RpmFile {
    /// Reads an rpm file and checks its header and payload. In the metadata it lies at `href`.
    pub fn read(path: &Utf8Path, href: &str) -> Result<Self, BundleError> {
        Self::read_with(path, href, Check::All)
    }

    pub(super) fn read_with(path: &Utf8Path, href: &str, check: Check) -> Result<Self, BundleError> {
        let file = File::open(path).map_err(BundleError::io("open", path))?;
        let len = file.metadata().map_err(BundleError::io("read", path))?.len();
        Self::read_slice(FileSlice { file: &file, base: 0, len }, path, href, check)
    }

    /// The same for a package inside another file; `path` is what messages call it.
    pub(crate) fn read_slice(
        file: FileSlice<'_>,
        path: &Utf8Path,
        href: &str,
        check: Check,
    ) -> Result<Self, BundleError> {
        let unfit = |what: String| BundleError::Unfit { path: path.to_owned(), what };
        let head = Head::read(file).map_err(BundleError::io("read", path))?.map_err(&unfit)?;
        let unreadable = |e: &dyn std::fmt::Display| unfit(format!("its header cannot be read: {e}"));
        let text = head.in_utf8().map_err(&unfit)?;
        let meta = rpm::PackageMetadata::parse(&mut text.as_ref()).map_err(|e| unreadable(&e))?;
        let (sha256, size) = check_digests(file, &head, &meta, path, check)?;
        let build_time = meta.get_build_time().unwrap_or_default();
        let source = PackageSource {
            checksum: Some(Checksum::Sha256(sha256.to_string())),
            size_package: Some(size),
            // The file's own time would make a bundle depend on when its parts were copied.
            time_file: build_time,
            location_href: href.to_owned(),
            location_base: None,
        };
        let mut package =
            Package::from_package_metadata(&meta, source, PackageOptions::default()).map_err(|e| unreadable(&e))?;
        let range = head.header_range();
        package.set_rpm_header_range(range.start, range.end);
        let changelogs = tell_apart(package.changelogs().to_vec());
        package.set_changelogs(changelogs);
        let id = RpmId {
            name: package.name().to_owned(),
            epoch: meta.get_epoch().unwrap_or_default(),
            version: meta.get_version().map_err(|e| unreadable(&e))?.to_owned(),
            release: meta.get_release().map_err(|e| unreadable(&e))?.to_owned(),
            arch: package.arch().to_owned(),
        };
        let mut needs = Needs {
            provides: meta.get_provides().map_err(|e| unreadable(&e))?,
            requires: meta.get_requires().map_err(|e| unreadable(&e))?,
            files: HashSet::new(),
        };
        package.files().for_each_file(|_, path| {
            needs.files.insert(path_hash(path));
        });
        let signed = meta.raw_signatures().is_ok_and(|signatures| !signatures.is_empty());
        let xml = Xml::write(&package).map_err(|e| unreadable(&e))?;
        Ok(Self { path: path.to_owned(), id, size, sha256, build_time, signed, needs, xml })
    }
}

/// Entries of one day, oldest first, get a second more each: readers order them by time alone (as createrepo does).
fn tell_apart(mut entries: Vec<Changelog>) -> Vec<Changelog> {
    let mut before: Option<(u64, u64)> = None;
    for entry in &mut entries {
        let stated = entry.timestamp;
        if let Some((stated_before, shown_before)) = before
            && (stated_before..=shown_before).contains(&stated)
        {
            entry.timestamp = shown_before + 1;
        }
        before = Some((stated, entry.timestamp));
    }
    entries
}

impl Xml {
    fn write(package: &Package) -> Result<Self, rpmrepo_metadata::MetadataError> {
        let mut xml = Self::default();
        PrimaryXml::new_writer(utils::create_xml_writer(&mut xml.primary)).write_package(package)?;
        FilelistsXml::new_writer(utils::create_xml_writer(&mut xml.filelists)).write_package(package)?;
        OtherXml::new_writer(utils::create_xml_writer(&mut xml.other)).write_package(package)?;
        Ok(xml)
    }
}

/// The digest that covers the payload, as the package states it.
enum PayloadDigest {
    Sha256(sha2::Sha256, String),
    Sha512(Box<sha2::Sha512>, String),
    /// Packages built before 2017 (CentOS 7): over header and payload.
    Md5(md5::Md5, String),
}

impl PayloadDigest {
    fn of(meta: &rpm::PackageMetadata, head: &Head) -> Option<Self> {
        if let Ok(sum) = meta.header.get_entry_data_as_string(Tag::RPMTAG_PAYLOADSHA256) {
            return Some(Self::Sha256(sha2::Sha256::new(), sum.to_owned()));
        }
        if let Ok(sum) = meta.header.get_entry_data_as_string(Tag::RPMTAG_PAYLOAD_SHA512) {
            return Some(Self::Sha512(Box::default(), sum.to_owned()));
        }
        let sum = meta.signature.get_entry_data_as_binary(SignatureTag::RPMSIGTAG_MD5).ok()?;
        let mut md5 = md5::Md5::default();
        md5::Digest::update(&mut md5, head.header());
        Some(Self::Md5(md5, hex::encode(sum)))
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher, _) => hasher.update(bytes),
            Self::Sha512(hasher, _) => hasher.update(bytes),
            Self::Md5(hasher, _) => md5::Digest::update(hasher, bytes),
        }
    }

    fn holds(self) -> bool {
        match self {
            Self::Sha256(hasher, sum) => hex::encode(hasher.finalize()).eq_ignore_ascii_case(&sum),
            Self::Sha512(hasher, sum) => hex::encode(hasher.finalize()).eq_ignore_ascii_case(&sum),
            Self::Md5(hasher, sum) => hex::encode(md5::Digest::finalize(hasher)).eq_ignore_ascii_case(&sum),
        }
    }
}

/// Checks the header's and the payload's digest; on the way the whole file is summed.
fn check_digests(
    file: FileSlice<'_>,
    head: &Head,
    meta: &rpm::PackageMetadata,
    path: &Utf8Path,
    check: Check,
) -> Result<(Sha256, u64), BundleError> {
    let unfit = |what: &str| BundleError::Unfit { path: path.to_owned(), what: what.into() };
    if let Ok(sum) = meta.signature.get_entry_data_as_string(SignatureTag::RPMSIGTAG_SHA256)
        && !Sha256::of(head.header()).to_string().eq_ignore_ascii_case(sum)
    {
        return Err(unfit("its header does not have the digest that the package states: it is damaged"));
    }
    let mut payload = match check {
        Check::Header => None,
        Check::All => Some(
            PayloadDigest::of(meta, head)
                .ok_or_else(|| unfit("it carries no digest of its payload that could be checked"))?,
        ),
    };
    let mut whole = Hasher::new();
    whole.update(head.bytes());
    let mut at = head.bytes().len() as u64;
    let mut buffer = vec![0; CHUNK.min(usize::try_from(file.len).unwrap_or(CHUNK))];
    loop {
        let got = file.read_at(&mut buffer, at).map_err(BundleError::io("read", path))?;
        if got == 0 {
            break;
        }
        whole.update(&buffer[..got]);
        if let Some(payload) = &mut payload {
            payload.update(&buffer[..got]);
        }
        at += got as u64;
    }
    if payload.is_none_or(PayloadDigest::holds) {
        return Ok((whole.finish(), at));
    }
    let expected = meta
        .signature
        .get_entry_data_as_u64(SignatureTag::RPMSIGTAG_LONGSIZE)
        .or_else(|_| meta.signature.get_entry_data_as_u32(SignatureTag::RPMSIGTAG_SIZE).map(u64::from))
        .map(|size| size + head.header_range().start);
    Err(match expected {
        Ok(expected) if at < expected => unfit(&format!("it is truncated: {at} bytes of {expected}")),
        _ => unfit("its payload does not have the digest that the package states: it is damaged"),
    })
}
