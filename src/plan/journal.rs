//! The journal of an environment: every event of its runs, on disk, so that a killed run is explained and continued;
//! and the lock that keeps two runs from one environment, with its owner's name and time.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;

use camino::{Utf8Path, Utf8PathBuf};
use nix::fcntl::{Flock, FlockArg};

use super::event::{Event, Listener, Outcome};

/// What the last run of an environment left behind.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct LastRun {
    pub run: String,
    /// It ended by itself, well or not; false when it was killed.
    pub finished: bool,
    pub ok: bool,
    /// Steps that had begun and not ended when it was killed: "write the configuration on 10.8.14.200".
    pub in_the_middle: Vec<String>,
}

/// Writes events as JSON lines. A journal that cannot be written does not stop a run: it says so once.
#[derive(Debug)]
pub struct Journal {
    file: File,
    broken: bool,
}

impl Journal {
    /// Begins a run's journal in `dir`, keeping the run before it as `journal.1`.
    ///
    /// # Errors
    /// With the path that could not be made or opened.
    pub fn begin(dir: &Utf8Path) -> std::io::Result<Self> {
        let path = journal_path(dir);
        if path.exists() {
            fs_err::rename(&path, dir.join("journal.1.jsonl"))?;
        }
        let file = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
        Ok(Self { file, broken: false })
    }

    /// How the run before ended; `None` when there was none.
    ///
    /// # Errors
    /// With the path that could not be read.
    pub fn last(dir: &Utf8Path) -> std::io::Result<Option<LastRun>> {
        match fs_err::read_to_string(journal_path(dir)) {
            Ok(text) => Ok(Some(read_last(&text))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }
}

fn journal_path(dir: &Utf8Path) -> Utf8PathBuf {
    dir.join("journal.jsonl")
}

fn read_last(text: &str) -> LastRun {
    let mut last = LastRun::default();
    let mut open: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        // The last line of a killed run may be cut short.
        let Ok(event) = serde_json::from_str::<Event>(line) else { continue };
        match event {
            Event::RunStarted { run, .. } => last.run = run,
            Event::StepStarted { host, step, title } => {
                let place = host.map_or_else(String::new, |h| format!(" on {h}"));
                open.push((step, format!("{title}{place}")));
            }
            Event::StepFinished { step, outcome, .. } if !matches!(outcome, Outcome::Blocked { .. }) => {
                open.retain(|(s, _)| *s != step);
            }
            Event::RunFinished { ok, interrupted, .. } => {
                last.finished = !interrupted;
                last.ok = ok;
            }
            _ => {}
        }
    }
    last.in_the_middle = open.into_iter().map(|(_, words)| words).collect();
    last
}

impl Listener for Journal {
    fn event(&mut self, event: &Event) {
        if self.broken || matches!(event, Event::Command { .. } | Event::StepNote { .. }) {
            return;
        }
        let written = serde_json::to_string(event).map_err(std::io::Error::from).and_then(|mut line| {
            line.push('\n');
            self.file.write_all(line.as_bytes())
        });
        if let Err(e) = written {
            self.broken = true;
            tracing::warn!("the journal cannot be written, a killed run will not be explained: {e}");
        }
    }
}

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
        let mut options = std::fs::OpenOptions::new();
        let mut file =
            options.create(true).truncate(false).read(true).write(true).mode(0o600).open(&path).map_err(io)?;
        let mut owner = String::new();
        file.read_to_string(&mut owner).map_err(io)?;
        let mut lock = lock_file(file).map_err(|errno| match errno {
            nix::errno::Errno::EWOULDBLOCK => {
                LockError::Held { environment: environment.to_owned(), owner: owner.trim().to_owned() }
            }
            other => io(other.into()),
        })?;
        lock.set_len(0).map_err(io)?;
        lock.rewind().map_err(io)?;
        let now = jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S");
        writeln!(lock, "process {}, started {now}", std::process::id()).map_err(io)?;
        Ok(Self { _lock: lock })
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
    fn a_killed_run_is_explained() {
        let (_keep, dir) = dir();
        let mut journal = Journal::begin(&dir).unwrap();
        journal.event(&Event::RunStarted {
            run: "r1".into(),
            environment: "default".into(),
            operations: vec![],
            hosts: vec![],
            dry_run: false,
        });
        let started = |title: &str| Event::StepStarted {
            host: Some("h".into()),
            step: format!("h/{title}"),
            title: title.into(),
        };
        journal.event(&started("one"));
        journal.event(&Event::StepFinished {
            host: Some("h".into()),
            step: "h/one".into(),
            title: "one".into(),
            outcome: Outcome::Changed,
            weight: 1,
            took_ms: 1,
        });
        journal.event(&started("two"));
        drop(journal);
        let last = Journal::last(&dir).unwrap().unwrap();
        assert_eq!((last.finished, last.in_the_middle), (false, vec!["two on h".to_owned()]));
    }

    #[test]
    fn no_journal_is_no_last_run() {
        let (_keep, dir) = dir();
        assert_eq!(Journal::last(&dir).unwrap(), None);
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
}
