//! The files of an image that is to be packed: those of a folder, or of a tar (plain, gzip, zstd), by name.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use camino::{Utf8Path, Utf8PathBuf};

use crate::error::BundleError;
use crate::output::Spool;
use crate::write::Source;

/// A document larger than this is none of an image.
const DOCUMENT_LIMIT: u64 = 16 << 20;
/// More links in a row than this are a circle.
const LINKS: usize = 8;

/// An opened input.
#[derive(Debug)]
pub(super) struct Tree {
    /// What the user named.
    pub(super) path: Utf8PathBuf,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Folder,
    Tar { file: Utf8PathBuf, entries: HashMap<String, Entry> },
}

#[derive(Debug)]
enum Entry {
    File { at: u64, size: u64 },
    Link(String),
}

impl Tree {
    /// Opens a folder or a tar; a packed tar is unpacked into `spool` first.
    pub(super) fn open(source: &Source, spool: &Spool) -> Result<Self, BundleError> {
        let path = source.path();
        if let Source::File(folder) = source
            && folder.is_dir()
        {
            return Ok(Self { path, place: Place::Folder });
        }
        let (file, base) = match (source, packing(source)?) {
            (Source::File(file), Packing::None) => (file.clone(), 0),
            (Source::Range { path, at, .. }, Packing::None) => (path.clone(), *at),
            (_, packing) => (unpacked(source, packing, spool)?, 0),
        };
        let entries = entries(&file, base).map_err(|e| BundleError::Unfit {
            path: path.clone(),
            what: format!("it is neither a tar nor a folder of container images: {e}"),
        })?;
        Ok(Self { path, place: Place::Tar { file, entries } })
    }

    /// A file of it, if there is one of this name.
    pub(super) fn get(&self, name: &str) -> Option<Source> {
        match &self.place {
            Place::Folder if name.split('/').any(|part| matches!(part, "" | "." | "..")) => None,
            Place::Folder => {
                let path = self.path.join(name);
                path.is_file().then_some(Source::File(path))
            }
            Place::Tar { file, entries } => {
                let mut name = name.to_owned();
                for _ in 0..LINKS {
                    match entries.get(&name)? {
                        Entry::File { at, size } => {
                            return Some(Source::Range { path: file.clone(), at: *at, size: *size });
                        }
                        Entry::Link(target) => name.clone_from(target),
                    }
                }
                None
            }
        }
    }

    /// A file that must be there.
    pub(super) fn need(&self, name: &str) -> Result<Source, BundleError> {
        self.get(name).ok_or_else(|| self.unfit(format!("it has no file {name}")))
    }

    /// The contents of a small file that must be there.
    pub(super) fn document(&self, name: &str) -> Result<Vec<u8>, BundleError> {
        let source = self.need(name)?;
        if source.size()? > DOCUMENT_LIMIT {
            return Err(self.unfit(format!("its {name} is larger than such a document can be")));
        }
        source.read_all()
    }

    pub(super) fn unfit(&self, what: impl Into<String>) -> BundleError {
        BundleError::Unfit { path: self.path.clone(), what: what.into() }
    }
}

/// How bytes are packed, by their first four.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    None,
    Gzip,
    Zstd,
}

/// How a source's bytes are packed.
pub(super) fn packing(source: &Source) -> Result<Packing, BundleError> {
    let mut head = Vec::new();
    source.open()?.take(4).read_to_end(&mut head).map_err(BundleError::io("read", source.path()))?;
    Ok(match head.as_slice() {
        [0x1f, 0x8b, ..] => Packing::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd] => Packing::Zstd,
        _ => Packing::None,
    })
}

/// Reads packed bytes unpacked.
pub(super) fn unpacker<'a>(
    reader: Box<dyn Read + Send + 'a>,
    packing: Packing,
) -> std::io::Result<Box<dyn Read + Send + 'a>> {
    Ok(match packing {
        Packing::None => reader,
        // pigz and others write several members one behind the other.
        Packing::Gzip => Box::new(flate2::read::MultiGzDecoder::new(reader)),
        Packing::Zstd => Box::new(zstd::Decoder::new(reader)?),
    })
}

fn unpacked(source: &Source, packing: Packing, spool: &Spool) -> Result<Utf8PathBuf, BundleError> {
    let read =
        |e| BundleError::Unfit { path: source.path(), what: format!("it is damaged: it cannot be unpacked: {e}") };
    let mut reader = unpacker(source.open()?, packing).map_err(read)?;
    let mut file = spool.file()?;
    let mut buffer = vec![0; crate::digest::CHUNK];
    loop {
        let got = reader.read(&mut buffer).map_err(read)?;
        if got == 0 {
            return Ok(file.path);
        }
        file.write(&buffer[..got])?;
    }
}

/// The files and links of a tar that begins at `base`.
fn entries(file: &Utf8Path, base: u64) -> std::io::Result<HashMap<String, Entry>> {
    let mut reader = File::open(file)?;
    reader.seek(SeekFrom::Start(base))?;
    let mut entries = HashMap::new();
    for entry in tar::Archive::new(reader).entries_with_seek()? {
        let entry = entry?;
        let Some(name) = plain(&entry.path()?) else { continue };
        let kind = entry.header().entry_type();
        let found = if kind.is_file() {
            Some(Entry::File { at: base + entry.raw_file_position(), size: entry.size() })
        } else if kind.is_symlink() || kind.is_hard_link() {
            let target = entry.link_name()?;
            target.and_then(|t| link(&name, &t, kind.is_symlink())).map(Entry::Link)
        } else {
            None
        };
        if let Some(found) = found {
            entries.insert(name, found);
        }
    }
    Ok(entries)
}

/// A name without `./` in front.
fn plain(path: &std::path::Path) -> Option<String> {
    let path = Utf8Path::from_path(path)?;
    Some(path.strip_prefix(".").unwrap_or(path).as_str().trim_end_matches('/').to_owned())
}

/// The name that a link means. Archives of `docker save` have a layer that two images share once, and links
/// (`../ID/layer.tar`) elsewhere.
fn link(name: &str, target: &std::path::Path, from_folder: bool) -> Option<String> {
    let target = Utf8Path::from_path(target)?;
    let mut parts: Vec<&str> = match (from_folder, name.rsplit_once('/')) {
        (true, Some((folder, _))) => folder.split('/').collect(),
        _ => Vec::new(),
    };
    for part in target.as_str().split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed_within_the_archive() {
        let to = |name, target: &str, symbolic| link(name, std::path::Path::new(target), symbolic);
        assert_eq!(to("b/layer.tar", "../a/layer.tar", true).as_deref(), Some("a/layer.tar"));
        assert_eq!(to("b/layer.tar", "a/layer.tar", false).as_deref(), Some("a/layer.tar"));
        assert_eq!(to("layer.tar", "../etc/passwd", true), None);
    }
}
