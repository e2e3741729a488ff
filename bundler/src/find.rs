//! From the paths that --rpms names to package files.

use camino::{Utf8Path, Utf8PathBuf};
use payload::BundleError;

/// Files as they are named; of folders, every `*.rpm` below them, in the order of their names.
pub(crate) fn rpms(paths: &[Utf8PathBuf]) -> Result<Vec<Utf8PathBuf>, BundleError> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            search(path, &mut found)?;
        } else {
            found.push(path.clone());
        }
    }
    Ok(found)
}

/// Every `*.rpm` in the folder itself.
pub(crate) fn rpms_beside(dir: &Utf8Path) -> Result<Vec<Utf8PathBuf>, BundleError> {
    let mut found = Vec::new();
    search(dir, &mut found)?;
    found.retain(|path| path.parent() == Some(dir));
    Ok(found)
}

fn search(dir: &Utf8Path, found: &mut Vec<Utf8PathBuf>) -> Result<(), BundleError> {
    let io = |source| BundleError::Io { action: "list", path: dir.to_owned(), source };
    let mut entries = dir.read_dir_utf8().map_err(io)?.collect::<Result<Vec<_>, _>>().map_err(io)?;
    entries.sort_by(|a, b| a.file_name().cmp(b.file_name()));
    for entry in entries {
        let path = entry.path();
        if path.is_dir() {
            search(path, found)?;
        } else if path.extension() == Some("rpm") {
            found.push(path.to_owned());
        }
    }
    Ok(())
}
