//! schemathesis reads `/openapi.json` and asks everything that it allows, and much that it does not.

use std::process::Command;

use crate::lab::{Output, present};
use crate::rest::setup::{Listener, curl};

/// A network of its own with nothing in it: what is started there reaches no host.
fn apart(state: &std::path::Path) -> Listener {
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", "ip link set lo up; exec \"$@\"", "sh"]);
    command.args([env!("CARGO_BIN_EXE_sunshine-installer"), "serve", "--listen", "127.0.0.1:8383", "--log-dir"]);
    command.arg(state.join("log")).env("SUNSHINE_STATE_DIR", state);
    Listener::start(command)
}

#[test]
fn no_request_that_schemathesis_makes_up_gets_an_undocumented_answer() {
    let root = nix::unistd::geteuid().is_root();
    if !present(root.then_some(()).ok_or_else(|| "only root can make a network of its own".to_owned())) {
        return;
    }
    let script = crate::checkout().join("scripts/schemathesis");
    let program = Output::of(&mut Command::new(script)).expect_ok().stdout.trim().to_owned();
    let state = tempfile::tempdir().unwrap();
    let listener = apart(state.path());
    let inside = |program: &str| {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", listener.pid())).arg("--").arg(program);
        command
    };
    // Something to find: a task that failed, as no host can be reached.
    let body = r#"{"environment_type":1,"environment_params":{
        "master-host-list":["root:a@10.8.14.200"],"etcd-host-list":["root:a@10.8.14.200"]}}"#;
    let answer = curl(inside("curl"), &["-d", body, &format!("{}/environments/prod", listener.url)]);
    assert_eq!(answer.status, 200, "{}", answer.text);

    let mut command = inside(&program);
    command.args(["run", &format!("{}/openapi.json", listener.url), "--no-color", "--continue-on-failure"]);
    // The stream of events has no end by design. Of the checks, two ask for what cannot be promised: that a well-formed host
    // exists, and that a cluster can be asked for its status as soon as its creation has begun.
    command.args(["--exclude-path", "/environments/{id}/events"]);
    command.args(["--exclude-checks", "positive_data_acceptance,ensure_resource_availability"]);
    command.args(["--max-examples", "30", "--request-timeout", "10", "--max-time", "90"]).current_dir(state.path());
    let output = Output::of(&mut command);
    assert!(output.ok(), "{}\n{}", output.stdout, output.stderr);
    assert!(output.stdout.contains("generated"), "{}", output.stdout);
}
