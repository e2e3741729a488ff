//! SHA-256 sums: the type, and hashing a range of a file through a small buffer.
//!
//! Files are hashed by `pread`, never through the map: mapped pages would count as this process's memory.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Digest as _;

/// Bytes read at once. Larger does not hash faster, and every thread holds one.
pub(crate) const CHUNK: usize = 256 * 1024;

/// A SHA-256 sum; shown and stored as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256([u8; 32]);

impl Sha256 {
    /// The sum of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Sha256 {
    type Err = hex::FromHexError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let mut sum = [0; 32];
        hex::decode_to_slice(s, &mut sum)?;
        Ok(Self(sum))
    }
}

impl Serialize for Sha256 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sha256 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A sum in the making.
#[derive(Clone, Debug, Default)]
pub struct Hasher(sha2::Sha256);

impl Hasher {
    /// Nothing hashed yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes these bytes in.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The sum of all that was taken in.
    #[must_use]
    pub fn finish(self) -> Sha256 {
        Sha256(self.0.finalize().into())
    }
}

/// A part of an open file, read as if it were a file of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileSlice<'a> {
    pub(crate) file: &'a File,
    pub(crate) base: u64,
    pub(crate) len: u64,
}

impl FileSlice<'_> {
    /// Reads up to the slice's end.
    pub(crate) fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let left = usize::try_from(self.len.saturating_sub(at)).unwrap_or(usize::MAX);
        let want = left.min(buffer.len());
        self.file.read_at(&mut buffer[..want], self.base + at)
    }
}

/// Hashes `len` bytes of `file` from `offset`; `seen` hears the size of every piece.
pub(crate) fn hash_range(
    hasher: &mut Hasher,
    file: &File,
    mut offset: u64,
    len: u64,
    seen: &mut dyn FnMut(u64),
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK.min(usize::try_from(len).unwrap_or(CHUNK))];
    let end = offset.saturating_add(len);
    while offset < end {
        let want = usize::try_from(end - offset).unwrap_or(CHUNK).min(buffer.len());
        let got = file.read_at(&mut buffer[..want], offset)?;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        hasher.update(&buffer[..got]);
        offset += got as u64;
        seen(got as u64);
    }
    Ok(())
}

/// The sum of a whole file, and its length.
pub fn hash_file(file: &File) -> io::Result<(Sha256, u64)> {
    let mut hasher = Hasher::new();
    let len = file.metadata()?.len();
    hash_range(&mut hasher, file, 0, len, &mut |_| ())?;
    Ok((hasher.finish(), len))
}
