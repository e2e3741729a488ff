//! What 0.1.0 kept, under the programs of this version: killed while they import it, several at once, and the store as a
//! newer version or a bad disk leaves it.

#![allow(clippy::unwrap_used, reason = "helpers of tests: a panic is how a test fails")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rand::RngExt;

use crate::chance::seeded;
use crate::lab::Output;
use crate::rest::setup::{Listener, bare, curl};

const FILES: [&str; 6] = ["id", "etcd.json", "kubernetes.json", "hosts.json", "journal.jsonl", "journal.1.jsonl"];
const ENVIRONMENTS: usize = 40;

fn data(file: &str) -> PathBuf {
    crate::checkout().join("tests/data/state-0.1.0").join(file)
}

fn name(n: usize) -> String {
    if n == 0 { "prod".to_owned() } else { format!("prod-{n}") }
}

/// The state of the environment `prod`, and its files once more under other names.
fn old_state(state: &Path) {
    for n in 0..ENVIRONMENTS {
        let folder = state.join("environments").join(name(n));
        std::fs::create_dir_all(&folder).unwrap();
        for file in FILES {
            std::fs::copy(data(file), folder.join(file)).unwrap();
        }
    }
    let sql = std::fs::read_to_string(data("environments.sql")).unwrap();
    let db = rusqlite::Connection::open(state.join("environments.db")).unwrap();
    db.execute_batch(&sql).unwrap();
    db.pragma_update(None, "journal_mode", "WAL").unwrap();
}

fn program(state: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sunshine-installer"));
    command.args(arguments).arg("--log-dir").arg(state.join("log")).env("SUNSHINE_STATE_DIR", state);
    command
}

#[test]
fn a_listener_killed_while_it_imports_an_old_state_loses_nothing_of_it() {
    let mut chance = seeded();
    for round in 0..3 {
        let state = tempfile::tempdir().unwrap();
        old_state(state.path());
        for _ in 0..5 {
            let mut child = bare(state.path(), &["--listen", "127.0.0.1:0"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            std::thread::sleep(Duration::from_millis(chance.random_range(1..120)));
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let listener = Listener::bare(state.path(), &[]);
        let answer = curl(Command::new("curl"), &[&format!("{}/environments/prod", listener.url)]).json();
        assert_eq!(answer["tasks"].as_array().map(Vec::len), Some(3), "{answer}");
        assert_eq!(answer["cluster"], true);
        let list = curl(Command::new("curl"), &[&format!("{}/environments", listener.url)]).json();
        assert_eq!(list["environments"].as_array().map(Vec::len), Some(ENVIRONMENTS), "round {round}");
        drop(listener);
        let db = rusqlite::Connection::open(state.path().join("environments.db")).unwrap();
        let count = |sql: &str| -> i64 { db.query_row(sql, [], |row| row.get(0)).unwrap() };
        let all = i64::try_from(ENVIRONMENTS).unwrap();
        assert_eq!(count("SELECT count(*) FROM documents"), 2 * all);
        assert_eq!(count("SELECT count(*) FROM logins"), 3 * all);
        assert_eq!(count("SELECT count(*) FROM environments WHERE record_id IS NOT NULL"), all);
        for n in 0..ENVIRONMENTS {
            for file in FILES {
                let place = Path::new("environments").join(name(n)).join(file);
                assert!(!state.path().join(&place).exists(), "{}", place.display());
                let kept = std::fs::read(state.path().join("before-2").join(&place)).unwrap();
                assert_eq!(kept, std::fs::read(data(file)).unwrap(), "{}", place.display());
            }
        }
    }
}

#[test]
fn a_listener_and_several_command_lines_share_the_store() {
    let state = tempfile::tempdir().unwrap();
    old_state(state.path());
    let start = |n: usize| {
        let environment = format!("line-{n}");
        let line = ["etcd", "create", "--host", "root:geheim@127.0.0.78", "--environment", &environment];
        program(state.path(), &line).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let mut children: Vec<_> = (0..3).map(start).collect();
    let listener = Listener::bare(state.path(), &[]);
    children.extend((3..6).map(start));
    for child in children {
        let output = child.wait_with_output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "the host is not there, all else is: {error}");
    }
    for n in 0..6 {
        let url = format!("{}/environments/line-{n}/1", listener.url);
        let message = curl(Command::new("curl"), &[&url]).message();
        assert_eq!(message["environment_status"], "stop", "{message}");
    }
}

#[test]
fn a_newer_store_is_refused_with_both_versions_and_a_damaged_one_is_named() {
    let state = tempfile::tempdir().unwrap();
    let line = ["etcd", "create", "--host", "root:geheim@127.0.0.78"];
    let run = |more: &[&str]| Output::of(&mut program(state.path(), &[&line[..], more].concat()));
    assert_eq!(run(&[]).code, Some(1));
    let path = state.path().join("environments.db");
    let set = |version: i64| {
        let db = rusqlite::Connection::open(&path).unwrap();
        db.pragma_update(None, "user_version", version).unwrap();
    };
    set(99);
    let before = std::fs::read(&path).unwrap();
    for output in [run(&[]), run(&["--dry-run"]), Output::of(&mut bare(state.path(), &["--listen", "127.0.0.1:0"]))] {
        assert_eq!(output.code, Some(2), "{output:?}");
        assert!(output.stderr.contains("schema 99") && output.stderr.contains("knows up to 2"), "{output:?}");
    }
    assert_eq!(std::fs::read(&path).unwrap(), before);
    std::fs::write(&path, b"not a database at all").unwrap();
    for output in [run(&[]), run(&["--dry-run"])] {
        assert_eq!(output.code, Some(1), "{output:?}");
        assert!(output.stderr.contains(&path.display().to_string()), "{output:?}");
    }
    assert_eq!(std::fs::read(&path).unwrap(), b"not a database at all");
}
