//! What the server has to give, by name: members of the bundle, rpms of the control host, texts made for the run.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use bytes::Bytes;

/// Loads the contents of a member that is not stored as it is served. Called once; what it gives is kept.
pub(super) type Load = Box<dyn Fn() -> io::Result<Bytes> + Send + Sync>;

/// One thing that can be fetched.
#[derive(Debug)]
pub(super) struct Entry {
    /// Bytes.
    pub(super) size: u64,
    /// Its checksum, or what else tells it from others: the strong validator.
    pub(super) sha256: String,
    /// For `Last-Modified`: of the bundle, or of the file.
    pub(super) modified: SystemTime,
    source: Source,
}

enum Source {
    /// In memory, or mapped: slicing it copies nothing.
    Bytes(Bytes),
    /// Read piece by piece, from where it begins in the file.
    File(Arc<File>, u64),
    /// Others, one behind the other.
    Chain(Vec<Arc<Entry>>),
    /// Packed in the bundle; unpacked when first asked for. Only texts are, so what is kept is small.
    Packed { load: Load, kept: Mutex<Option<Bytes>> },
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Source::Bytes(_) => "Bytes",
            Source::File(..) => "File",
            Source::Chain(_) => "Chain",
            Source::Packed { .. } => "Packed",
        })
    }
}

impl Entry {
    pub(super) fn bytes(bytes: Bytes, sha256: String, modified: SystemTime) -> Entry {
        Entry { size: length(&bytes), sha256, modified, source: Source::Bytes(bytes) }
    }

    pub(super) fn file(file: Arc<File>, offset: u64, size: u64, sha256: String, modified: SystemTime) -> Entry {
        Entry { size, sha256, modified, source: Source::File(file, offset) }
    }

    pub(super) fn packed(load: Load, size: u64, sha256: String, modified: SystemTime) -> Entry {
        Entry { size, sha256, modified, source: Source::Packed { load, kept: Mutex::new(None) } }
    }

    /// Entries one behind the other, such as an archive's headers and its files. `tag` is what tells it from others.
    pub(super) fn chain(parts: Vec<Arc<Entry>>, tag: String, modified: SystemTime) -> Entry {
        let size = parts.iter().map(|part| part.size).sum();
        Entry { size, sha256: tag, modified, source: Source::Chain(parts) }
    }

    /// Opens it for reading pieces.
    pub(super) fn open(&self) -> io::Result<Pieces> {
        match &self.source {
            Source::Bytes(bytes) => Ok(Pieces::Bytes(bytes.clone())),
            Source::File(file, offset) => Ok(Pieces::File(Arc::clone(file), *offset)),
            Source::Chain(parts) => {
                let mut at = 0;
                let mut opened = Vec::with_capacity(parts.len());
                for part in parts {
                    opened.push((at..at + part.size, part.open()?));
                    at += part.size;
                }
                Ok(Pieces::Chain(opened.into()))
            }
            Source::Packed { load, kept } => {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(bytes) = &*kept {
                    return Ok(Pieces::Bytes(bytes.clone()));
                }
                let bytes = load()?;
                if length(&bytes) != self.size {
                    return Err(io::Error::other("it unpacks to another size than the manifest states"));
                }
                *kept = Some(bytes.clone());
                Ok(Pieces::Bytes(bytes))
            }
        }
    }
}

/// An entry opened for reading.
#[derive(Debug, Clone)]
pub(super) enum Pieces {
    Bytes(Bytes),
    File(Arc<File>, u64),
    /// Each with its place in the whole.
    Chain(Arc<[(Range<u64>, Pieces)]>),
}

/// A mapped piece costs no memory, so it can be large; a piece read from a file is held until its client took it, and
/// all clients together must stay within the server's limit.
const MAPPED_PIECE: u64 = 4 * 1024 * 1024;
const READ_PIECE: u64 = 32 * 1024;

impl Pieces {
    /// The next piece from `start` on, at most up to `end`; never empty when `start < end`.
    pub(super) fn next(&self, start: u64, end: u64) -> io::Result<Bytes> {
        let damaged = || io::Error::other("the contents are shorter than the manifest states");
        match self {
            Pieces::Bytes(bytes) => {
                let from = usize::try_from(start).map_err(|_| damaged())?;
                let to = usize::try_from(end.min(start + MAPPED_PIECE)).map_err(|_| damaged())?;
                if to > bytes.len() { Err(damaged()) } else { Ok(bytes.slice(from..to)) }
            }
            Pieces::File(file, offset) => {
                let mut space = vec![0; usize::try_from((end - start).min(READ_PIECE)).map_err(|_| damaged())?];
                file.read_exact_at(&mut space, offset + start).map_err(|_| damaged())?;
                Ok(Bytes::from(space))
            }
            Pieces::Chain(parts) => {
                let (place, part) = parts.iter().find(|(place, _)| place.contains(&start)).ok_or_else(damaged)?;
                part.next(start - place.start, end.min(place.end) - place.start)
            }
        }
    }
}

/// Everything that can be fetched, by name. Names are compared whole: there is no folder to climb out of.
#[derive(Debug, Default)]
pub(super) struct Content(RwLock<HashMap<String, Arc<Entry>>>);

impl Content {
    pub(super) fn put(&self, name: impl Into<String>, entry: Entry) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(name.into(), Arc::new(entry));
    }

    pub(super) fn get(&self, name: &str) -> Option<Arc<Entry>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }
}

fn length(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_read_from_anywhere() {
        let part = |text: &'static str| {
            Arc::new(Entry::bytes(Bytes::from_static(text.as_bytes()), String::new(), SystemTime::UNIX_EPOCH))
        };
        let chain =
            Entry::chain(vec![part("ab"), part(""), part("cde"), part("f")], "x".into(), SystemTime::UNIX_EPOCH);
        let pieces = chain.open().unwrap();
        for start in 0..6 {
            for end in start + 1..=6 {
                let (mut at, mut read) = (start, Vec::new());
                while at < end {
                    let piece = pieces.next(at, end).unwrap();
                    at += u64::try_from(piece.len()).unwrap();
                    read.extend_from_slice(&piece);
                }
                let whole = b"abcdef";
                assert_eq!(read, whole[usize::try_from(start).unwrap()..usize::try_from(end).unwrap()]);
            }
        }
        assert!(chain.open().unwrap().next(6, 7).is_err());
    }
}
