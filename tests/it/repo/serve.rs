//! `repo serve`, as a user runs it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::setup::Scratch;
use crate::lab::Lab;

/// Ends the server also when a test fails.
pub(crate) struct Serving(pub(crate) Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn repo_serve_prints_a_repo_file_that_works_and_ends_when_told() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let scratch = Scratch::new();
    let bundle = scratch.bundle_for(vec![
        ("", scratch.rpm("alpha", "1", "Requires: beta", 1000)),
        ("el9", scratch.rpm("gamma", "1", "Requires: alpha", 1000)),
    ]);
    let local = scratch.rpm("beta", "1", "", 1000);
    let mut serve = lab.run(env!("CARGO_BIN_EXE_sunshine-installer"));
    serve.args(["repo", "serve", "--listen", "10.8.14.1", "--bundle", bundle.path().as_str(), local.as_str()]);
    serve.args(["--log-dir", scratch.path("log").as_str()]).stdout(Stdio::piped());
    let mut serving = Serving(serve.spawn().unwrap());
    let mut text = String::new();
    // The file of three repositories ends with the third one's empty line.
    let mut lines = BufReader::new(serving.0.stdout.take().unwrap()).lines();
    while text.matches("\n\n").count() < 3 {
        text.push_str(&lines.next().expect("the whole .repo file").unwrap());
        text.push('\n');
    }
    let host = lab.host(0);
    host.sh(&format!(
        "cat >/etc/yum.repos.d/sunshine-installer.repo <<'END'\n{text}END\ndnf -y install alpha && rpm -q alpha beta"
    ));
    // What is for a platform is there for those who enable it.
    host.sh("! dnf -y install gamma && dnf -y --enablerepo=sunshine-installer-el9 install gamma && rpm -q gamma");
    let base = text.lines().find_map(|line| line.strip_prefix("baseurl=")).unwrap();
    let token = base.trim_end_matches('/').rsplit('/').next().unwrap();
    let log = fs_err::read_to_string(scratch.path("log/onekey_deploy.log")).unwrap();
    assert!(log.contains("rpms/alpha-1-1.noarch.rpm") && log.contains("local/beta-1-1.noarch.rpm"), "{log}");
    assert!(!log.contains(token), "the token is in the log");
    kill(Pid::from_raw(i32::try_from(serving.0.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(serving.0.wait().unwrap().code(), Some(0));
}
