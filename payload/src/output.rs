//! A file in the making: written under another name, and under its own only when it is whole.

use std::fs::{File, Permissions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};
use tempfile::{NamedTempFile, TempDir};

use crate::error::BundleError;
use crate::unfinished::{PREFIX, SUFFIX, Unfinished, sweep, utf8};

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
    unfinished: Unfinished,
}

impl Output {
    /// Begins a file of about `expected` bytes, after asking the file system whether that fits.
    pub(crate) fn create(path: &Utf8Path, mode: u32, expected: u64) -> Result<Self, BundleError> {
        let dir = folder_of(path);
        let available = available(dir)?;
        if available < expected {
            return Err(BundleError::DiskFull { path: path.to_owned(), needed: expected, available });
        }
        sweep(dir);
        let mut builder = tempfile::Builder::new();
        builder.prefix(PREFIX).suffix(SUFFIX).permissions(Permissions::from_mode(mode));
        let made = Unfinished::begin(|| builder.tempfile_in(dir), |file| utf8(file.path()));
        let (file, unfinished) = made.map_err(BundleError::io("write", path))?;
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
        write_failed(&self.path, self.expected.saturating_sub(self.written), error)
    }

    /// Gives the file its name, replacing what had it.
    pub(crate) fn commit(self) -> Result<(), BundleError> {
        let Self { path, file, written, unfinished, .. } = self;
        // A hole at the end is a length and nothing else.
        file.as_file().set_len(written).map_err(BundleError::io("write", &path))?;
        // On disk before it takes the place of one that was whole.
        file.as_file().sync_all().map_err(BundleError::io("write", &path))?;
        file.persist(&path).map_err(|e| BundleError::io("name", &path)(e.error))?;
        drop(unfinished);
        sync_folder_of(&path)
    }
}

/// Files that are made on the way to a bundle, in a folder beside it that is removed with this value.
#[derive(Debug)]
pub(crate) struct Spool {
    beside: Utf8PathBuf,
    folder: Mutex<Option<(TempDir, Unfinished)>>,
    next: AtomicUsize,
}

/// A file of a [`Spool`].
#[derive(Debug)]
pub(crate) struct SpoolFile {
    pub(crate) path: Utf8PathBuf,
    pub(crate) written: u64,
    file: File,
}

impl Spool {
    /// For a bundle that is to be written to this path. Nothing is made on the disk before it is needed.
    pub(crate) fn beside(bundle: &Utf8Path) -> Self {
        Self { beside: folder_of(bundle).to_owned(), folder: Mutex::default(), next: AtomicUsize::new(0) }
    }

    /// A new, empty file.
    pub(crate) fn file(&self) -> Result<SpoolFile, BundleError> {
        let path = self.folder()?.join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        let file = File::create_new(&path).map_err(BundleError::io("write", &path))?;
        Ok(SpoolFile { path, written: 0, file })
    }

    /// The folder, made when it is first asked for.
    pub(crate) fn folder(&self) -> Result<Utf8PathBuf, BundleError> {
        let mut folder = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, unfinished)) = &*folder {
            return Ok(unfinished.path().to_owned());
        }
        sweep(&self.beside);
        let mut builder = tempfile::Builder::new();
        builder.prefix(PREFIX).suffix(SUFFIX);
        let made = Unfinished::begin(|| builder.tempdir_in(&self.beside), |dir| utf8(dir.path()));
        let (_, unfinished) = folder.insert(made.map_err(BundleError::io("write", &self.beside))?);
        Ok(unfinished.path().to_owned())
    }
}

impl SpoolFile {
    /// Appends.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), BundleError> {
        self.file.write_all(bytes).map_err(|e| write_failed(&self.path, bytes.len() as u64, e))?;
        self.written += bytes.len() as u64;
        Ok(())
    }
}

/// The folder that a file is in.
fn folder_of(path: &Utf8Path) -> &Utf8Path {
    match path.parent() {
        Some(dir) if !dir.as_str().is_empty() => dir,
        _ => Utf8Path::new("."),
    }
}

/// Has a file's new name on disk: without it a power cut may undo the rename.
pub(crate) fn sync_folder_of(path: &Utf8Path) -> Result<(), BundleError> {
    let dir = folder_of(path);
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(BundleError::io("write", dir))
}

/// The error for a write that failed when `left` bytes were still to come.
pub(crate) fn write_failed(path: &Utf8Path, left: u64, error: io::Error) -> BundleError {
    if error.kind() != io::ErrorKind::StorageFull && error.kind() != io::ErrorKind::QuotaExceeded {
        return BundleError::io("write", path)(error);
    }
    let available = available(folder_of(path)).unwrap_or(0);
    BundleError::DiskFull { path: path.to_owned(), needed: left.max(available + 1), available }
}

/// Bytes that an ordinary user may still write in the file system of `dir`.
pub(crate) fn available(dir: &Utf8Path) -> Result<u64, BundleError> {
    let dir = if dir.as_str().is_empty() { Utf8Path::new(".") } else { dir };
    let stat = nix::sys::statvfs::statvfs(dir.as_std_path())
        .map_err(|e| BundleError::io("ask for the free space of", dir)(e.into()))?;
    Ok(stat.blocks_available().saturating_mul(stat.fragment_size()))
}
