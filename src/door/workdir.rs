//! A private folder (0700) for what lasts as long as the run: removed at the end, by an error, by SIGINT and SIGTERM;
//! and what a killed run left behind is removed by the next. The bundle itself is never unpacked: it is served in place.
//!
//! 1. The folder is made under a passing name, locked (flock on the folder itself), and only then gets its own name.
//! 2. Whoever finds such a folder and can lock it knows that its owner is dead: the kernel gave the lock back.
//! 3. Nothing is ever run from it, so a `/tmp` mounted noexec does not matter; a full one does: `--work-dir`.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::sync::{Mutex, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};
use nix::fcntl::{Flock, FlockArg, OFlag};
use tokio::signal::unix::{SignalKind, signal};

const PREFIX: &str = "sunshine-installer-";
const UNNAMED: &str = ".sunshine-installer-";

/// Folders of this process: what a signal removes.
static LIVE: Mutex<Vec<Utf8PathBuf>> = Mutex::new(Vec::new());

/// The folder could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a work folder in {dir}: {source}")]
pub(super) struct WorkDirError {
    /// Where it was tried last.
    pub(super) dir: Utf8PathBuf,
    /// What the system said.
    pub(super) source: io::Error,
}

impl WorkDirError {
    /// What the user can do about it.
    #[must_use]
    pub(super) fn help(&self) -> &'static str {
        "choose a folder with free space that you may write to: --work-dir DIR"
    }
}

/// A private folder; dropping it removes it.
#[derive(Debug)]
pub(super) struct WorkDir {
    path: Utf8PathBuf,
    /// Held for as long as the folder is in use.
    _lock: Flock<File>,
}

impl WorkDir {
    /// Makes one in `parent` (`--work-dir`); without that in the system's folder for such, or where that is full, in
    /// `/var/tmp`. Left-overs of dead runs beside it are removed first.
    pub(super) fn create(parent: Option<&Utf8Path>) -> Result<Self, WorkDirError> {
        let system = Utf8PathBuf::from_path_buf(std::env::temp_dir()).unwrap_or_else(|_| "/tmp".into());
        let candidates = match parent {
            Some(parent) => vec![parent.to_owned()],
            None => vec![system, "/var/tmp".into()],
        };
        let mut failed = None;
        for dir in candidates {
            clear_left_overs(&dir);
            match Self::create_in(&dir) {
                Ok(made) => return Ok(made),
                Err(source) => failed = Some(WorkDirError { dir, source }),
            }
        }
        Err(failed.unwrap_or_else(|| WorkDirError { dir: "/tmp".into(), source: io::ErrorKind::NotFound.into() }))
    }

    fn create_in(parent: &Utf8Path) -> io::Result<Self> {
        let name = format!("{}-{:016x}", std::process::id(), rand::random::<u64>());
        let (passing, path) = (parent.join(format!("{UNNAMED}{name}")), parent.join(format!("{PREFIX}{name}")));
        DirBuilder::new().mode(0o700).create(&passing)?;
        let locked = open_dir(&passing).and_then(lock).and_then(|lock| {
            lock_live().push(path.clone());
            fs_err::rename(&passing, &path).map(|()| lock)
        });
        match locked {
            Ok(lock) => Ok(Self { path, _lock: lock }),
            Err(error) => {
                lock_live().retain(|live| *live != path);
                // The error that counts is the first.
                let _ = fs_err::remove_dir(&passing);
                Err(error)
            }
        }
    }

    /// Where it is.
    #[must_use]
    pub(super) fn path(&self) -> &Utf8Path {
        &self.path
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        // Whatever cannot be removed now is removed by the next run.
        let _ = fs_err::remove_dir_all(&self.path);
        lock_live().retain(|live| *live != self.path);
    }
}

/// Removes every folder of this process, and bundles that it had begun to write: for whoever ends it without unwinding.
pub(super) fn remove_all() {
    payload::remove_unfinished();
    for path in lock_live().drain(..) {
        let _ = fs_err::remove_dir_all(path);
    }
}

/// From now on SIGINT, SIGTERM and SIGHUP remove the folders and end the process with exit code 130.
pub(super) fn remove_on_signals() -> io::Result<()> {
    let (ready, listening) = std::sync::mpsc::channel();
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let ended = runtime.and_then(|runtime| runtime.block_on(any_signal(&ready)));
        match ended {
            Ok(()) => {
                remove_all();
                std::process::exit(130);
            }
            // Who asked has the error; when nobody waits for it any more there is nobody to tell.
            Err(error) => ready.send(Err(error)).unwrap_or_default(),
        }
    })?;
    listening.recv().map_err(io::Error::other)?
}

