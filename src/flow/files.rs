//! Files of our own on the control host: private, and never half-written under their name.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};

use camino::Utf8Path;

/// Writes `content` to `path` with mode 0600, by rename; folders on the way are made with mode 0700.
///
/// # Errors
/// What the file system says; the old file is then still there, whole.
pub(super) fn write_private(path: &Utf8Path, content: &[u8]) -> std::io::Result<()> {
    let dir = path.parent().unwrap_or(Utf8Path::new("."));
    make_private_dir(dir)?;
    write_private_here(path, content)
}

/// As [`write_private`], into a folder that is there.
///
/// # Errors
/// What the file system says; the old file is then still there, whole.
pub(super) fn write_private_here(path: &Utf8Path, content: &[u8]) -> std::io::Result<()> {
    let dir = path.parent().filter(|d| !d.as_str().is_empty()).unwrap_or(Utf8Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".new-")
        .permissions(std::fs::Permissions::from_mode(0o600))
        .tempfile_in(dir)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    sync_dir(dir)
}

/// Has the names in a folder on disk: without it a power cut may undo a rename.
///
/// # Errors
/// What the file system says.
pub(super) fn sync_dir(dir: &Utf8Path) -> std::io::Result<()> {
    std::fs::File::open(dir)?.sync_all()
}

/// Makes a folder and those above it with mode 0700, when they are not there.
///
/// # Errors
/// What the file system says.
pub(super) fn make_private_dir(dir: &Utf8Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}
