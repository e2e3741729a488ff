//! `cluster reset`: hosts as they were, data kept unless told otherwise.

use std::collections::BTreeSet;

use crate::cluster::{GROUPS, HOSTS, eventually, whole};
use crate::lab::Lab;
use crate::site::{Site, at_rest};

/// What is allowed to stay: system users of packages, as rpm leaves them, and etcd's data.
fn stays(line: &str) -> bool {
    let users = ["etcd", "kube", "haproxy", "_chrony", "docker"];
    users.iter().any(|user| line.starts_with(&format!("{user}:x:"))) || line.contains("/var/lib/etcd")
}

fn left_over(before: &str, after: &str) -> Vec<String> {
    let (old, new): (BTreeSet<&str>, BTreeSet<&str>) = (before.lines().collect(), after.lines().collect());
    let gone = old.difference(&new).map(|l| format!("- {l}"));
    let come = new.difference(&old).filter(|l| !stays(l)).map(|l| format!("+ {l}"));
    gone.chain(come).collect()
}

#[test]
fn a_reset_leaves_nothing_of_ours_and_the_line_again_brings_the_data_back() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let site = Site::with(&GROUPS);
    let mut line = vec!["-K", "onekey_deploy_ctl", "-create_etcd_cluster", "--host-list", HOSTS[0]];
    line.extend(["-create_k8s_cluster", "--master-host-list", HOSTS[0], "--node-host-list", HOSTS[0]]);
    line.extend(["--repo-route", "tunnel"]);
    let before = at_rest(lab.host(0));
    site.run(&lab, &line).expect_ok();
    lab.host(0).sh("kubectl create configmap kept --from-literal=a=b");
    lab.host(0).sh("kubectl run at-work --image=busybox:latest --image-pull-policy=IfNotPresent -- sleep 1000");
    eventually(&lab, 0, "kubectl wait --for=condition=Ready --timeout=5s pod/at-work");

    let said = site.run(&lab, &["cluster", "reset"]);
    assert_eq!(said.code, Some(2), "passwords are not kept: {}", said.stderr);
    assert!(said.stderr.contains("no credentials for 10.8.14.200"), "{}", said.stderr);

    let reset = ["cluster", "reset", "--host", HOSTS[0]];
    site.run(&lab, &reset).expect_ok();
    let left = left_over(&before, &lab.host(0).snapshot());
    assert!(left.is_empty(), "{left:#?}");
    // Again: nothing to do, and no harm.
    site.run(&lab, &reset).expect_ok();

    site.run(&lab, &line).expect_ok();
    whole(&site, &lab, 1);
    assert_eq!(lab.host(0).sh("kubectl get configmap kept -o 'jsonpath={.data.a}'"), "b");
    eventually(&lab, 0, "kubectl wait --for=condition=Ready --timeout=5s pod/at-work");

    site.run(&lab, &["cluster", "reset", "--host", HOSTS[0], "--wipe-data"]).expect_ok();
    assert_eq!(lab.host(0).exec("test -e /var/lib/etcd").code, Some(1), "its folder goes too");
}
