//! The network of flannel's package: its subnets are in etcd, and Docker's bridge connects the pods.

use super::{HOSTS, INSIDE, askers, eventually, whole};
use crate::lab::Lab;
use crate::site::{Site, assert_unchanged, assert_unchanged_but, at_rest};

const GROUPS: [&str; 5] = ["etcd", "docker", "kubernetes", "extras", "flannel-0.14"];

/// etcd and the control plane on the first host, nodes on both.
fn line() -> Vec<&'static str> {
    let etcd = ["-K", "onekey_deploy_ctl", "-create_etcd_cluster", "--host-list", HOSTS[0], HOSTS[1]];
    let cluster = ["-create_k8s_cluster", "--master-host-list", HOSTS[0], "--node-host-list", HOSTS[0], HOSTS[1]];
    [&etcd[..], &cluster, &["-cni", "flannel"]].concat()
}

#[test]
fn flannel_of_the_package_connects_pods() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(2);
    let site = Site::with(&GROUPS);
    let (first, worker) = (lab.host(0), lab.host(1));
    let before = at_rest(worker);
    site.run(&lab, &line()).expect_ok();
    whole(&site, &lab, 2);

    first.sh(include_str!("../../lab/smoke.sh"));
    let address = first.sh("kubectl get service smoke -o 'jsonpath={.spec.clusterIP}'");
    for node in 0..2 {
        assert_eq!(askers(&lab, node, address.trim()).len(), 2, "both pods answer host {node}");
    }
    let pods = first.sh("kubectl get pods -l app=smoke -o 'jsonpath={.items[*].status.podIP}'");
    let at = "nsenter -n -t $(docker inspect -f '{{.State.Pid}}' $(docker ps -q --filter name=k8s_web_smoke))";
    for pod in pods.split_whitespace() {
        let answer = eventually(&lab, 1, &format!("{at} curl -fsS -m 3 http://{pod}:8080/"));
        assert!(answer.starts_with("smoke-"), "{pod}: {answer}");
    }
    let subnet = worker.sh(". /run/flannel/subnet.env; echo $FLANNEL_SUBNET $FLANNEL_MTU");
    let (subnet, mtu) = subnet.trim().split_once(' ').expect("a subnet and an MTU");
    assert!(worker.sh("ip -o -4 addr show docker0").contains(&format!(" {subnet} ")));
    assert!(worker.sh(&format!("{at} ip link show eth0")).contains(&format!("mtu {mtu} ")));

    site.changes_nothing(&lab, &line());

    // A host that boots again gets its subnet before Docker starts.
    worker.reboot();
    eventually(&lab, 1, &format!("ip -o -4 addr show docker0 | grep -F ' {subnet} '"));
    assert_eq!(askers(&lab, 1, address.trim()).len(), 2);
    lab.assert_no_egress(&INSIDE);

    site.run(&lab, &["cluster", "reset", "--host", HOSTS[0], "--host", HOSTS[1]]).expect_ok();
    let users = ["etcd", "kube", "haproxy", "_chrony", "docker"];
    let stays =
        |line: &str| users.iter().any(|user| line.starts_with(&format!("{user}:x:"))) || line.contains("/var/lib/etcd");
    assert_unchanged_but(worker, &before, stays);
}

#[test]
fn flannel_of_the_package_is_refused_beside_an_etcd_without_its_api() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let site = Site::with(&["etcd-3.6", "docker", "kubernetes", "flannel-0.14"]);
    let before = at_rest(lab.host(0));
    let etcd = ["-K", "onekey_deploy_ctl", "-create_etcd_cluster", "--host-list", HOSTS[0]];
    let cluster = ["-create_k8s_cluster", "--master-host-list", HOSTS[0], "-cni", "flannel"];
    let output = site.run(&lab, &[&etcd[..], &cluster].concat());
    let told = "the package flannel needs etcd's version 2 API, which etcd 3.6.8 no longer has";
    assert!(output.code == Some(2) && output.stderr.contains(told), "{}", output.stderr);
    assert_unchanged(lab.host(0), &before);
}
