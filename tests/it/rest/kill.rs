//! kill -9 of the listener at random moments of a deployment: the database stays whole, what was going on reads as "stop",
//! and the same POST goes on until it is finished.

#![allow(clippy::unwrap_used, reason = "a helper of tests: a panic is how a test fails")]

use std::time::Duration;

use rand::RngExt;

use super::setup::{Listener, curl, poll, try_curl};
use crate::chance::{faults, seeded};
use crate::lab::Lab;
use crate::site::Site;

fn assert_whole(site: &Site) {
    let db = rusqlite::Connection::open(site.path("state/environments.db")).unwrap();
    let answer: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(answer, "ok");
}

#[test]
fn a_listener_killed_at_random_moments_goes_on_until_it_is_finished() {
    if !Lab::here() {
        return;
    }
    let mut chance = seeded();
    let lab = Lab::up(2);
    let site = Site::with(&["etcd", "docker", "kubernetes"]);
    let body = r#"{"environment_type": 1, "environment_params": {
        "master-host-list": ["root:111111@10.8.14.200"], "etcd-host-list": ["root:111111@10.8.14.200"],
        "node-host-list": ["root:111111@10.8.14.200", "root:111111@10.8.14.201"]}}"#;
    let ask = |url: &str, arguments: &[&str]| curl(lab.run("curl"), &[arguments, &[url]].concat());
    let mut stopped = 0;
    let kills = faults(10, 3);
    for kill in 0..kills {
        let mut listener = Listener::at(&site, &lab);
        let here = format!("{}/environments/prod", listener.url);
        let started = ask(&here, &["-d", body]);
        assert_eq!(started.status, 200, "kill {kill}: {}", started.text);
        std::thread::sleep(Duration::from_millis(chance.random_range(100..3500)));
        let last = ask(&format!("{here}/1"), &[]).message();
        listener.kill();
        assert_whole(&site);

        let listener = Listener::at(&site, &lab);
        let message = ask(&format!("{}/environments/prod/1", listener.url), &[]).message();
        assert_ne!(message["environment_status"], "running", "kill {kill}: {message}");
        assert!(message["environment_progress"].as_f64() >= last["environment_progress"].as_f64(), "{last} {message}");
        if message["environment_status"] == "stop" {
            stopped += 1;
            assert_eq!((&message["environment_err"], &message["environment_result"]), (&1.into(), &false.into()));
            let desc = message["environment_desc"].as_str().unwrap();
            assert!(desc.contains("send the same request again"), "{desc}");
        }
    }
    assert!(stopped * 2 > kills, "only {stopped} of {kills} kills met a running deployment");
    let listener = Listener::at(&site, &lab);
    let here = format!("{}/environments/prod", listener.url);
    assert_eq!(ask(&here, &["-d", body]).status, 200);
    let message = poll(|| ask(&format!("{here}/1"), &[]));
    assert_eq!(message["environment_status"], "finished", "{message}");
    assert_eq!(lab.host(0).sh("kubectl get nodes --no-headers").matches(" Ready ").count(), 2);
    drop(listener);
    assert_whole(&site);
}

#[test]
fn sigterm_brings_a_task_to_a_safe_point_and_the_same_request_finishes_it() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let site = Site::with(&["etcd", "docker", "kubernetes"]);
    let body = r#"{"environment_type": 1, "environment_params": {
        "master-host-list": ["root:111111@10.8.14.200"], "etcd-host-list": ["root:111111@10.8.14.200"]}}"#;
    let ask = |url: &str, arguments: &[&str]| curl(lab.run("curl"), &[arguments, &[url]].concat());
    let mut listener = Listener::at(&site, &lab);
    let here = format!("{}/environments/prod", listener.url);
    assert_eq!(ask(&here, &["-d", body]).status, 200);
    while ask(&format!("{here}/1"), &[]).message()["environment_progress"] == 0.0 {
        std::thread::sleep(Duration::from_millis(50));
    }
    let pid = nix::unistd::Pid::from_raw(i32::try_from(listener.pid()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    // While it ends it still answers, and starts nothing; it may also be gone already.
    let other = format!("{}/environments/other", listener.url);
    match try_curl(lab.run("curl"), &["-d", body, &other]) {
        Ok(answer) => assert_eq!(answer.status, 503, "{}", answer.text),
        // curl's codes of a connection that is refused, or ends before or in the middle of an answer.
        Err(output) => assert!(matches!(output.code, Some(7 | 52 | 56)), "{output:?}"),
    }
    assert_eq!(listener.wait(), Some(0));

    let listener = Listener::at(&site, &lab);
    let here = format!("{}/environments/prod", listener.url);
    let message = ask(&format!("{here}/1"), &[]).message();
    assert_eq!(message["environment_status"], "stop", "{message}");
    assert!(message["environment_desc"].as_str().unwrap().contains("safe point"), "{message}");
    assert_eq!(ask(&here, &["-d", body]).status, 200);
    let message = poll(|| ask(&format!("{here}/1"), &[]));
    assert_eq!(message["environment_status"], "finished", "{message}");
}
