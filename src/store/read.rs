//! What was kept, read back. A task whose process is gone is found here: it says "running", and nobody holds the lock.

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::Value;

use crate::plan::RunLock;

use super::db::{Store, now};
use super::error::StoreError;
use super::task::{EnvironmentRow, Kind, StoredEvent, Task, TaskHost, TaskStatus};

const TASK: &str = "SELECT id, environment, kind, title, params, status, progress, desc, made, err, started, updated, \
                    steps, steps_done, failure FROM tasks";

impl Store {
    /// All environments, each with its newest task, by name.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn environments(&self) -> Result<Vec<EnvironmentRow>, StoreError> {
        let rows = self.with(|db| {
            let mut query = db.prepare_cached("SELECT id, created FROM environments ORDER BY id")?;
            query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<Vec<(String, String)>, _>>()
        })?;
        rows.into_iter()
            .map(|(id, created)| {
                let task = self.latest(&id, None)?;
                Ok(EnvironmentRow { id, created, task })
            })
            .collect()
    }

    /// Whether the environment is known.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn knows(&self, environment: &str) -> Result<bool, StoreError> {
        self.with(|db| db.prepare_cached("SELECT 1 FROM environments WHERE id = ?1")?.exists([environment]))
    }

    /// The newest task of an environment, of this kind or of any.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn latest(&self, environment: &str, kind: Option<Kind>) -> Result<Option<Task>, StoreError> {
        let found = self.with(|db| {
            let mut query = db.prepare_cached(&format!(
                "{TASK} WHERE environment = ?1 AND (?2 IS NULL OR kind = ?2) ORDER BY id DESC LIMIT 1"
            ))?;
            let task = query.query_row(params![environment, kind.map(Kind::number)], task).optional()?;
            task.map(|task| with_hosts(db, task)).transpose()
        })?;
        found.map(|task| self.settle(task)).transpose()
    }

    /// The tasks of an environment, the newest first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn tasks(&self, environment: &str) -> Result<Vec<Task>, StoreError> {
        let tasks = self.with(|db| {
            let mut query = db.prepare_cached(&format!("{TASK} WHERE environment = ?1 ORDER BY id DESC LIMIT 50"))?;
            let tasks: Vec<Task> = query.query_map([environment], task)?.collect::<Result<_, _>>()?;
            tasks.into_iter().map(|task| with_hosts(db, task)).collect::<rusqlite::Result<Vec<Task>>>()
        })?;
        tasks.into_iter().map(|task| self.settle(task)).collect()
    }

    /// Events of an environment behind the one with id `after`, at most `limit`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn events(&self, environment: &str, after: i64, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
        self.with(|db| {
            let mut query = db.prepare_cached(
                "SELECT e.id, e.task, e.json FROM events e JOIN tasks t ON t.id = e.task
                 WHERE t.environment = ?1 AND e.id > ?2 ORDER BY e.id LIMIT ?3",
            )?;
            let rows = query.query_map(params![environment, after, limit], |row| {
                Ok(StoredEvent { id: row.get(0)?, task: row.get(1)?, json: row.get(2)? })
            })?;
            rows.collect()
        })
    }

    /// The id of the last event before the environment's newest task began: where a new reader starts.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn before_latest(&self, environment: &str) -> Result<i64, StoreError> {
        self.with(|db| {
            db.query_row(
                "SELECT coalesce(min(e.id) - 1, 0) FROM events e
                 WHERE e.task = (SELECT max(id) FROM tasks WHERE environment = ?1)",
                [environment],
                |row| row.get(0),
            )
        })
    }

    /// How many tasks there are of each number and status.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn counts(&self) -> Result<Vec<(i64, String, i64)>, StoreError> {
        self.with(|db| {
            let mut query =
                db.prepare_cached("SELECT kind, status, count(*) FROM tasks GROUP BY kind, status ORDER BY 1, 2")?;
            query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
        })
    }

    /// A task that says "running" while nobody holds its environment's lock was killed: it reads as "stop" from now on.
    fn settle(&self, task: Task) -> Result<Task, StoreError> {
        if task.status != TaskStatus::Running {
            return Ok(task);
        }
        let dir = self.root.join("environments").join(&task.environment);
        match RunLock::is_held(&dir) {
            Ok(false) => {}
            Ok(true) => return Ok(task),
            Err(e) => {
                tracing::warn!("{dir}: whether a run is going on cannot be found out: {e}");
                return Ok(task);
            }
        }
        let (done, steps) = (task.steps_done, task.steps);
        let doing: Vec<String> = task
            .hosts
            .iter()
            .filter(|h| h.state == "running" && !h.step.is_empty())
            .map(|h| format!("{} on {}", h.step, h.host))
            .collect();
        let place = if doing.is_empty() { "between two steps".to_owned() } else { doing.join("; ") };
        let desc = format!(
            "the process that did this was ended from outside during: {place}. {done} of {steps} steps are done and stay \
             done; send the same request again, it continues from there"
        );
        // It may have ended by itself between the two looks: then it is not running any more, and nothing is written.
        self.with(|db| {
            let tx = db.transaction()?;
            let killed = tx.execute(
                "UPDATE tasks SET status = 'stop', desc = ?2, err = ?3, updated = ?4 WHERE id = ?1 AND status = 'running'",
                params![task.id, desc, task.kind.error_number(), now()],
            )?;
            if killed > 0 {
                tx.execute("UPDATE hosts SET state = 'stopped' WHERE task = ?1 AND state = 'running'", [task.id])?;
            }
            tx.commit()
        })?;
        let id = task.id;
        self.with(|db| {
            let task = db.query_row(&format!("{TASK} WHERE id = ?1"), [id], self::task)?;
            with_hosts(db, task)
        })
    }
}

fn task(row: &Row<'_>) -> rusqlite::Result<Task> {
    let kind = Kind::from_number(row.get(2)?).unwrap_or(Kind::Other);
    let json = |text: Option<String>| text.and_then(|t| serde_json::from_str::<Value>(&t).ok());
    let status: String = row.get(5)?;
    let failure: Option<String> = row.get(14)?;
    Ok(Task {
        id: row.get(0)?,
        environment: row.get(1)?,
        kind,
        environment_type: kind.number(),
        title: row.get(3)?,
        params: json(row.get(4)?).unwrap_or_default(),
        status: TaskStatus::from_word(&status),
        progress: row.get(6)?,
        desc: row.get(7)?,
        made: json(row.get(8)?),
        err: row.get(9)?,
        started: row.get(10)?,
        updated: row.get(11)?,
        steps: row.get(12)?,
        steps_done: row.get(13)?,
        failure: failure.and_then(|text| serde_json::from_str(&text).ok()),
        hosts: Vec::new(),
    })
}

fn with_hosts(db: &Connection, mut task: Task) -> rusqlite::Result<Task> {
    let mut query =
        db.prepare_cached("SELECT host, state, step, done, weight FROM hosts WHERE task = ?1 ORDER BY position")?;
    let rows = query.query_map([task.id], |row| {
        let (done, weight): (u32, u32) = (row.get(3)?, row.get(4)?);
        let state: String = row.get(1)?;
        Ok(TaskHost {
            host: row.get(0)?,
            step: row.get(2)?,
            progress: super::recorder::share(done, weight, &state),
            state,
        })
    })?;
    task.hosts = rows.collect::<Result<_, _>>()?;
    Ok(task)
}
