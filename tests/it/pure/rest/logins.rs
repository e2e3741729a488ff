//! Types 3 and 4 with only the hosts that come or go: the listener knows the others from the tasks before.

#![allow(clippy::unwrap_used, reason = "helpers of tests: a panic is how a test fails")]

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::lab::Output;
use crate::rest::setup::{Answer, Listener, curl, poll};

/// Where nobody listens for SSH, or nobody knows the password.
const MASTER: &str = "127.0.0.77";

/// What an earlier version kept of a cluster that stands.
fn environment_of_one_master(state: &Path, id: &str) {
    let folder = state.join("environments").join(id);
    std::fs::create_dir_all(&folder).unwrap();
    let member = json!({"name": "a", "address": MASTER, "joining": {"new": "a=https://127.0.0.77:2380"}});
    let etcd = json!({"token": "t", "tls": true, "standing": true, "members": {MASTER: member}});
    let machine = json!({"name": "a", "address": MASTER, "subnet": 0});
    let cluster = json!({
        "settings": {}, "network": "direct", "standing": true,
        "etcd": {"endpoints": ["https://127.0.0.77:2379"], "tls": true},
        "masters": {MASTER: {"name": "a", "address": MASTER}}, "nodes": {MASTER: machine},
    });
    std::fs::write(folder.join("etcd.json"), etcd.to_string()).unwrap();
    std::fs::write(folder.join("kubernetes.json"), cluster.to_string()).unwrap();
}

fn post(listener: &Listener, number: u8, params: &Value) -> Answer {
    let body = json!({"environment_type": number, "environment_params": params}).to_string();
    curl(Command::new("curl"), &["-d", &body, &format!("{}/environments/prod", listener.url)])
}

/// Posts a task that is accepted, and waits until it has failed: there is no host.
#[track_caller]
fn accepted(listener: &Listener, number: u8, params: &Value) {
    let answer = post(listener, number, params);
    assert_eq!(answer.status, 200, "{}", answer.text);
    let url = format!("{}/environments/prod/{number}", listener.url);
    let message = poll(|| curl(Command::new("curl"), &[&url]));
    assert_eq!(message["environment_status"], "stop", "{message}");
}

#[track_caller]
fn refused(listener: &Listener, number: u8, params: &Value) {
    let answer = post(listener, number, params);
    assert_eq!(answer.status, 400, "{}", answer.text);
    let message = answer.message();
    let words = message["environment_desc"].as_str().unwrap();
    for word in ["task_parms error", MASTER, "`serve --keep-credentials KEYFILE`"] {
        assert!(words.contains(word), "{word}: {words}");
    }
    assert!(!answer.text.contains("geheim"), "{}", answer.text);
}

fn written(folder: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        bytes.extend(if path.is_dir() { written(&path) } else { std::fs::read(&path).unwrap() });
    }
    bytes
}

#[test]
fn the_passwords_of_accepted_tasks_are_remembered_until_the_listener_ends() {
    let state = tempfile::tempdir().unwrap();
    environment_of_one_master(state.path(), "prod");
    let master = format!("root:geheim@{MASTER}");
    let create = json!({"master-host-list": [master], "etcd-host-list": [master]});
    // A member that comes, a node that goes: neither request names the login of the control plane node.
    let add = json!({"etcd-host-list": ["root:other@127.0.0.78"]});
    let remove = json!({"node-host-list": [MASTER]});

    let listener = Listener::bare(state.path(), &[]);
    accepted(&listener, 1, &create);
    accepted(&listener, 3, &add);
    accepted(&listener, 4, &remove);
    drop(listener);
    let listener = Listener::bare(state.path(), &[]);
    refused(&listener, 3, &add);
    refused(&listener, 4, &remove);
    drop(listener);

    let listener = Listener::bare(state.path(), &["--no-auth"]);
    accepted(&listener, 1, &create);
    refused(&listener, 3, &add);
    drop(listener);

    let key = state.path().join("vault.key").display().to_string();
    let listener = Listener::bare(state.path(), &["--keep-credentials", &key]);
    accepted(&listener, 1, &create);
    drop(listener);
    let listener = Listener::bare(state.path(), &["--keep-credentials", &key]);
    accepted(&listener, 3, &add);
    accepted(&listener, 4, &remove);
    drop(listener);
    assert!(!written(state.path()).windows(6).any(|w| w == b"geheim"), "a password lies in the state folder");
}

fn line(state: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sunshine-installer"));
    command.args(arguments).args(["--environment", "prod", "--log-dir"]).arg(state.join("log"));
    Output::of(command.env("SUNSHINE_STATE_DIR", state))
}

#[test]
fn what_the_command_line_seals_the_listener_reads_and_the_other_way_round() {
    let state = tempfile::tempdir().unwrap();
    environment_of_one_master(state.path(), "prod");
    let key = state.path().join("vault.key").display().to_string();
    let keep = ["--keep-credentials", key.as_str()];
    let master = format!("root:geheim@{MASTER}");
    let remove = json!({"node-host-list": [MASTER]});
    let renew = ["cluster", "certs", "renew"];

    // Nothing is known of the control plane node; then the line seals its password.
    assert_eq!(line(state.path(), &renew).code, Some(2));
    let create = [&["etcd", "create", "--host", master.as_str()][..], &keep].concat();
    assert_eq!(line(state.path(), &create).code, Some(1), "the host is not there");
    let listener = Listener::bare(state.path(), &[]);
    refused(&listener, 4, &remove);
    drop(listener);
    let listener = Listener::bare(state.path(), &keep);
    accepted(&listener, 4, &remove);
    drop(listener);

    // A new password, sealed by the listener; the line goes on to the host, which is not there.
    let listener = Listener::bare(state.path(), &keep);
    accepted(&listener, 1, &json!({"master-host-list": [master], "etcd-host-list": [master]}));
    drop(listener);
    let without = line(state.path(), &renew);
    assert_eq!(without.code, Some(2), "{without:?}");
    assert!(without.stderr.contains(MASTER) && without.stderr.contains("--keep-credentials"), "{without:?}");
    for more in [&[][..], &["--dry-run"]] {
        let with = line(state.path(), &[&renew[..], &keep, more].concat());
        assert_eq!(with.code, Some(1), "{with:?}");
    }
    assert!(!written(state.path()).windows(6).any(|w| w == b"geheim"), "a password lies in the state folder");
}
