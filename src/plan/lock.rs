//! The lock that keeps two runs from one environment, with its owner's name and time.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

use camino::{Utf8Path, Utf8PathBuf};
use nix::fcntl::{Flock, FlockArg};

/// Held while a run changes an environment.
#[derive(Debug)]
pub struct RunLock {
    _lock: Flock<File>,
}

/// Why an environment could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("environment {environment} is in use: {owner}")]
    Held { environment: String, owner: String },
    #[error("{path}: {source}")]
    Io { path: Utf8PathBuf, source: std::io::Error },
}

impl RunLock {
    /// Takes the lock of the environment whose folder is `dir`. It is gone with the process, so it is never stale.
    ///
    /// # Errors
    /// [`LockError::Held`] names who has it and since when.
    pub fn take(dir: &Utf8Path, environment: &str) -> Result<Self, LockError> {
        let path = dir.join("lock");
        let io = |source| LockError::Io { path: path.clone(), source };
        loop {
            let mut options = std::fs::OpenOptions::new();
            let file =
                options.create(true).truncate(false).read(true).write(true).mode(0o600).open(&path).map_err(io)?;
            if let Some(lock) = Self::take_opened(file, &path, environment)? {
                return Ok(lock);
            }
        }
    }

    /// `None` where the file is not the one of that name any more: whoever had the lock has forgotten the environment, file and all,
    /// and the next one to come locks another file.
    fn take_opened(mut file: File, path: &Utf8Path, environment: &str) -> Result<Option<Self>, LockError> {
        let io = |source| LockError::Io { path: path.to_owned(), source };
        let mut owner = String::new();
        file.read_to_string(&mut owner).map_err(io)?;
        let mut lock = lock_file(file).map_err(|errno| match errno {
            nix::errno::Errno::EWOULDBLOCK => {
                LockError::Held { environment: environment.to_owned(), owner: owner.trim().to_owned() }
            }
            other => io(other.into()),
        })?;
        let locked = lock.metadata().map_err(io)?;
        if !std::fs::metadata(path).is_ok_and(|named| (named.dev(), named.ino()) == (locked.dev(), locked.ino())) {
            return Ok(None);
        }
        lock.set_len(0).map_err(io)?;
        lock.rewind().map_err(io)?;
        let now = jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S");
        writeln!(lock, "process {}, started {now}", std::process::id()).map_err(io)?;
        Ok(Some(Self { _lock: lock }))
    }

    /// Whether some process works on the environment whose folder is `dir`.
    ///
    /// # Errors
    /// When that cannot be found out.
    pub fn is_held(dir: &Utf8Path) -> std::io::Result<bool> {
        let file = match File::open(dir.join("lock")) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(e),
        };
        match Flock::lock(file, FlockArg::LockSharedNonblock) {
            Ok(_) => Ok(false),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(true),
            Err((_, errno)) => Err(errno.into()),
        }
    }
}

// Somebody who only looks (`RunLock::is_held`) has the lock for some microseconds: that is no reason to refuse a run.
fn lock_file(mut file: File) -> Result<Flock<File>, nix::errno::Errno> {
    for _ in 0..5 {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Err((same, nix::errno::Errno::EWOULDBLOCK)) => file = same,
            other => return other.map_err(|(_, errno)| errno),
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    Err(nix::errno::Errno::EWOULDBLOCK)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir() -> (tempfile::TempDir, Utf8PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        (dir, path)
    }

    #[test]
    fn a_held_lock_names_its_owner() {
        let (_keep, dir) = dir();
        let first = RunLock::take(&dir, "e").unwrap();
        let error = RunLock::take(&dir, "e").unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        assert!(RunLock::is_held(&dir).unwrap());
        drop(first);
        assert!(!RunLock::is_held(&dir).unwrap());
        RunLock::take(&dir, "e").unwrap();
    }

    #[test]
    fn the_lock_of_an_environment_that_was_forgotten_is_none() {
        let (_keep, dir) = dir();
        let path = dir.join("lock");
        let held = RunLock::take(&dir, "e").unwrap();
        // Opened while it was there; the holder removes it and ends.
        let opened = File::options().read(true).write(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        drop(held);
        assert!(RunLock::take_opened(opened, &path, "e").unwrap().is_none());
        // Another one's by now.
        let _other = RunLock::take(&dir, "e").unwrap();
        assert!(RunLock::take(&dir, "e").is_err());
    }
}
