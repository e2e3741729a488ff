//! Writes a run's events into the store as they come, and keeps the task's progress, words and hosts up to date.
//!
//! Progress is earned: the weight of steps that ended well over the weight of all, and 100.0 only when the run says that
//! all is verified. A store that cannot be written does not stop a run: that is said once, in the log.

use std::sync::{Arc, Mutex, PoisonError};

use camino::Utf8Path;
use rusqlite::{Connection, params};

use crate::plan::{Event, HostState, Level, Listener, Outcome};

use super::db::{Store, now};
use super::error::StoreError;
use super::task::{NewTask, TaskFailure, TaskStatus};

/// Tasks of an environment whose events are kept.
const TASKS_WITH_EVENTS: i64 = 5;
/// Tasks of an environment that are kept at all.
const TASKS: i64 = 100;

/// Keeps one run. Clones share it: one listens, another tells how the run failed when no step did.
#[derive(Debug, Clone)]
pub struct Recorder(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    store: Store,
    new: NewTask,
    task: Option<i64>,
    broken: bool,
    weight: u64,
    done: u64,
    steps_done: i64,
    /// Running steps: id, title, host.
    running: Vec<(String, String, Option<String>)>,
    failure: Option<TaskFailure>,
}

impl Recorder {
    /// A recorder with a connection of its own to the store under `root`.
    ///
    /// # Errors
    /// When the store cannot be opened.
    pub fn new(root: &Utf8Path, new: NewTask) -> Result<Self, StoreError> {
        Ok(Self(Arc::new(Mutex::new(Inner {
            store: Store::for_events(root)?,
            new,
            task: None,
            broken: false,
            weight: 0,
            done: 0,
            steps_done: 0,
            running: Vec::new(),
            failure: None,
        }))))
    }

