//! Files and folders in the making, by name, so that a program that a signal ends can remove them: a signal unwinds
//! nothing, and what a dropped value would have removed stays.

use std::sync::{Mutex, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};

static UNFINISHED: Mutex<Vec<Utf8PathBuf>> = Mutex::new(Vec::new());

fn list() -> std::sync::MutexGuard<'static, Vec<Utf8PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps a path on the list while it lives.
#[derive(Debug)]
pub(crate) struct Unfinished(Utf8PathBuf);

impl Unfinished {
    pub(crate) fn new(path: &Utf8Path) -> Self {
        list().push(path.to_owned());
        Self(path.to_owned())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        list().retain(|path| *path != self.0);
    }
}

/// Removes what bundles and extracted folders this process has begun and not finished: to be called when a signal is
/// about to end it.
pub fn remove_unfinished() {
    for path in list().drain(..) {
        // One of the two fits; what cannot be removed stays under its passing name.
        let _ = fs_err::remove_file(&path);
        let _ = fs_err::remove_dir_all(&path);
    }
}
