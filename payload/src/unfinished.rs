//! Files and folders in the making, by name, so that a program that a signal ends can remove them: a signal unwinds
//! nothing, and what a dropped value would have removed stays.
//!
//! Each is locked while its process lives. One that nobody has locked was left by a process that was killed, and the next
//! one that writes to the same folder removes it.

use std::fs::File;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use nix::fcntl::{Flock, FlockArg};

/// What the names of files and folders in the making begin and end with.
pub(crate) const PREFIX: &str = ".sunshine-";
pub(crate) const SUFFIX: &str = ".part";

/// One that is younger may not be locked yet.
const YOUNG: Duration = Duration::from_secs(10);

static UNFINISHED: Mutex<Vec<Utf8PathBuf>> = Mutex::new(Vec::new());

fn list() -> std::sync::MutexGuard<'static, Vec<Utf8PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps a path on the list while it lives.
#[derive(Debug)]
pub(crate) struct Unfinished {
    path: Utf8PathBuf,
    /// None on a file system without locks: there nothing is removed for being unlocked either.
    _lock: Option<Flock<File>>,
}

impl Unfinished {
    /// Makes it, under a path that `path` tells. A signal that comes meanwhile waits, so that it is either not made or
    /// removed.
    pub(crate) fn begin<T>(
        make: impl FnOnce() -> io::Result<T>,
        path: impl FnOnce(&T) -> Option<Utf8PathBuf>,
    ) -> io::Result<(T, Self)> {
        let mut list = list();
        let made = make()?;
        let path = path(&made).ok_or_else(|| io::Error::other("the path is not UTF-8"))?;
        list.push(path.clone());
        let lock = lock(&path);
        Ok((made, Self { path, _lock: lock }))
    }

    pub(crate) fn path(&self) -> &Utf8Path {
        &self.path
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        list().retain(|path| *path != self.path);
    }
}

/// A path, for [`Unfinished::begin`].
pub(crate) fn utf8(path: &std::path::Path) -> Option<Utf8PathBuf> {
    Utf8Path::from_path(path).map(Utf8Path::to_owned)
}

fn lock(path: &Utf8Path) -> Option<Flock<File>> {
    Flock::lock(File::open(path).ok()?, FlockArg::LockExclusiveNonblock).ok()
}

/// Removes from a folder what processes that were killed have left there.
pub(crate) fn sweep(dir: &Utf8Path) {
    let dir = if dir.as_str().is_empty() { Utf8Path::new(".") } else { dir };
    // Whoever may not list the folder may not remove anything from it either.
    let Ok(entries) = dir.read_dir_utf8() else { return };
    for entry in entries.flatten() {
        let age = entry.metadata().and_then(|meta| meta.modified()).ok().and_then(|at| at.elapsed().ok());
        let ours = entry.file_name().starts_with(PREFIX) && entry.file_name().ends_with(SUFFIX);
        if ours && age.is_some_and(|age| age > YOUNG) && lock(entry.path()).is_some() {
            remove(entry.path());
        }
    }
}

/// One of the two fits; what cannot be removed stays under its passing name.
fn remove(path: &Utf8Path) {
    let _ = fs_err::remove_file(path);
    let _ = fs_err::remove_dir_all(path);
}

/// Removes what bundles and extracted folders this process has begun and not finished: to be called when a signal is
/// about to end it.
pub fn remove_unfinished() {
    let mut list = list();
    for path in list.drain(..) {
        remove(&path);
    }
    // Nothing is begun any more.
    std::mem::forget(list);
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn old(path: &Utf8Path) {
        let before = SystemTime::now() - YOUNG * 2;
        File::open(path).and_then(|file| file.set_modified(before)).unwrap();
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| Utf8PathBuf::from_path_buf(folder.path().join(name)).unwrap();
        for name in [".sunshine-a.part", ".sunshine-held.part", ".sunshine-young.part", "theirs.part"] {
            std::fs::write(at(name), "x").unwrap();
        }
        std::fs::create_dir_all(at(".sunshine-folder.part").join("below")).unwrap();
        let held = at(".sunshine-held.part");
        let _held = Unfinished::begin(|| Ok(()), |()| Some(held.clone())).unwrap();
        for name in [".sunshine-a.part", ".sunshine-held.part", "theirs.part", ".sunshine-folder.part"] {
            old(&at(name));
        }
        sweep(&at(""));
        let mut left: Vec<_> = at("").read_dir_utf8().unwrap().map(|e| e.unwrap().file_name().to_owned()).collect();
        left.sort();
        assert_eq!(left, [".sunshine-held.part", ".sunshine-young.part", "theirs.part"]);
    }
}
