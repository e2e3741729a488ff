//! Hosts as sites have them: mounts, services and settings that a fresh installation has not.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests: a panic is how a test fails")]

use crate::etcd::{assert_healthy, contract_line, targets};
use crate::lab::Lab;
use crate::site::Site;

/// Where programs may not be run and old files are taken away all the time, whatever their age.
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
         printf 'e %s - - - 0\\n' /tmp /var/tmp /var/cache '/run/sunshine-installer' >/etc/tmpfiles.d/site.conf
         systemd-run -q --unit=sweeper sh -c 'while :; do systemd-tmpfiles --clean; sleep 0.05; done'");
    let hosts = targets(&lab);
    let line = contract_line(&hosts, &[]);
    site.run(&lab, &line).expect_ok();
    assert_healthy(&lab, 1);
    site.changes_nothing(&lab, &line);
    host.sh("systemctl is-active -q sweeper && ! ls /run/tmpfiles.d/sunshine-installer-*");
}
