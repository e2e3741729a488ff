//! One run of a package manager on a host: waited for when another one holds the lock, and read afterwards.

use std::time::{Duration, Instant};

use crate::deliver::server::Stock;
use crate::host::{Command, Host};

use super::error::PackageError;
use super::installed;
use super::manager::Manager;
use super::problem::Verdict;
use super::transaction::Transaction;

const LIMIT: &str = include_str!("limit.sh");
/// What it says of a transaction that it waited for.
const OVERTIME: &str = "over its time, and in its transaction: waited for";
/// How much longer than it may take a transaction is waited for; it goes on when that is over, too.
const LONGEST: Duration = Duration::from_secs(3600);

/// A transaction's command, ended when it takes longer than `limit`, unless it is past the point where it can be.
pub(super) fn limited(command: Command, limit: Duration) -> Command {
    let seconds = limit.as_secs().max(1).to_string();
    command.inside(LIMIT, vec![seconds]).timeout(limit.saturating_add(LONGEST))
}

/// How often a lock is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// A run that has ended.
#[derive(Debug)]
pub(super) struct Run {
    command: String,
    pub(super) status: i32,
    /// Standard output, then standard error: dnf and yum spread one message over both.
    pub(super) text: String,
    errors: String,
}

impl Run {
    pub(super) fn of(host: &Host, command: &Command) -> Result<Run, PackageError> {
        let output = host.run(command)?;
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let text = format!("{}\n{errors}", String::from_utf8_lossy(&output.stdout));
        Ok(Run { command: command.to_string(), status: output.status, text, errors })
    }

    pub(super) fn ok(&self) -> bool {
        self.status == 0
    }

    pub(super) fn verdict(&self, manager: Manager) -> Verdict {
        manager.verdict(self.status, &self.text)
    }

    /// Reads a trial, which ends with a status other than 0 also when it went well: nobody said yes to its question.
    pub(super) fn trial(&self, manager: Manager) -> Result<Transaction, Verdict> {
        let transaction = manager.transaction(&self.text);
        if self.ok() {
            return Ok(transaction);
        }
        let verdict = self.verdict(manager);
        // yum 3 lists what it could do and then says what it cannot; dnf lists nothing in that case.
        let refused = manager == Manager::Yum && verdict != Verdict::Other;
        if transaction.is_empty() || refused { Err(verdict) } else { Ok(transaction) }
    }

    /// The error for a failure that is none of the known kinds.
    pub(super) fn failed(&self, host: &Host, stock: &Stock) -> PackageError {
        let told = if self.errors.trim().is_empty() { &self.text } else { &self.errors };
        let lines: Vec<&str> = told.lines().filter(|line| !line.trim().is_empty()).collect();
        let tail = lines[lines.len().saturating_sub(5)..].join("\n");
        PackageError::Failed {
            host: host.name().to_owned(),
            command: self.command.clone(),
            status: self.status,
            detail: stock.without_token(&tail),
        }
    }
}

/// How long a lock may be waited for, and how it is said.
#[derive(Debug)]
pub(super) struct Patience {
    pub(super) lock_wait: Duration,
    started: Option<Instant>,
}

impl Patience {
    pub(super) fn new(lock_wait: Duration) -> Patience {
        Patience { lock_wait, started: None }
    }

    /// Waits a little; the first time it says for whom, and in the end that it was too long.
    fn wait(&mut self, host: &Host, holder: &str, note: &mut dyn FnMut(String)) -> Result<(), PackageError> {
        let started = *self.started.get_or_insert_with(|| {
            let limit = self.lock_wait.as_secs();
            note(format!("{holder} holds the package manager's lock: waiting up to {limit} s"));
            Instant::now()
        });
        let waited = started.elapsed();
        if waited >= self.lock_wait {
            let (host, holder) = (host.name().to_owned(), holder.to_owned());
            return Err(PackageError::Locked { host, holder, waited: waited.as_secs() });
        }
        std::thread::sleep(LOOK_AGAIN.min(self.lock_wait - waited));
        Ok(())
    }
}

/// Runs a command once nobody else holds the lock. Looked at before, since rpm itself waits in silence and for ever; and
/// read from the outcome, since another one can come between.
pub(super) fn unlocked(
    host: &Host,
    manager: Manager,
    command: &Command,
    lock_wait: Duration,
    note: &mut dyn FnMut(String),
) -> Result<Run, PackageError> {
    let run = patiently(host, manager, &installed::unless_locked(command.clone()), lock_wait, note)?;
    if run.errors.contains(OVERTIME) {
        note("the package manager took longer than it may, in its transaction: its end was waited for".to_owned());
    }
    Ok(run)
}

/// As [`unlocked`], for a command that looks for the lock itself.
pub(super) fn patiently(
    host: &Host,
    manager: Manager,
    command: &Command,
    lock_wait: Duration,
    note: &mut dyn FnMut(String),
) -> Result<Run, PackageError> {
    let mut patience = Patience::new(lock_wait);
    loop {
        let run = Run::of(host, command)?;
        if let Some(holder) = installed::lock_holder(run.status, &run.text) {
            patience.wait(host, &holder, note)?;
        } else if run.ok() || run.verdict(manager) != Verdict::Locked {
            return Ok(run);
        } else {
            patience.wait(host, "another package manager", note)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Output;

    use super::*;

    /// A package manager that takes its time, then says that it is done; rpm's lock is in `dir`, and it may hold it.
    fn run(dir: &std::path::Path, limit: &str, holds: bool, seconds: &str) -> Output {
        let lock = dir.join(".rpm.lock");
        std::fs::write(&lock, "").unwrap();
        let script = LIMIT.replace("/var/lib/rpm/.rpm.lock", lock.to_str().unwrap());
        let take = if holds {
            "import fcntl, sys, time\nf = open(sys.argv[1], 'w')\nfcntl.lockf(f, fcntl.LOCK_EX)\n"
        } else {
            "import sys, time\n"
        };
        let program = format!("{take}time.sleep({seconds})\nprint('done')");
        let python = ["python3", "-c", &program, lock.to_str().unwrap()];
        std::process::Command::new("/bin/sh").args(["-c", &script, "sh", limit]).args(python).output().unwrap()
    }

    #[test]
    fn what_takes_too_long_is_ended_but_never_in_its_transaction() {
        let dir = tempfile::tempdir().unwrap();
        let text = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();
        let ended = run(dir.path(), "1", false, "600");
        assert!(!ended.status.success() && text(&ended).is_empty(), "{ended:?}");
        assert!(String::from_utf8_lossy(&ended.stderr).contains("ended after 1 s"), "{ended:?}");
        let in_transaction = run(dir.path(), "1", true, "4");
        assert_eq!(text(&in_transaction), "done\n");
        assert!(String::from_utf8_lossy(&in_transaction.stderr).contains("in its transaction"), "{in_transaction:?}");
        let in_time = run(dir.path(), "60", false, "0");
        assert!(in_time.status.success() && text(&in_time) == "done\n" && in_time.stderr.is_empty(), "{in_time:?}");
    }
}
