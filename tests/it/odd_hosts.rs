//! Hosts as sites have them: mounts, services and settings that a fresh installation has not.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests: a panic is how a test fails")]

use crate::etcd::{assert_healthy, contract_line, etcdctl, targets};
use crate::lab::{Lab, Output};
use crate::site::Site;

/// Where programs may not be run, and where files are taken away all the time, of whatever age in folders that only runs use.
#[test]
fn folders_that_are_noexec_and_swept_do_not_matter() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let site = Site::with(&["etcd"]);
    let host = lab.host(0);
    host.sh("for d in /tmp /var/tmp /dev/shm /home; do mount -t tmpfs -o noexec,nosuid,nodev,mode=1777 tmpfs $d; done
         mount -o remount,noexec /run
         printf 'e %s - - - 1m\\n' /tmp /var/tmp >/etc/tmpfiles.d/site.conf
         printf 'e %s - - - 0\\n' /var/cache /run/sunshine-installer >>/etc/tmpfiles.d/site.conf
         systemd-run -q --unit=sweeper sh -c 'while :; do systemd-tmpfiles --clean; sleep 0.05; done'");
    let hosts = targets(&lab);
    let line = contract_line(&hosts, &[]);
    site.run(&lab, &line).expect_ok();
    assert_healthy(&lab, 1);
    site.changes_nothing(&lab, &line);
    host.sh("systemctl is-active -q sweeper && ! ls /run/tmpfiles.d/sunshine-installer-*");
}

/// Hosts behind a gateway that forwards a port to each.
#[test]
fn one_address_with_two_ports_is_two_hosts() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(2);
    let site = Site::with(&["etcd"]);
    let forward = "table ip gate { chain out { type nat hook output priority -100; \
                   ip daddr 10.8.14.250 tcp dport 2201 dnat to 10.8.14.200:22; \
                   ip daddr 10.8.14.250 tcp dport 2202 dnat to 10.8.14.201:22; }; }";
    Output::of(lab.run("nft").arg(forward)).expect_ok();
    let hosts = ["root:111111@10.8.14.250:2201", "root:111111@10.8.14.250:2202"].map(str::to_owned);
    let line = contract_line(&hosts, &[]);
    site.run(&lab, &line).expect_ok();
    assert_healthy(&lab, 2);
    let members = etcdctl(lab.host(0), "member list");
    assert!(members.contains("//10.8.14.200:2380") && members.contains("//10.8.14.201:2380"), "{members}");
    site.changes_nothing(&lab, &line);
}
