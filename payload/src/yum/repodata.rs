//! The files of `repodata/`: primary, filelists, other, and repomd.xml that names them.
//! Source: the metadata that createrepo_c writes, and the schemas in the yum-metadata-parser project.
//!
//! gzip is what CentOS 7's yum reads, and everything since reads it too; zstd is for dnf 4 of EL 8 and later, and dnf5.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use rpmrepo_metadata::{Checksum, FilelistsXml, OtherXml, PrimaryXml, RepomdData, RepomdRecord, RepomdXml, utils};

use super::rpmfile::Xml;
use crate::digest::{Hasher, Sha256};
use crate::error::BundleError;

/// How metadata is packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Packing {
    /// Read by every yum, dnf and zypper.
    #[default]
    Gzip,
    /// Smaller, and faster to read; not for CentOS 7.
    Zstd,
}

/// A file of `repodata/`.
#[derive(Clone, Debug)]
pub struct RepodataFile {
    /// Its name, with `repodata/`.
    pub name: String,
    /// Its contents.
    pub bytes: Vec<u8>,
}

/// Takes the elements of packages in order and becomes the files of `repodata/`.
pub(super) struct Builder {
    primary: Stream,
    filelists: Stream,
    other: Stream,
    newest: u64,
}

type MetadataResult<T> = Result<T, rpmrepo_metadata::MetadataError>;

impl Builder {
    pub(super) fn new(packages: usize, packing: Packing) -> Result<Self, BundleError> {
        let new = |name, header: MetadataResult<Vec<u8>>| Stream::new(name, &header.map_err(failed)?, packing);
        let (mut primary, mut filelists, mut other) = (Vec::new(), Vec::new(), Vec::new());
        let headers = (
            PrimaryXml::new_writer(utils::create_xml_writer(&mut primary)).write_header(packages),
            FilelistsXml::new_writer(utils::create_xml_writer(&mut filelists)).write_header(packages),
            OtherXml::new_writer(utils::create_xml_writer(&mut other)).write_header(packages),
        );
        Ok(Self {
            primary: new("primary", headers.0.map(|()| primary))?,
            filelists: new("filelists", headers.1.map(|()| filelists))?,
            other: new("other", headers.2.map(|()| other))?,
            newest: 0,
        })
    }

    pub(super) fn add(&mut self, xml: &Xml, build_time: u64) -> Result<(), BundleError> {
        self.newest = self.newest.max(build_time);
        self.primary.add(&xml.primary)?;
        self.filelists.add(&xml.filelists)?;
        self.other.add(&xml.other)
    }

    /// The finished files; repomd.xml is the last.
    pub(super) fn finish(self) -> Result<Vec<RepodataFile>, BundleError> {
        let newest = self.newest;
        let mut repomd = RepomdData::default();
        repomd.set_revision(&newest.to_string());
        let mut files = Vec::new();
        let streams = [
            (self.primary, &b"</metadata>\n"[..]),
            (self.filelists, b"</filelists>\n"),
            (self.other, b"</otherdata>\n"),
        ];
        for (stream, end) in streams {
            let (file, mut record) = stream.finish(end)?;
            record.timestamp = i64::try_from(newest).unwrap_or(i64::MAX);
            repomd.add_record(record);
            files.push(file);
        }
        let mut bytes = Vec::new();
        RepomdXml::write_data(&repomd, &mut utils::create_xml_writer(&mut bytes)).map_err(failed)?;
        files.push(RepodataFile { name: "repodata/repomd.xml".into(), bytes });
        Ok(files)
    }
}

fn failed(error: impl std::fmt::Display) -> BundleError {
    BundleError::Unfit { path: "repodata".into(), what: error.to_string() }
}

enum Packer {
    Gzip(GzEncoder<Vec<u8>>),
    Zstd(zstd::Encoder<'static, Vec<u8>>),
}

/// One metadata file, packed as it grows.
struct Stream {
    name: &'static str,
    packer: Packer,
    open: Hasher,
    open_size: u64,
}

impl Stream {
    fn new(name: &'static str, header: &[u8], packing: Packing) -> Result<Self, BundleError> {
        let packer = match packing {
            Packing::Gzip => Packer::Gzip(GzEncoder::new(Vec::new(), Compression::new(6))),
            Packing::Zstd => Packer::Zstd(zstd::Encoder::new(Vec::new(), 9).map_err(failed)?),
        };
        let mut stream = Self { name, packer, open: Hasher::new(), open_size: 0 };
        stream.add(header)?;
        Ok(stream)
    }

    fn add(&mut self, text: &[u8]) -> Result<(), BundleError> {
        for bytes in [text, b"\n"] {
            self.open.update(bytes);
            self.open_size += bytes.len() as u64;
            let packer: &mut dyn Write = match &mut self.packer {
                Packer::Gzip(packer) => packer,
                Packer::Zstd(packer) => packer,
            };
            packer.write_all(bytes).map_err(failed)?;
        }
        Ok(())
    }

    fn finish(mut self, end: &[u8]) -> Result<(RepodataFile, RepomdRecord), BundleError> {
        self.add(end.trim_ascii_end())?;
        let (bytes, ending) = match self.packer {
            Packer::Gzip(packer) => (packer.finish().map_err(failed)?, "gz"),
            Packer::Zstd(packer) => (packer.finish().map_err(failed)?, "zst"),
        };
        let sum = Sha256::of(&bytes);
        let name = format!("repodata/{sum}-{}.xml.{ending}", self.name);
        let mut record = RepomdRecord::default();
        record.metadata_name = self.name.into();
        record.location_href = name.clone().into();
        record.size = Some(bytes.len() as u64);
        record.checksum = Checksum::Sha256(sum.to_string());
        record.open_size = Some(self.open_size);
        record.open_checksum = Some(Checksum::Sha256(self.open.finish().to_string()));
        Ok((RepodataFile { name, bytes }, record))
    }
}
