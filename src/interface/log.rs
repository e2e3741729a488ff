//! The log file: `/var/log/onekey_deploy/onekey_deploy.log`, mode 0600, rotated; where that folder cannot be made, the
//! user's state folder, said once (contract, section 4).

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::sync::{Mutex, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};
use tracing_subscriber::fmt::MakeWriter;

use crate::flow::user_state_dir;
use crate::host::record;
use crate::plan::{Event, Level, Listener, Outcome};

const DIR: &str = "/var/log/onekey_deploy";
/// The log's name; files put aside have a number behind it.
pub(super) const FILE: &str = "onekey_deploy.log";
/// A file grows to this many bytes, then it is put aside.
const LIMIT: u64 = 10 << 20;
/// Files put aside: `.1` is the newest.
const KEPT: u32 = 5;

/// The folders that may hold the log, the one that is asked for first.
pub(super) fn folders(dir: Option<&Utf8Path>) -> [Utf8PathBuf; 2] {
    [dir.unwrap_or(Utf8Path::new(DIR)).to_owned(), user_state_dir()]
}

/// Opens the log and sends everything traced there.
///
/// Returns a sentence when the log lies elsewhere than asked, or nowhere.
pub(crate) fn open(dir: Option<&Utf8Path>) -> Option<String> {
    let wanted = dir.unwrap_or(Utf8Path::new(DIR));
    let (file, said) = match Rotated::open(wanted) {
        Ok(file) => (Some(file), None),
        Err(e) => match Rotated::open(&user_state_dir()) {
            Ok(file) => {
                let said = format!("{wanted} cannot be written ({e}); the log is {}", file.path);
                (Some(file), Some(said))
            }
            Err(other) => (None, Some(format!("there is no log: {wanted}: {e}; {}: {other}", user_state_dir()))),
        },
    };
    if let Some(file) = file {
        let writer = Writer(Mutex::new(file));
        // A second call in one process keeps the first log: only tests do that.
        let _ = tracing_subscriber::fmt()
            .with_writer(writer)
            .with_ansi(false)
            .with_target(false)
            // Libraries have a lot to say, some of it for nobody else, such as an AWS access key's id.
            .with_env_filter("warn,sunshine_installer=debug,repo::access=debug")
            .try_init();
    }
    said
}

/// Writes a run's events to the log.
#[derive(Debug)]
pub(crate) struct Reader;

impl Listener for Reader {
    fn event(&mut self, event: &Event) {
        match event {
            Event::RunStarted { run, environment, operations, hosts, dry_run } => {
                let what = operations.join("; ");
                tracing::info!(%run, %environment, dry_run, "begin: {what} on {}", hosts.join(", "));
            }
            Event::Note { host, level, text, .. } => {
                let host = host.as_deref().unwrap_or("-");
                match level {
                    Level::Info => tracing::info!("{host}: {text}"),
                    Level::Warning => tracing::warn!("{host}: {text}"),
                    Level::Error => tracing::error!("{host}: {text}"),
                }
            }
            Event::StepFinished { host, title, outcome, took_ms, .. } => {
                let host = host.as_deref().unwrap_or("-");
                match outcome {
                    Outcome::Failed { failure } => tracing::error!("{host}: {title}: {}", failure.error),
                    Outcome::Blocked { by } => tracing::warn!("{host}: {title}: not tried, {by}"),
                    Outcome::Satisfied => tracing::info!("{host}: {title}: already so ({took_ms} ms)"),
                    Outcome::Changed => tracing::info!("{host}: {title}: done ({took_ms} ms)"),
                }
            }
            Event::StepNote { host, text, .. } => tracing::debug!("{}: {text}", host.as_deref().unwrap_or("-")),
            Event::Command { host, command, status, took_ms } => {
                tracing::debug!("{host}: ran {command}: {status:?} ({took_ms} ms)");
            }
            Event::RunFinished { ok, interrupted, took_ms, .. } => {
                tracing::info!(ok, interrupted, took_ms, "end");
            }
            Event::Made { made } => tracing::info!("made {made}"),
            Event::Planned { steps, .. } => tracing::info!("{steps} steps"),
            Event::WouldChange { .. } | Event::StepStarted { .. } | Event::Unknown => {}
        }
    }
}

/// A log file that is put aside when it is full.
#[derive(Debug)]
struct Rotated {
    path: Utf8PathBuf,
    file: File,
    size: u64,
}

impl Rotated {
    fn open(dir: &Utf8Path) -> io::Result<Self> {
        std::fs::DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
        let path = dir.join(FILE);
        let file = open_private(&path)?;
        let size = file.metadata()?.len();
        Ok(Self { path, file, size })
    }

    fn turn(&mut self) -> io::Result<()> {
        let aside = |n: u32| format!("{}.{n}", self.path);
        for n in (1..KEPT).rev() {
            // A number that is not there yet leaves nothing to move.
            let _ = std::fs::rename(aside(n), aside(n + 1));
        }
        std::fs::rename(&self.path, aside(1))?;
        self.file = open_private(&self.path)?;
        self.size = 0;
        Ok(())
    }
}

fn open_private(path: &Utf8Path) -> io::Result<File> {
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    // One that somebody else made, or made readable, is private from now on.
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}

impl Write for Rotated {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.size + bytes.len() as u64 > LIMIT {
            self.turn()?;
        }
        let n = self.file.write(bytes)?;
        self.size += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

struct Writer(Mutex<Rotated>);

impl<'a> MakeWriter<'a> for Writer {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(&self.0)
    }
}

struct Line<'a>(&'a Mutex<Rotated>);

impl Write for Line<'_> {
    /// Takes one record, whole: what a host has said in it can neither begin another one nor steer the terminal of whoever
    /// reads the log.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(record(&text).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_host_says_begins_no_record() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(dir.path()).unwrap();
        let writer = Writer(Mutex::new(Rotated::open(path).unwrap()));
        let subscriber = tracing_subscriber::fmt().with_writer(writer).with_ansi(false).without_time().finish();
        tracing::subscriber::with_default(subscriber, || {
            let said = "no\nERROR sunshine: 10.8.14.201: forged\r\u{1b}[1A";
            tracing::warn!("10.8.14.200: {said}");
            tracing::info!("next");
        });
        let text = std::fs::read_to_string(path.join(FILE)).unwrap();
        let begun: Vec<&str> = text.lines().filter(|line| !line.starts_with("    | ")).collect();
        assert!(begun.len() == 2 && begun[0].ends_with("10.8.14.200: no") && begun[1].ends_with("next"), "{text}");
        assert!(!text.contains(['\u{1b}', '\r']), "{text:?}");
    }

    #[test]
    fn a_full_file_is_put_aside_and_all_are_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(dir.path()).unwrap().join("log");
        let mut log = Rotated::open(&path).unwrap();
        log.size = LIMIT;
        log.write_all(b"new\n").unwrap();
        assert_eq!(std::fs::read_to_string(path.join(FILE)).unwrap(), "new\n");
        let aside = path.join(format!("{FILE}.1"));
        let mode = |path: &Utf8Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&aside), 0o600);
        std::fs::set_permissions(path.join(FILE), Permissions::from_mode(0o644)).unwrap();
        drop(Rotated::open(&path).unwrap());
        assert_eq!(mode(&path.join(FILE)), 0o600);
    }
}
