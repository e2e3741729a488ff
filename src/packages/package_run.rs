//! One run of a package manager on a host: waited for when another one holds the lock, and read afterwards.

use std::time::{Duration, Instant};

use crate::deliver::server::Stock;
use crate::host::{Command, Host};

use super::error::PackageError;
use super::installed;
use super::manager::Manager;
use super::problem::Verdict;
use super::transaction::Transaction;

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
    patiently(host, manager, &installed::unless_locked(command.clone()), lock_wait, note)
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
