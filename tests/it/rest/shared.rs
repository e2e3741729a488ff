//! One task at a time in an environment, whoever began it; and the page behind a token.

use std::process::Stdio;
use std::time::{Duration, Instant};

use super::browser::Browser;
use super::setup::{HANGS, Listener, curl, poll};
use crate::lab::{Lab, Output};
use crate::site::Site;

#[test]
fn a_run_of_the_command_line_holds_off_a_task_and_a_task_holds_off_a_run() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let site = Site::with(&["etcd"]);
    let listener = Listener::at(&site, &lab);
    let here = format!("{}/environments/default", listener.url);
    let ask = |arguments: &[&str]| curl(lab.run("curl"), &[arguments, &[&here]].concat());
    let progress = || curl(lab.run("curl"), &[&format!("{here}/1")]);
    let line = ["etcd", "create", "--host", "root:111111@10.8.14.200"];
    let body = r#"{"environment_type": 1, "environment_params": {
        "master-host-list": ["root:111111@10.8.14.200"], "etcd-host-list": ["root:111111@10.8.14.200"]}}"#;

    let mut run = site.command(&lab, &line).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let end = Instant::now() + HANGS;
    while progress().status == 404 {
        assert!(Instant::now() < end, "the run is not seen");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(progress().message()["environment_status"], "running");
    for request in [&["-d", body][..], &["-X", "DELETE"], &["-X", "DELETE", "-G", "-d", "force=true"]] {
        let answer = ask(request);
        assert_eq!(answer.status, 409, "{request:?}: {}", answer.text);
        assert!(answer.message()["environment_desc"].as_str().unwrap().contains("in use"), "{}", answer.text);
    }
    let message = poll(progress);
    assert_eq!(message["environment_status"], "finished", "{message}");
    assert!(run.wait().unwrap().success());

    // This site has no Kubernetes packages, which is a wrong request: refused, and the finished task is still the newest.
    let answer = ask(&["-d", body]);
    assert_eq!(answer.status, 400, "{}", answer.text);
    assert!(answer.message()["environment_desc"].as_str().unwrap().contains("kubernetes-master"), "{}", answer.text);
    assert_eq!(progress().message()["environment_progress"], 100.0);
}

#[test]
fn the_page_asks_for_the_token_and_then_shows_everything() {
    if !Lab::here() || !Browser::here() {
        return;
    }
    let lab = Lab::up(1);
    let site = Site::with(&["etcd"]);
    let token = site.path("token");
    Output::of(
        std::process::Command::new("sh").arg("-c").arg("umask 077; echo 0123456789abcdef0123 >\"$0\"").arg(&token),
    )
    .expect_ok();
    let listener = Listener::with(&site, &lab, &["--token-file", &token.display().to_string()]);
    let browser = Browser::start(&lab);
    browser.open(&listener.url);
    browser.wait("return !document.getElementById('login').hidden");
    assert_eq!(browser.script("return document.getElementById('panes').hidden"), true);
    browser.press("wrong\u{e007}");
    browser.wait("return document.getElementById('trouble').innerText.includes('not the token')");
    assert_eq!(browser.script("return document.getElementById('panes').hidden"), true);
    browser.type_into("#token", "0123456789abcdef0123\u{e007}");
    browser.wait("return !document.getElementById('deploy').hidden");
    assert_eq!(browser.script("return document.getElementById('login').hidden"), true);
}
