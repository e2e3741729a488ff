//! What is told of a run while it goes on, when it ends, and when its process is gone.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::json;

use super::*;
use crate::plan::{Failure, HostResult, RunLock};
use crate::store::{Kind, Task};

struct Run {
    _keep: tempfile::TempDir,
    root: Utf8PathBuf,
    recorder: Recorder,
    store: Store,
}

impl Run {
    fn begin(kind: Kind) -> Self {
        let keep = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(keep.path()).unwrap().to_owned();
        let store = Store::open(&root).unwrap();
        let recorder = Recorder::new(&root, NewTask { kind, params: json!({}) }).unwrap();
        let mut run = Self { _keep: keep, root, recorder, store };
        run.start();
        run
    }

    fn start(&mut self) {
        self.tell(&Event::RunStarted {
            run: "r".into(),
            environment: "e".into(),
            operations: vec!["work".into()],
            hosts: vec!["a".into(), "b".into()],
            dry_run: false,
        });
        let hosts = BTreeMap::from([("a".into(), 3), ("b".into(), 1)]);
        self.tell(&Event::Planned { steps: 3, weight: 4, hosts });
    }

    fn tell(&mut self, event: &Event) {
        self.recorder.event(event);
    }

    fn step(&mut self, host: &str, outcome: Outcome, weight: u64) {
        let (host, step, title) = (Some(host.to_owned()), format!("{host}/s{weight}"), "install".to_owned());
        self.tell(&Event::StepStarted { host: host.clone(), step: step.clone(), title: title.clone() });
        self.tell(&Event::StepFinished { host, step, title, outcome, weight, took_ms: 1 });
    }

    fn end(&mut self, ok: bool, result: HostState) {
        let host = |name: &str| HostResult { host: name.into(), result, changed: 1, took_ms: 1, route: None };
        self.tell(&Event::RunFinished { ok, interrupted: false, hosts: vec![host("a"), host("b")], took_ms: 1 });
    }

    /// The newest task, read while the environment is locked as it is in a run.
    fn task(&self) -> Task {
        let dir = self.root.join("environments/e");
        std::fs::create_dir_all(&dir).unwrap();
        let _lock = RunLock::take(&dir, "e").unwrap();
        self.store.latest("e", None).unwrap().unwrap()
    }
}

fn failed() -> Outcome {
    Outcome::Failed {
        failure: Failure { error: "dnf: exit status 1".into(), help: Some("free the disk".into()), unreachable: false },
    }
}

#[test]
fn progress_is_the_weight_of_what_is_done_and_full_only_at_a_good_end() {
    let mut run = Run::begin(Kind::Create);
    assert_eq!(run.task().progress, 0.0);
    run.step("a", Outcome::Changed, 2);
    assert_eq!((run.task().progress, run.task().steps_done), (50.0, 1));
    assert_eq!(run.task().hosts[0].progress, 66.6);
    run.step("a", Outcome::Satisfied, 1);
    run.step("b", Outcome::Changed, 1);
    let task = run.task();
    assert_eq!((task.progress, task.status, task.err), (99.9, TaskStatus::Running, 0), "not verified as a whole yet");
    run.end(true, HostState::Ok);
    let task = run.task();
    assert_eq!((task.progress, task.status), (100.0, TaskStatus::Finished));
    assert!(task.hosts.iter().all(|h| h.state == "ok" && h.progress == 100.0));
}

#[test]
fn a_failed_step_earns_nothing_and_is_told_with_its_host_and_help() {
    let mut run = Run::begin(Kind::Add);
    run.step("a", Outcome::Changed, 2);
    run.step("b", failed(), 1);
    run.end(false, HostState::Failed);
    let task = run.task();
    assert_eq!((task.progress, task.status, task.err), (50.0, TaskStatus::Stop, 2));
    assert_eq!(task.desc, "b: install: dnf: exit status 1; free the disk");
    assert_eq!(task.failure.unwrap().host.as_deref(), Some("b"));
}

#[test]
fn a_task_whose_process_is_gone_reads_as_stopped_with_what_it_did() {
    let mut run = Run::begin(Kind::Remove);
    run.step("a", Outcome::Changed, 2);
    run.tell(&Event::StepStarted { host: Some("b".into()), step: "b/x".into(), title: "drain".into() });
    assert_eq!(run.task().status, TaskStatus::Running, "somebody holds the lock");
    // Nobody holds it.
    let task = run.store.latest("e", None).unwrap().unwrap();
    assert_eq!((task.status, task.err, task.progress), (TaskStatus::Stop, 3, 50.0));
    assert!(task.desc.contains("drain on b") && task.desc.contains("1 of 3 steps"), "{}", task.desc);
    assert_eq!(task.hosts[1].state, "stopped");
}

#[test]
fn the_next_run_settles_one_that_nobody_looked_at() {
    let mut run = Run::begin(Kind::Remove);
    run.step("a", Outcome::Changed, 2);
    run.start();
    let tasks = {
        let _lock = RunLock::take(&run.root.join("environments/e"), "e").ok();
        run.store.tasks("e").unwrap()
    };
    assert_eq!((tasks.len(), tasks[1].status, tasks[1].err), (2, TaskStatus::Stop, 3));
}

#[test]
fn a_dry_run_leaves_nothing() {
    let run = Run::begin(Kind::Create);
    let mut dry = Recorder::new(&run.root, NewTask { kind: Kind::Create, params: json!({}) }).unwrap();
    dry.event(&Event::RunStarted {
        run: "d".into(),
        environment: "dry".into(),
        operations: vec![],
        hosts: vec![],
        dry_run: true,
    });
    assert!(!run.store.knows("dry").unwrap());
}
