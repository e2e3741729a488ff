//! Masters, nodes and etcd members come and go; the cluster works on.

use crate::cluster::{GROUPS, HOSTS, askers, eventually, whole};
use crate::lab::Lab;
use crate::site::Site;

const FOURTH: &str = "root:111111@10.8.14.203";

/// Every host is everything.
fn three_of_each() -> Vec<&'static str> {
    let mut line = vec!["-K", "onekey_deploy_ctl", "-create_etcd_cluster", "--host-list"];
    line.extend(HOSTS);
    line.extend(["-create_k8s_cluster", "--master-host-list"]);
    line.extend(HOSTS);
    line.push("--node-host-list");
    line.extend(HOSTS);
    line
}

#[test]
fn any_one_host_may_be_lost_and_the_first_master_may_leave() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(4);
    let site = Site::with(&GROUPS);
    site.run(&lab, &three_of_each()).expect_ok();
    whole(&site, &lab, 3);
    lab.host(0).sh("kubectl create configmap kept --from-literal=a=b");

    // The host that leads; from the two others' loopback the API answers on.
    lab.host(1).kill();
    for host in [0, 2] {
        eventually(&lab, host, "kubectl get configmap kept");
    }
    // Until the dead node is known to be dead, a pod may still be given to it.
    eventually(&lab, 0, "kubectl wait --for=condition=Ready=Unknown --timeout=5s node/host1");
    lab.host(0).sh("kubectl run late --image=busybox:latest --image-pull-policy=IfNotPresent -- sleep 1000");
    eventually(&lab, 2, "kubectl wait --for=condition=Ready --timeout=5s pod/late");
    let output = site.run(&lab, &["cluster", "status"]);
    assert_eq!(output.code, Some(1), "{}", output.stdout);
    assert!(output.stdout.contains("Unhealthy"), "{}", output.stdout);
    lab.host(1).start();
    whole(&site, &lab, 3);

    // A fourth as node, then as everything; the first leaves.
    site.run(&lab, &["cluster", "add", "--node", FOURTH]).expect_ok();
    whole(&site, &lab, 4);
    let refused = site.run(&lab, &["cluster", "add", "--master", FOURTH, "--etcd", FOURTH]);
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains("no credentials for 10.8.14.200"), "{}", refused.stderr);
    let replace = ["cluster", "replace", "--master", HOSTS[0], "--with", FOURTH, "--also", HOSTS[1], HOSTS[2]];
    let planned = site.run(&lab, &[&replace[..], &["--dry-run"]].concat()).expect_ok();
    let planned = planned.stdout + &planned.stderr;
    assert!(planned.contains("10.8.14.203") && planned.contains("drain node host0"), "{planned}");
    // Killed where the new host is in and the old one is about to leave, the same line goes on.
    let code = site.watch(&lab, &replace, |event| event["step"] != "/drain.10.8.14.200");
    assert_eq!(code, None, "killed");
    site.run(&lab, &replace).expect_ok();
    let done = site.run(&lab, &replace).expect_ok();
    assert!(format!("{}{}", done.stdout, done.stderr).contains("nothing is left to do"), "{done:?}");
    let status = whole(&site, &lab, 3);
    assert!(status["nodes"].get("host0").is_none(), "{status}");
    assert_eq!(lab.host(3).sh("kubectl get configmap kept -o 'jsonpath={.data.a}'"), "b");
    assert_eq!(lab.host(0).sh("rpm -qa | grep -cE 'kube|etcd|docker|haproxy' || :"), "0");

    // Pods answer across the nodes that are there now, the fourth among them.
    lab.host(1).sh(include_str!("../../lab/smoke.sh"));
    let address = lab.host(1).sh("kubectl get service smoke -o 'jsonpath={.spec.clusterIP}'");
    for node in 1..4 {
        assert_eq!(askers(&lab, node, address.trim()).len(), 2, "both pods answer host {node}");
    }

    // What is not there is said, and is no failure; the last control plane node stays.
    let again = site.run(&lab, &["cluster", "remove", "--node", HOSTS[0]]);
    assert!(again.ok() && format!("{}{}", again.stdout, again.stderr).contains("is no worker node"), "{again:?}");
    let last = site.run(&lab, &["cluster", "remove", "--master", HOSTS[1], HOSTS[2], FOURTH]);
    assert_eq!(last.code, Some(2), "{}", last.stderr);
    assert!(last.stderr.contains("last control plane node"), "{}", last.stderr);
}
