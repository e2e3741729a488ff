//! How the last run of an environment ended, read from its task and events: a run that was killed is explained when the
//! next one goes on.

use rusqlite::{OptionalExtension, params};

use crate::plan::{Event, Outcome};

use super::db::Store;
use super::error::StoreError;

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

impl Store {
    /// How the newest run ended; `None` when there was none.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn last_run(&self, environment: &str) -> Result<Option<LastRun>, StoreError> {
        self.with(|db| {
            let newest = db.query_row(
                "SELECT id, run, status FROM tasks WHERE environment = ?1 ORDER BY id DESC LIMIT 1",
                [environment],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            );
            let Some((task, run, status)): Option<(i64, String, String)> = newest.optional()? else {
                return Ok(None);
            };
            if status == "finished" {
                return Ok(Some(LastRun { run, finished: true, ok: true, in_the_middle: Vec::new() }));
            }
            let mut query = db.prepare("SELECT json FROM events WHERE task = ?1 ORDER BY id")?;
            let lines = query.query_map([task], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
            Ok(Some(LastRun { run, ..read(&lines) }))
        })
    }

    /// The events of an environment's newest runs, at most `runs`, as lines of JSON; the newest run first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn journals(&self, environment: &str, runs: u32) -> Result<Vec<String>, StoreError> {
        self.with(|db| {
            let mut query = db.prepare(
                "SELECT group_concat(json, char(10) ORDER BY id) || char(10) FROM events WHERE task IN
                 (SELECT id FROM tasks WHERE environment = ?1 ORDER BY id DESC LIMIT ?2)
                 GROUP BY task ORDER BY task DESC",
            )?;
            query.query_map(params![environment, runs], |row| row.get(0))?.collect()
        })
    }
}

fn read(lines: &[String]) -> LastRun {
    let mut last = LastRun::default();
    let mut open: Vec<(String, String)> = Vec::new();
    for event in lines.iter().filter_map(|line| serde_json::from_str::<Event>(line).ok()) {
        match event {
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

#[cfg(test)]
mod tests {
    use camino::Utf8Path;

    use super::*;
    use crate::plan::Listener;
    use crate::store::{Kind, NewTask, Recorder};

    #[test]
    fn a_killed_run_is_explained() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap();
        let store = Store::open(root).unwrap();
        assert_eq!(store.last_run("e").unwrap(), None);
        let new = NewTask { kind: Kind::Create, params: serde_json::json!({}) };
        let mut recorder = Recorder::new(root, new).unwrap();
        let started = |title: &str| Event::StepStarted {
            host: Some("h".into()),
            step: format!("h/{title}"),
            title: title.into(),
        };
        let (operations, hosts) = (vec![], vec!["h".to_owned()]);
        recorder.event(&Event::RunStarted {
            run: "r1".into(),
            environment: "e".into(),
            operations,
            hosts,
            dry_run: false,
        });
        recorder.event(&started("one"));
        recorder.event(&Event::StepFinished {
            host: Some("h".into()),
            step: "h/one".into(),
            title: "one".into(),
            outcome: Outcome::Changed,
            weight: 1,
            took_ms: 1,
        });
        recorder.event(&started("two"));
        drop(recorder);
        let last = store.last_run("e").unwrap().unwrap();
        assert_eq!((last.run.as_str(), last.finished), ("r1", false));
        assert_eq!(last.in_the_middle, ["two on h"]);
        let journals = store.journals("e", 2).unwrap();
        assert_eq!(journals.len(), 1);
        assert_eq!(journals[0].lines().count(), 4, "{}", journals[0]);
    }
}