/// Returns with the first of the signals; `ready` hears when it listens.
async fn any_signal(ready: &std::sync::mpsc::Sender<io::Result<()>>) -> io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    ready.send(Ok(())).unwrap_or_default();
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    Ok(())
}

fn lock_live() -> std::sync::MutexGuard<'static, Vec<Utf8PathBuf>> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open_dir(path: &Utf8Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags((OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW).bits()).open(path)
}

fn lock(dir: File) -> io::Result<Flock<File>> {
    Flock::lock(dir, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| error.into())
}

/// Removes folders in `parent` that are ours, are named as ours, and whose owner is dead.
fn clear_left_overs(parent: &Utf8Path) {
    let Ok(entries) = parent.read_dir_utf8() else { return };
    for entry in entries.filter_map(Result::ok).filter(|entry| entry.file_name().starts_with(PREFIX)) {
        let path = entry.path();
        let ours = |dir: &File| dir.metadata().is_ok_and(|m| m.uid() == nix::unistd::geteuid().as_raw());
        // Held until the folder is gone, so that two runs do not clear the same one.
        let dead = open_dir(path).ok().filter(ours).and_then(|dir| lock(dir).ok());
        if dead.is_some() {
            let _ = fs_err::remove_dir_all(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::fs::PermissionsExt;
    use std::process::{Child, Command, Stdio};

    use super::*;

    const CHILD: &str = "SUNSHINE_WORKDIR_TEST";

    fn scratch() -> (tempfile::TempDir, Utf8PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        (dir, path)
    }

    fn entries(dir: &Utf8Path) -> usize {
        fs_err::read_dir(dir).unwrap().count()
    }

    #[test]
    fn it_is_private_and_goes_when_dropped() {
        let (_guard, parent) = scratch();
        let work = WorkDir::create(Some(&parent)).unwrap();
        assert_eq!(fs_err::metadata(work.path()).unwrap().permissions().mode() & 0o7777, 0o700);
        fs_err::write(work.path().join("file"), "x").unwrap();
        drop(work);
        assert_eq!(entries(&parent), 0);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        let error = WorkDir::create(Some(Utf8Path::new("/proc"))).unwrap_err();
        assert!(error.to_string().contains("/proc") && error.help().contains("--work-dir"), "{error}");
    }

    #[test]
    fn others_folders_stay() {
        let (_guard, parent) = scratch();
        fs_err::create_dir(parent.join("sunshine-installer")).unwrap();
        fs_err::create_dir(parent.join("another")).unwrap();
        std::os::unix::fs::symlink(parent.join("another"), parent.join(format!("{PREFIX}link"))).unwrap();
        let first = WorkDir::create(Some(&parent)).unwrap();
        let second = WorkDir::create(Some(&parent)).unwrap();
        assert!(first.path().is_dir() && second.path().is_dir());
        assert_eq!(entries(&parent), 5);
    }

    /// Runs the test of this name again as a process of its own that makes a folder and waits; gives back the folder.
    fn child(test: &str, parent: &Utf8Path) -> (Child, Utf8PathBuf) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("door::workdir::tests::{test}"), "--nocapture"])
            .env(CHILD, parent)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let line = lines.map(|l| l.split_once("folder: ").map(|(_, p)| p.to_owned())).find_map(|p| p).unwrap();
        assert!(Utf8Path::new(&line).is_dir());
        (child, line.into())
    }

    /// In the child: never returns.
    fn wait_as_child(parent: &str) -> ! {
        remove_on_signals().unwrap();
        let work = WorkDir::create(Some(Utf8Path::new(parent))).unwrap();
        fs_err::write(work.path().join("file"), "x").unwrap();
        println!("folder: {}", work.path());
        loop {
            std::thread::park();
        }
    }

    #[test]
    fn signals_remove_it() {
        if let Ok(parent) = std::env::var(CHILD) {
            wait_as_child(&parent);
        }
        for signal in ["-INT", "-TERM"] {
            let (_guard, parent) = scratch();
            let (mut child, _) = child("signals_remove_it", &parent);
            assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
            assert_eq!(child.wait().unwrap().code(), Some(130), "{signal}");
            assert_eq!(entries(&parent), 0, "{signal}");
        }
    }

    #[test]
    fn what_a_killed_run_left_the_next_removes() {
        if let Ok(parent) = std::env::var(CHILD) {
            wait_as_child(&parent);
        }
        let (_guard, parent) = scratch();
        let (mut child, left) = child("what_a_killed_run_left_the_next_removes", &parent);
        drop(WorkDir::create(Some(&parent)).unwrap());
        assert!(left.is_dir(), "the folder of a living run was removed");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(left.is_dir());
        let work = WorkDir::create(Some(&parent)).unwrap();
        assert!(!left.exists());
        assert_eq!(entries(&parent), 1);
        drop(work);
    }
}
