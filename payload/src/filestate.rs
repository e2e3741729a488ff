//! Whether a file that was checked is still the same, without reading it again.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

/// What changes when a file does: device, inode, size, and the time of its last change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileState(u64, u64, u64, (i64, i64));

impl FileState {
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        let meta = file.metadata()?;
        Ok(Self(meta.dev(), meta.ino(), meta.len(), (meta.ctime(), meta.ctime_nsec())))
    }
}
