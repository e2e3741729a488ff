//! Two deployers that meet on one host.

#![allow(clippy::expect_used, reason = "a panic is how a test fails")]

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::lab::Lab;
use crate::site::Site;

#[test]
fn a_host_that_another_run_works_on_is_refused_and_that_run_goes_on() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let (site, other) = (Site::with(&["etcd"]), Site::with(&["etcd"]));
    let line = ["etcd", "create", "--host", "root:111111@10.8.14.200"];
    let mut run = site.command(&lab, &line).arg("--json").stdout(Stdio::piped()).spawn().expect("the product starts");
    let process = Pid::from_raw(i32::try_from(run.id()).expect("a process id"));
    let mut lines = BufReader::new(run.stdout.take().expect("its output")).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains(r#""event":"step_started""#)), "a step begins");
    // It stands still, however long the other one takes to be sure.
    kill(process, Signal::SIGSTOP).expect("stopping it");
    let refused = other.run(&lab, &line);
    // A dry run looks whoever is at work, and leaves that one's folders and package manager alone.
    let looked = other.run(&lab, &[&line[..], &["--dry-run"]].concat());
    kill(process, Signal::SIGCONT).expect("continuing it");
    looked.expect_ok();
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    let words = "another run is working on this host: environment default-";
    assert!(refused.stderr.contains(words), "{}", refused.stderr);
    assert!(refused.stderr.contains(&format!("process {process} on control host")), "{}", refused.stderr);
    lines.by_ref().for_each(drop);
    assert!(run.wait().expect("its end").success());
    // It has ended, and left nothing: the other one gets as far as the data of the cluster that is not its own.
    assert_eq!(lab.host(0).sh("ls -d /run/sunshine-installer-lease 2>/dev/null || echo gone").trim(), "gone");
    let foreign = other.run(&lab, &line);
    assert!(!foreign.stderr.contains("another run is working"), "{}", foreign.stderr);
}
