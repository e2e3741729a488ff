//! kill -9 at steps of a plan in turn, then the same line again: at every step with `make killed`, else at some, chosen at
//! random.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests: a panic is how a test fails")]

use std::collections::BTreeSet;

use rand::seq::SliceRandom;

use crate::chance::{faults, seeded};
use crate::etcd::{assert_healthy, contract_line, etcdctl, targets};
use crate::lab::Lab;
use crate::site::Site;

/// The steps of the line's plan, as an unhindered run told them.
fn steps_of_a_run(site: &Site, lab: &Lab, line: &[&str]) -> BTreeSet<String> {
    let mut steps = BTreeSet::new();
    let code = site.watch(lab, line, |event| {
        if event["event"] == "step_started" {
            steps.extend(event["step"].as_str().map(str::to_owned));
        }
        true
    });
    assert_eq!(code, Some(0));
    steps
}

/// Kills the run when `step` begins, and says whether it came to that.
fn kill_at(site: &Site, lab: &Lab, line: &[&str], step: &str) -> bool {
    let mut killed = false;
    let code = site.watch(lab, line, |event| {
        killed |= event["event"] == "step_started" && event["step"] == step;
        !killed
    });
    assert!(killed && code.is_none() || !killed && code == Some(0), "{step}: {code:?}");
    killed
}

/// Takes everything of etcd off every host; the package too when its installation is what is to be killed.
fn wipe(lab: &Lab, package: bool) {
    for host in lab.hosts() {
        host.sh(
            "systemctl disable --now etcd 2>/dev/null; \
             rm -rf /var/lib/etcd/* /etc/etcd /etc/profile.d/sunshine-etcd.sh /var/lib/sunshine-installer; systemctl daemon-reload",
        );
        if package {
            host.sh("rpm -e etcd");
        }
    }
}

/// How often the package manager installed etcd, on each host: its own log of what rpm did.
fn transactions(lab: &Lab) -> Vec<usize> {
    let count = |text: String| text.trim().parse().expect("a number");
    lab.hosts().iter().map(|h| count(h.sh("grep -c ' Installed: etcd-' /var/log/dnf.rpm.log || :"))).collect()
}

#[test]
fn etcd_killed_at_any_step_is_completed_by_the_same_line() {
    if !Lab::here() {
        return;
    }
    let site = Site::with(&["etcd"]);
    let lab = Lab::up(3);
    let hosts = targets(&lab);
    let steps = steps_of_a_run(&site, &lab, &contract_line(&hosts, &["--environment", "whole"]));
    assert_eq!(steps.len(), 19, "six steps on each of three hosts, and the certificates: {steps:?}");
    let mut chosen: Vec<&String> = steps.iter().collect();
    chosen.shuffle(&mut seeded());
    // What costs a package transaction is always among them.
    chosen.sort_by_key(|step| !step.ends_with("/etcd.install"));
    chosen.rotate_left(2);
    chosen.truncate(faults(steps.len(), 3));
    for (turn, step) in chosen.into_iter().enumerate() {
        let installs = step.ends_with("/etcd.install");
        wipe(&lab, installs);
        let before = transactions(&lab);
        let environment = format!("turn-{turn}");
        let line = contract_line(&hosts, &["--environment", &environment]);
        assert!(kill_at(&site, &lab, &line, step), "{step} began");
        let again = site.run(&lab, &line).expect_ok();
        assert!(again.stderr.contains("the previous run was interrupted"), "{step}: {}", again.stderr);
        assert_healthy(&lab, 3);
        etcdctl(lab.host(turn % 3), "put kept value");
        assert!(etcdctl(lab.host((turn + 1) % 3), "get --print-value-only kept").contains("value"), "{step}");
        let once: Vec<usize> = before.iter().map(|n| n + usize::from(installs)).collect();
        assert_eq!(transactions(&lab), once, "{step}: how often the package was installed on each host");
        for host in lab.hosts() {
            assert_eq!(host.sh("rpm -q etcd | wc -l").trim(), "1", "{step}");
            let left = host.sh("ls /etc/yum.repos.d; find / -xdev -name '*sunshine*.repo' 2>/dev/null; ls -d /run/sunshine-installer* 2>/dev/null || :");
            assert_eq!(left.trim(), "", "{step}: something of the repository is left on {}", host.name());
        }
    }
}

/// The host completes a transaction whose run was killed, or does not begin it: either way its record names what came by it, and
/// nothing that came by others.
#[test]
fn what_the_site_installs_after_a_killed_installation_outlives_a_reset() {
    if !Lab::here() {
        return;
    }
    let site = Site::with(&["etcd"]);
    let lab = Lab::up(1);
    let hosts = targets(&lab);
    let line = contract_line(&hosts, &[]);
    assert!(kill_at(&site, &lab, &line, "10.8.14.200/etcd.install"), "the installation began");
    lab.host(0).exec("timeout 20 sh -c 'until rpm -q etcd && ! pgrep -x dnf; do sleep 0.2; done'");
    let rpms = Lab::rpms(&["extras"]).into_iter().filter(|path| path.to_string_lossy().contains("docker-registry"));
    lab.host(0).install(&rpms.collect::<Vec<_>>());
    site.run(&lab, &line).expect_ok();
    let record = lab.host(0).sh("cat /var/lib/sunshine-installer/record");
    assert!(record.contains("package\tetcd.x86_64\t-\t") && !record.contains("docker-registry"), "{record}");
    let reset = ["cluster", "reset", "--yes", "--wipe-data", "--host", &hosts[0]];
    site.run(&lab, &reset).expect_ok();
    assert_eq!(lab.host(0).exec("rpm -q etcd").code, Some(1), "etcd came by the product");
    lab.host(0).sh("rpm -q docker-registry && ! ls -d /var/lib/sunshine-installer");
    // Killed when the last line had left the record, and the folder had not gone.
    lab.host(0).sh("d=/var/lib/sunshine-installer; mkdir $d && printf 'format\\t2\\t-\\n' >$d/record");
    site.run(&lab, &reset).expect_ok();
    lab.host(0).sh("! ls -d /var/lib/sunshine-installer");
}

/// The steps that an addition to a cluster with data has beside those: none of them may cost the data, and no member may
/// be added twice.
#[test]
fn an_addition_killed_at_any_step_keeps_the_data_and_is_completed() {
    if !Lab::here() {
        return;
    }
    let site = Site::with(&["etcd"]);
    let mut lab = Lab::up(1);
    site.run(&lab, &contract_line(&targets(&lab), &[])).expect_ok();
    etcdctl(lab.host(0), "put kept value");
    let mut steps = ["etcd.configure", "etcd.join", "etcd.start", "etcd.promote", "etcd.answers"];
    steps.shuffle(&mut seeded());
    for step in steps.into_iter().take(faults(steps.len(), 2)) {
        let host = lab.add().target();
        let address = lab.hosts().last().expect("the new host").address().to_owned();
        let line = ["etcd", "add", "--host", &host];
        assert!(kill_at(&site, &lab, &line, &format!("{address}/{step}")), "{step} began");
        site.run(&lab, &line).expect_ok();
        let new = lab.hosts().last().expect("the new host");
        assert!(etcdctl(new, "get --print-value-only kept").contains("value"), "{step}");
        let list = etcdctl(new, "member list");
        assert_eq!(list.matches(&address).count(), 2, "once, with its peer and its client URL, after {step}: {list}");
        assert!(!list.contains("true") && !list.contains("unstarted"), "{step}: {list}");
        site.run(&lab, &["etcd", "remove", "--host", &host]).expect_ok();
    }
}
