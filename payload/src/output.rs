//! A file in the making: written under another name, and under its own only when it is whole.

use std::fs::Permissions;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;

use camino::{Utf8Path, Utf8PathBuf};
use tempfile::NamedTempFile;

use crate::error::BundleError;
use crate::unfinished::Unfinished;

/// Zeros in a piece of at least this size are not written.
const HOLE_FROM: usize = 64 * 1024;
static ZEROS: [u8; crate::digest::CHUNK] = [0; crate::digest::CHUNK];

/// A new file beside its final place; dropped before [`Output::commit`] it leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Output {
    path: Utf8PathBuf,
    file: NamedTempFile,
    /// Bytes that the whole file will have, as far as known; for the message about a full disk.
    expected: u64,
    written: u64,
    unfinished: Option<Unfinished>,
}

impl Output {
    /// Begins a file of about `expected` bytes, after asking the file system whether that fits.
    pub(crate) fn create(path: &Utf8Path, mode: u32, expected: u64) -> Result<Self, BundleError> {
        let dir = match path.parent() {
            Some(dir) if !dir.as_str().is_empty() => dir,
            _ => Utf8Path::new("."),
        };
        let available = available(dir)?;
        if available < expected {
            return Err(BundleError::DiskFull { path: path.to_owned(), needed: expected, available });
        }
        let file = tempfile::Builder::new()
            .prefix(".sunshine-")
            .suffix(".part")
            .permissions(Permissions::from_mode(mode))
            .tempfile_in(dir)
            .map_err(BundleError::io("write", path))?;
        let unfinished = Utf8Path::from_path(file.path()).map(Unfinished::new);
        Ok(Self { path: path.to_owned(), file, expected, written: 0, unfinished })
    }

    pub(crate) fn at(&self) -> u64 {
        self.written
    }

    /// Appends; a long run of zeros becomes a hole where the file system has holes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), BundleError> {
        if bytes.len() >= HOLE_FROM && ZEROS.get(..bytes.len()) == Some(bytes) {
            let step = i64::try_from(bytes.len()).unwrap_or_default();
            let file = self.file.as_file_mut();
            file.seek(SeekFrom::Current(step)).map_err(|e| self.failed(e))?;
        } else {
            self.file.as_file_mut().write_all(bytes).map_err(|e| self.failed(e))?;
        }
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn failed(&self, error: io::Error) -> BundleError {
        if error.kind() != io::ErrorKind::StorageFull && error.kind() != io::ErrorKind::QuotaExceeded {
            return BundleError::io("write", &self.path)(error);
        }
        let dir = self.path.parent().unwrap_or(Utf8Path::new("."));
        let available = available(dir).unwrap_or(0);
        let needed = self.expected.saturating_sub(self.written).max(available + 1);
        BundleError::DiskFull { path: self.path.clone(), needed, available }
    }

    /// Gives the file its name, replacing what had it.
    pub(crate) fn commit(self) -> Result<(), BundleError> {
        let Self { path, file, written, unfinished, .. } = self;
        // A hole at the end is a length and nothing else.
        file.as_file().set_len(written).map_err(BundleError::io("write", &path))?;
        file.persist(&path).map_err(|e| BundleError::io("name", path)(e.error))?;
        drop(unfinished);
        Ok(())
    }
}

/// Bytes that an ordinary user may still write in the file system of `dir`.
pub(crate) fn available(dir: &Utf8Path) -> Result<u64, BundleError> {
    let dir = if dir.as_str().is_empty() { Utf8Path::new(".") } else { dir };
    let stat = nix::sys::statvfs::statvfs(dir.as_std_path())
        .map_err(|e| BundleError::io("ask for the free space of", dir)(e.into()))?;
    Ok(stat.blocks_available().saturating_mul(stat.fragment_size()))
}