    /// The run ended before or apart from its steps; why, and what to do.
    pub fn failed(&self, error: &str, help: Option<&str>) {
        let mut inner = self.lock();
        let Some(task) = inner.task else { return };
        let failure = inner.failure.clone().unwrap_or_else(|| TaskFailure {
            host: None,
            step: None,
            error: error.to_owned(),
            help: help.map(str::to_owned),
        });
        let desc = failure_words(&failure);
        let err = inner.new.kind.error_number();
        inner.write(|db| {
            db.execute(
                "UPDATE tasks SET status = 'stop', desc = ?2, err = ?3, failure = ?4, updated = ?5 WHERE id = ?1",
                params![task, desc, err, serde_json::to_string(&failure).ok(), now()],
            )
            .map(drop)
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener for Recorder {
    fn event(&mut self, event: &Event) {
        self.lock().event(event);
    }
}

impl Inner {
    fn write(&mut self, work: impl FnOnce(&mut Connection) -> rusqlite::Result<()>) {
        if self.broken {
            return;
        }
        if let Err(e) = self.store.with(work) {
            self.broken = true;
            tracing::warn!("the list of environments cannot be written, this run will not be seen there: {e}");
        }
    }

    fn event(&mut self, event: &Event) {
        if let Event::RunStarted { run, environment, operations, hosts, dry_run } = event {
            if !dry_run {
                self.begin(run, environment, &operations.join("; "), hosts);
                self.keep(event);
            }
            return;
        }
        let Some(task) = self.task else { return };
        match event {
            Event::Command { .. } | Event::WouldChange { .. } | Event::Unknown => return,
            Event::Planned { steps, weight, hosts } => {
                self.weight = *weight;
                let steps = i64::try_from(*steps).unwrap_or(i64::MAX);
                // One transaction, whatever the number of hosts: each waits for the disk.
                self.write(|db| {
                    let tx = db.transaction()?;
                    tx.execute("UPDATE tasks SET steps = ?2, updated = ?3 WHERE id = ?1", params![task, steps, now()])?;
                    for (host, weight) in hosts {
                        tx.execute(
                            "UPDATE hosts SET weight = ?3 WHERE task = ?1 AND host = ?2",
                            params![task, host.as_str(), i64::try_from(*weight).unwrap_or(i64::MAX)],
                        )?;
                    }
                    tx.commit()
                });
            }
            Event::StepStarted { host, step, title } => {
                self.running.push((step.clone(), title.clone(), host.clone()));
                self.host(task, host.as_deref(), "running", title, 0);
                self.tell(task);
            }
            Event::StepFinished { host, step, title, outcome, weight, .. } => {
                self.running.retain(|(id, _, _)| id != step);
                self.step_finished(task, host.as_deref(), title, outcome, *weight);
            }
            Event::Note { host, level: Level::Error, text, help } => {
                let failure = TaskFailure { host: host.clone(), step: None, error: text.clone(), help: help.clone() };
                self.failure.get_or_insert(failure);
                self.host(task, host.as_deref(), "failed", text, 0);
            }
            Event::Made { made } => self.write(|db| {
                db.execute("UPDATE tasks SET made = ?2 WHERE id = ?1", params![task, made.to_string()]).map(drop)
            }),
            Event::Note { .. } | Event::StepNote { .. } | Event::RunStarted { .. } => {}
            Event::RunFinished { ok, interrupted, hosts, .. } => {
                self.write(|db| {
                    let tx = db.transaction()?;
                    for host in hosts {
                        tx.execute(
                            "UPDATE hosts SET state = ?3
                             WHERE task = ?1 AND host = ?2 AND NOT (state = 'failed' AND ?3 = 'untouched')",
                            params![task, host.host.as_str(), state_word(host.result)],
                        )?;
                    }
                    tx.commit()
                });
                self.finish(task, *ok, *interrupted);
            }
        }
        self.keep(event);
    }

    fn begin(&mut self, run: &str, environment: &str, title: &str, hosts: &[String]) {
        let (kind, params) = (self.new.kind.number(), self.new.params.to_string());
        let mut id = None;
        self.write(|db| {
            let tx = db.transaction()?;
            tx.execute(
                "INSERT INTO environments (id, created) VALUES (?1, ?2) ON CONFLICT (id) DO NOTHING",
                params![environment, now()],
            )?;
            // Whoever has the lock is the only one at work: what still says "running" was killed.
            tx.execute(
                "UPDATE hosts SET state = 'stopped' WHERE state = 'running' AND task IN
                 (SELECT id FROM tasks WHERE environment = ?1 AND status = 'running')",
                [environment],
            )?;
            tx.execute(
                "UPDATE tasks SET status = 'stop', desc = 'interrupted; the next task continued from there',
                 err = CASE kind WHEN 3 THEN 2 WHEN 4 THEN 3 WHEN 5 THEN 4 ELSE 1 END
                 WHERE environment = ?1 AND status = 'running'",
                [environment],
            )?;
            tx.execute(
                "INSERT INTO tasks (environment, kind, run, title, params, status, progress, desc, err, started, updated)
                 VALUES (?1, ?2, ?3, ?4, ?5, 'running', 0.0, 'looking at the hosts', 0, ?6, ?6)",
                params![environment, kind, run, title, params, now()],
            )?;
            let task = tx.last_insert_rowid();
            for (position, host) in hosts.iter().enumerate() {
                tx.execute(
                    "INSERT OR IGNORE INTO hosts (task, position, host, state, step) VALUES (?1, ?2, ?3, 'waiting', '')",
                    params![task, i64::try_from(position).unwrap_or(i64::MAX), host],
                )?;
            }
            tx.execute(
                "DELETE FROM events WHERE task IN
                 (SELECT id FROM tasks WHERE environment = ?1 ORDER BY id DESC LIMIT -1 OFFSET ?2)",
                params![environment, TASKS_WITH_EVENTS],
            )?;
            tx.execute(
                "DELETE FROM tasks WHERE id IN
                 (SELECT id FROM tasks WHERE environment = ?1 ORDER BY id DESC LIMIT -1 OFFSET ?2)",
                params![environment, TASKS],
            )?;
            tx.commit()?;
            id = Some(task);
            Ok(())
        });
        self.task = id;
    }

    fn step_finished(&mut self, task: i64, host: Option<&str>, title: &str, outcome: &Outcome, weight: u64) {
        match outcome {
            Outcome::Satisfied | Outcome::Changed => {
                self.done = self.done.saturating_add(weight);
                self.steps_done += 1;
                self.host(task, host, "running", title, weight);
                self.tell(task);
            }
            Outcome::Failed { failure } => {
                self.failure.get_or_insert(TaskFailure {
                    host: host.map(str::to_owned),
                    step: Some(title.to_owned()),
                    error: failure.error.clone(),
                    help: failure.help.clone(),
                });
                self.host(task, host, "failed", title, 0);
                let failure = self.failure.as_ref().and_then(|f| serde_json::to_string(f).ok());
                self.write(|db| {
                    db.execute("UPDATE tasks SET failure = ?2 WHERE id = ?1", params![task, failure]).map(drop)
                });
                self.tell(task);
            }
            Outcome::Blocked { .. } => {}
        }
    }

    fn host(&mut self, task: i64, host: Option<&str>, state: &str, step: &str, earned: u64) {
        let Some(host) = host else { return };
        self.write(|db| {
            db.execute(
                "UPDATE hosts SET state = ?3, step = ?4, done = done + ?5 WHERE task = ?1 AND host = ?2",
                params![task, host, state, step, i64::try_from(earned).unwrap_or(i64::MAX)],
            )
            .map(drop)
        });
    }

    /// Progress and words of a task that goes on.
    fn tell(&mut self, task: i64) {
        let (progress, desc, steps) = (self.progress(), self.doing(), self.steps_done);
        self.write(|db| {
            db.execute(
                "UPDATE tasks SET progress = max(progress, ?2), desc = ?3, steps_done = ?4, updated = ?5 WHERE id = ?1",
                params![task, progress, desc, steps, now()],
            )
            .map(drop)
        });
    }

    /// What the steps have earned; the last tenth is the run's own, which only a good end gives.
    fn progress(&self) -> f64 {
        let (done, weight) = (u32::try_from(self.done), u32::try_from(self.weight));
        let share = share(done.unwrap_or(u32::MAX), weight.unwrap_or(u32::MAX), "running");
        share.min(99.9)
    }

    /// "install etcd on 10.8.14.200 and 2 others"
    fn doing(&self) -> String {
        let Some((_, title, host)) = self.running.last() else { return "between two steps".to_owned() };
        let same = self.running.iter().filter(|(_, other, _)| other == title).count();
        match (host, same) {
            (None, _) => title.clone(),
            (Some(host), 1) => format!("{title} on {host}"),
            (Some(host), 2) => format!("{title} on {host} and one other"),
            (Some(host), n) => format!("{title} on {host} and {} others", n - 1),
        }
    }

    fn finish(&mut self, task: i64, ok: bool, interrupted: bool) {
        let (status, desc, err) = if ok && !interrupted {
            (TaskStatus::Finished, "done, and verified on every host".to_owned(), 0)
        } else {
            let words = match &self.failure {
                _ if interrupted => "interrupted at a safe point; send the same request again, it continues".to_owned(),
                Some(failure) => failure_words(failure),
                None => "it did not reach its end".to_owned(),
            };
            (TaskStatus::Stop, words, self.new.kind.error_number())
        };
        let failure = self.failure.as_ref().filter(|_| err != 0).and_then(|f| serde_json::to_string(f).ok());
        let steps = self.steps_done;
        self.write(|db| {
            db.execute(
                "UPDATE tasks SET status = ?2, desc = ?3, err = ?4, failure = ?5, updated = ?6, steps_done = ?7,
                 progress = CASE WHEN ?2 = 'finished' THEN 100.0 ELSE progress END WHERE id = ?1",
                params![task, status.word(), desc, err, failure, now(), steps],
            )
            .map(drop)
        });
    }

    fn keep(&mut self, event: &Event) {
        let Some(task) = self.task else { return };
        let Ok(json) = serde_json::to_string(event) else { return };
        self.write(|db| {
            db.prepare_cached("INSERT INTO events (task, json) VALUES (?1, ?2)")?.execute(params![task, json]).map(drop)
        });
    }
}

/// A share in percent, with one digit behind the point; a host that ended well is at 100 whatever its steps weighed.
pub(super) fn share(done: u32, weight: u32, state: &str) -> f64 {
    if state == "ok" {
        return 100.0;
    }
    if weight == 0 {
        return 0.0;
    }
    (f64::from(done) * 1000.0 / f64::from(weight)).floor().min(1000.0) / 10.0
}

fn failure_words(failure: &TaskFailure) -> String {
    let mut words = String::new();
    for part in [failure.host.as_ref(), failure.step.as_ref()].into_iter().flatten() {
        // Most errors of a host begin with its name.
        if !failure.error.starts_with(part.as_str()) {
            words.push_str(part);
            words.push_str(": ");
        }
    }
    words.push_str(&failure.error);
    if let Some(help) = &failure.help {
        words.push_str("; ");
        words.push_str(help);
    }
    words
}

fn state_word(state: HostState) -> &'static str {
    match state {
        HostState::Ok => "ok",
        HostState::Failed => "failed",
        HostState::Unreachable => "unreachable",
        HostState::Blocked => "blocked",
        HostState::Untouched => "untouched",
    }
}

#[cfg(test)]
#[path = "recorder_tests.rs"]
mod tests;
