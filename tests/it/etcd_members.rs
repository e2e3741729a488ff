//! Members come and go; what is asked of a cluster; what would be done.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests: a panic is how a test fails")]

use std::collections::BTreeMap;

use serde_json::Value;

use crate::etcd::{assert_healthy, contract_line, etcdctl, targets};
use crate::lab::Lab;
use crate::site::{Site, assert_unchanged, at_rest};

fn status(site: &Site, lab: &Lab) -> (Option<i32>, Value) {
    let output = site.run(lab, &["etcd", "status", "--json"]);
    (output.code, serde_json::from_str(&output.stdout).expect("one JSON object"))
}

#[test]
fn etcd_members_are_added_asked_and_removed_and_the_host_is_given_back() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(4);
    let site = Site::with(&["etcd"]);
    let hosts = targets(&lab);
    let before = at_rest(lab.host(3));
    let none = site.run(&lab, &["etcd", "add", "--host", &hosts[3]]);
    assert_eq!(none.code, Some(2), "{}", none.stderr);
    assert!(none.stderr.contains("no etcd cluster"), "{}", none.stderr);

    site.run(&lab, &contract_line(&hosts[..3], &[])).expect_ok();
    etcdctl(lab.host(0), "put kept value");
    site.run(&lab, &["etcd", "add", "--host", &hosts[3]]).expect_ok();
    assert_healthy(&lab, 4);
    assert!(etcdctl(lab.host(3), "get --print-value-only kept").contains("value"));
    let again = site.run(&lab, &["etcd", "add", "--host", &hosts[3], "-v"]).expect_ok();
    assert!(again.stderr.contains("is a member of the etcd cluster already"), "{}", again.stderr);
    assert!(!again.stderr.contains(": done ("), "{}", again.stderr);

    let (code, all) = status(&site, &lab);
    let members = all["members"].as_object().expect("members");
    assert_eq!((code, members.len()), (Some(0), 4), "{all}");
    assert_eq!(members.values().filter(|m| m["leader"] == true).count(), 1, "{all}");
    assert!(members.values().all(|m| m["version"] == "3.4.23" && m["db_size"].as_u64() > Some(0)), "{all}");
    assert_eq!(all["alarms"].as_array().map(Vec::len), Some(0), "{all}");

    site.run(&lab, &["etcd", "remove", "--host", &hosts[3]]).expect_ok();
    let list = etcdctl(lab.host(0), "member list");
    assert_eq!(list.matches("started").count(), 3, "{list}");
    assert!(!list.contains("10.8.14.203"), "{list}");
    assert!(lab.host(3).sh("ls -d /var/lib/etcd/removed-*/member").contains("removed-"), "its data is kept");
    // A package's user stays when it goes, as everywhere: files may still be its own.
    lab.host(3).sh("rm -r /var/lib/etcd; userdel etcd; groupdel etcd 2>/dev/null || :");
    assert_unchanged(lab.host(3), &before);
    let gone = site.run(&lab, &["etcd", "remove", "--host", &hosts[3]]).expect_ok();
    assert!(gone.stderr.contains("is no member of the etcd cluster"), "{}", gone.stderr);
}

/// In etcdctl's place: the first call of each kind fails as in an election; the first `member add` that reaches the cluster
/// and the second `member promote` are carried out, and their answer is lost.
const WRONG_ETCDCTL: &str = r#"#!/bin/sh
case "$*" in
*--help*) exec /usr/bin/etcdctl "$@";;
*"member list"*) kind=list;;
*"member add"*) kind=add;;
*"member promote"*) kind=promote;;
"put "*) kind=put;;
*) exec /usr/bin/etcdctl "$@";;
esac
echo x >>"/root/wrong/$kind"
case $kind-$(grep -c x "/root/wrong/$kind") in
list-1|add-1|promote-1|put-1) echo 'Error: etcdserver: leader changed' >&2; exit 1;;
add-2|promote-2) /usr/bin/etcdctl "$@" >/dev/null || exit 1; echo 'Error: context deadline exceeded' >&2; exit 1;;
esac
exec /usr/bin/etcdctl "$@"
"#;

#[test]
fn a_member_is_added_once_though_etcd_is_busy_and_answers_are_lost() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(2);
    let site = Site::with(&["etcd"]);
    let hosts = targets(&lab);
    site.run(&lab, &contract_line(&hosts[..1], &[])).expect_ok();
    let write = format!("mkdir /root/wrong; cat >/usr/local/bin/etcdctl <<'END'\n{WRONG_ETCDCTL}END\n");
    lab.host(1).sh(&format!("{write}chmod 755 /usr/local/bin/etcdctl"));
    site.run(&lab, &["etcd", "add", "--host", &hosts[1]]).expect_ok();
    let calls = |kind: &str| lab.host(1).sh(&format!("grep -c x /root/wrong/{kind}"));
    assert_eq!((calls("add").as_str(), calls("put").as_str()), ("2", "2"));
    assert!(calls("promote").parse::<u32>().expect("a number") >= 2);
    lab.host(1).sh("rm /usr/local/bin/etcdctl");
    assert_healthy(&lab, 2);
    let list = etcdctl(lab.host(0), "member list");
    assert_eq!((list.lines().count(), list.matches("false").count()), (2, 2), "{list}");
}

