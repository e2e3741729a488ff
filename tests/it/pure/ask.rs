//! Questions before something is lost, on a real pseudo terminal: what they name, what answers them, who is not asked.

#![allow(clippy::expect_used, reason = "helpers of tests: a panic is how a test fails")]

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use assert_cmd::cargo::cargo_bin;
use nix::pty::openpty;

/// What a run on a terminal showed, and its exit code.
struct Shown {
    text: String,
    code: Option<i32>,
}

fn program(dir: &tempfile::TempDir, line: &[&str]) -> Command {
    let mut command = Command::new(cargo_bin("sunshine-installer"));
    command.env("SUNSHINE_STATE_DIR", dir.path()).args(line).arg("--log-dir").arg(dir.path().join("log"));
    command
}

/// Runs the line on a terminal on which `answer` is typed.
fn on_terminal(line: &[&str], answer: &str) -> Shown {
    let dir = tempfile::tempdir().expect("a folder");
    let pty = openpty(None, None).expect("a pseudo terminal");
    let ours = File::from(pty.master);
    let theirs = || File::from(pty.slave.try_clone().expect("a second descriptor"));
    // Typed ahead: it waits in the terminal until somebody reads.
    (&ours).write_all(answer.as_bytes()).expect("typing");
    let mut command = program(&dir, line);
    let mut child = command.stdin(theirs()).stdout(theirs()).stderr(theirs()).spawn().expect("the program starts");
    drop(command);
    drop(pty.slave);
    let mut shown = Vec::new();
    // The kernel ends the stream of a terminal that nobody has open with an error.
    let _ = (&ours).read_to_end(&mut shown);
    let code = child.wait().expect("it ends").code();
    Shown { text: String::from_utf8_lossy(&shown).into_owned(), code }
}

/// A host on which nobody listens.
fn dead_host() -> String {
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its number").port();
    format!("root:geheim@127.0.0.1:{port}")
}

#[test]
fn a_no_changes_nothing_and_names_what_would_be_lost() {
    let host = dead_host();
    let id = host.rsplit('@').next().expect("its address and port");
    for (line, lost) in [
        (&["cluster", "reset", "--host", &host][..], ": etcd and Kubernetes stop"),
        (&["cluster", "reset", "--host", &host, "--wipe-data"], ": etcd's data is deleted"),
        (&["cluster", "remove", "--node", &host], " (node): its pods are evicted"),
        (&["etcd", "remove", "--host", &host], ": leaves the etcd cluster"),
        (&["etcd", "create", "--host", &host, "--wipe-data", "127.0.0.1"], "etcd data of another cluster is deleted"),
    ] {
        let lost = if lost.starts_with([':', ' ']) { format!("{id}{lost}") } else { lost.to_owned() };
        let line = [line, &["--environment", "prod"]].concat();
        for answer in ["n\n", "\n", "\u{4}"] {
            let shown = on_terminal(&line, answer);
            for word in ["Environment prod:", lost.as_str(), "[y/N]", "nothing was changed"] {
                assert!(shown.text.contains(word), "{line:?}: {word}: {}", shown.text);
            }
            assert!(!shown.text.contains("cannot connect") && !shown.text.contains("geheim"), "{}", shown.text);
            assert_eq!(shown.code, Some(130), "{line:?}");
        }
    }
}

#[test]
fn a_yes_goes_on() {
    let host = dead_host();
    for answer in ["y\n", "YES\n"] {
        let shown = on_terminal(&["cluster", "reset", "--host", &host], answer);
        assert!(shown.text.contains("[y/N]") && shown.text.contains("cannot connect"), "{}", shown.text);
        assert_eq!(shown.code, Some(1));
    }
}

#[test]
fn nothing_is_asked_with_yes_in_a_dry_run_where_nothing_is_lost_and_in_the_k_form() {
    let host = dead_host();
    for line in [
        &["cluster", "reset", "--host", &host, "--yes"][..],
        &["cluster", "reset", "--host", &host, "--dry-run"],
        &["etcd", "create", "--host", &host],
        &["-K", "onekey_deploy_ctl", "-create_k8s_cluster", "-cp", "del_nodes", "--del-node-hosts", &host],
    ] {
        let shown = on_terminal(line, "n\n");
        assert!(!shown.text.contains("[y/N]"), "{line:?}: {}", shown.text);
        assert_ne!(shown.code, Some(130), "{line:?}: {}", shown.text);
    }
}

#[test]
fn nothing_is_asked_without_a_terminal() {
    let dir = tempfile::tempdir().expect("a folder");
    let output = program(&dir, &["cluster", "reset", "--host", &dead_host()]).stdin(Stdio::null()).output();
    let output = output.expect("the program starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!error.contains("[y/N]") && error.contains("cannot connect"), "{error}");
    assert_eq!(output.status.code(), Some(1));
}
