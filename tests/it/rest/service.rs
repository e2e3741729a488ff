//! The listener as a service: the stream of events, and the unit that systemd runs.

use super::setup::{Listener, curl};
use crate::lab::{Lab, Output};
use crate::site::Site;

#[test]
fn events_are_streamed_from_the_newest_tasks_beginning_and_go_on_behind_any_of_them() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let site = Site::with(&["etcd"]);
    let listener = Listener::at(&site, &lab);
    let line = ["etcd", "create", "--host", "root:111111@10.8.14.200", "--environment", "line"];
    // A run of the command line, in another process, while somebody listens.
    site.run(&lab, &[&line[..], &["--dry-run"]].concat());
    let url = format!("{}/environments/line/events", listener.url);
    assert_eq!(curl(lab.run("curl"), &[&url]).status, 404, "a dry run leaves nothing");
    site.run(&lab, &line).expect_ok();
    let streamed = |header: &str| {
        let output = Output::of(lab.run("curl").args(["-sN", "--max-time", "3", "-H", header, &url]));
        assert_eq!(output.code, Some(28), "it has no end: {output:?}");
        output.stdout
    };
    let all = streamed("Accept: text/event-stream");
    assert!(all.starts_with("id: ") && all.contains(r#""event":"run_started""#), "{all}");
    assert!(all.contains(r#""event":"step_finished""#) && all.contains(r#""event":"run_finished""#), "{all}");
    let ids: Vec<i64> = all.lines().filter_map(|l| l.strip_prefix("id: ")?.parse().ok()).collect();
    assert!(ids.is_sorted(), "{ids:?}");
    let middle = ids[ids.len() / 2];
    let rest = streamed(&format!("Last-Event-ID: {middle}"));
    let first: i64 = rest.lines().find_map(|l| l.strip_prefix("id: ")?.parse().ok()).unwrap();
    assert!(first > middle && !rest.contains("run_started"), "{rest}");
    assert!(!all.contains("111111"));
}

#[test]
fn systemd_runs_it_and_brings_it_back() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let site = Site::with(&["etcd"]);
    let (host, bundle) = (lab.host(0), site.bundle().display().to_string());
    let to = "/opt/sunshine installer/sunshine-installer.bin";
    host.sh("mkdir -p '/opt/sunshine installer'");
    site.run(&lab, &["hosts", "push", &host.target(), "--file", &bundle, "--to", to, "--mode", "755"]).expect_ok();
    host.sh("umask 077; echo 0123456789abcdef0123 >/etc/listener.token");
    let said = host.sh(&format!(
        "cd /etc && '{to}' --host-key strict serve --listen 0.0.0.0:8383 --token-file listener.token --forks 7 --install 2>&1"
    ));
    assert!(said.contains("--tls-cert"), "it warns of passwords in the clear: {said}");
    let unit = host.sh("systemctl cat sunshine-installer");
    for option in ["--host-key strict", "--forks 7", "--token-file /etc/listener.token", "--listen 0.0.0.0:8383"] {
        assert!(unit.contains(option), "{option}: {unit}");
    }
    let ask = "curl -fsS --retry 20 --retry-connrefused --retry-delay 1 -H 'Authorization: Bearer 0123456789abcdef0123' \
               http://127.0.0.1:8383/environments";
    assert_eq!(host.sh(ask), r#"{"environments":[]}"#);
    host.sh("systemctl kill -s KILL sunshine-installer");
    assert_eq!(host.sh(ask), r#"{"environments":[]}"#);
    host.reboot();
    assert_eq!(host.sh(ask), r#"{"environments":[]}"#);
    assert_eq!(
        host.sh("systemctl stop sunshine-installer; systemctl show -p Result sunshine-installer"),
        "Result=success"
    );
}