#[test]
fn etcd_is_not_taken_below_its_quorum() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(3);
    let site = Site::with(&["etcd"]);
    let hosts = targets(&lab);
    site.run(&lab, &contract_line(&hosts, &[])).expect_ok();
    etcdctl(lab.host(0), "put kept value");
    let all = site.run(&lab, &["etcd", "remove", "--host", &hosts[0], &hosts[1], &hosts[2]]);
    assert_eq!(all.code, Some(2), "{}", all.stderr);

    lab.host(2).sh("systemctl stop etcd");
    let (code, now) = status(&site, &lab);
    assert_eq!(code, Some(1), "{now}");
    let well: BTreeMap<_, _> =
        now["members"].as_object().expect("members").iter().map(|(h, m)| (h.as_str(), m["healthy"] == true)).collect();
    assert_eq!(well, BTreeMap::from([("10.8.14.200", true), ("10.8.14.201", true), ("10.8.14.202", false)]));

    // Two would stay, and one of them answers.
    let refused = site.run(&lab, &["etcd", "remove", "--host", &hosts[1]]);
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("lose its quorum") && refused.stderr.contains("10.8.14.202"), "{}", refused.stderr);
    assert_eq!(etcdctl(lab.host(0), "member list").matches("started").count(), 3);
    // The one that is down may go, also when its host is dead.
    lab.host(2).cut_network();
    site.run(&lab, &["etcd", "remove", "--force", "--host", &hosts[2]]).expect_ok();
    assert_eq!(etcdctl(lab.host(0), "member list").matches("started").count(), 2);
    assert!(etcdctl(lab.host(0), "get --print-value-only kept").contains("value"));
}

#[test]
fn a_dry_run_says_what_would_change_and_changes_nothing_at_either_end() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let site = Site::with(&["etcd"]);
    let hosts = targets(&lab);
    let before = at_rest(lab.host(0));
    let line = contract_line(&hosts, &["--dry-run"]);
    let said = site.run(&lab, &line).expect_ok();
    let all = format!("{}{}", said.stdout, said.stderr);
    for part in ["install etcd", "create /etc/etcd/etcd.conf", "+ETCD_NAME=\"host0\"", "start etcd"] {
        assert!(all.contains(part), "{part}: {all}");
    }
    assert!(!all.contains("-----BEGIN"), "{all}");
    assert!(all.contains("ETCD_INITIAL_CLUSTER_TOKEN=\"(made by the run)\""), "the same every time: {all}");
    assert!(!site.path("state").exists(), "the control host's state was touched");
    assert_unchanged(lab.host(0), &before);

    site.run(&lab, &contract_line(&hosts, &[])).expect_ok();
    let state = || {
        let mut files: Vec<_> = site.written().into_iter().filter(|(p, _)| p.starts_with(site.path("state"))).collect();
        files.sort();
        files
    };
    let before = state();
    let again = site.run(&lab, &line).expect_ok();
    assert!(!again.stdout.contains("ETCD_NAME"), "{}", again.stdout);
    let changed: Vec<_> = state().into_iter().filter(|file| !before.contains(file)).map(|(path, _)| path).collect();
    assert_eq!((changed, before.len()), (Vec::new(), state().len()));
}

/// Who may read and no more sees what would be done, and is told what a run will need.
#[test]
fn a_dry_run_needs_no_more_than_read_access() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let site = Site::with(&["etcd"]);
    lab.host(0).sh("useradd --create-home nosudo && echo nosudo:geheim | chpasswd");
    let before = at_rest(lab.host(0));
    let reader = ["nosudo:geheim@10.8.14.200".to_owned()];
    let line = contract_line(&reader, &["--dry-run"]);
    let first = site.run(&lab, &line).expect_ok();
    let all = format!("{}{}", first.stdout, first.stderr);
    for part in ["nosudo cannot become root here", "install etcd", "+ETCD_NAME=\"host0\"", "start etcd"] {
        assert!(all.contains(part), "{part}: {all}");
    }
    assert_unchanged(lab.host(0), &before);
    let real = site.run(&lab, &contract_line(&reader, &[]));
    assert_eq!(real.code, Some(1), "{}", real.stderr);
    assert!(real.stderr.contains("nosudo cannot become root with sudo"), "{}", real.stderr);

    site.run(&lab, &contract_line(&targets(&lab), &[])).expect_ok();
    let before = at_rest(lab.host(0));
    let again = site.run(&lab, &line).expect_ok();
    let all = format!("{}{}", again.stdout, again.stderr);
    assert!(all.contains("maybe change /etc/etcd/pki/member.key, which only root can read"), "{all}");
    assert!(all.contains("maybe restart etcd.service, which only root can determine"), "{all}");
    for part in
        ["install etcd", "ETCD_NAME", "join the etcd cluster", "      restart etcd.service", "      start etcd.service"]
    {
        assert!(!all.contains(part), "{part}: {all}");
    }
    assert_unchanged(lab.host(0), &before);
}
