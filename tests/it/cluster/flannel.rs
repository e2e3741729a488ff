//! The network of flannel's package: its subnets are in etcd, and Docker's bridge connects the pods.

use serde_json::Value;

use super::{HOSTS, INSIDE, askers, eventually, whole};
use crate::etcd::etcdctl;
use crate::lab::{Host, Lab};
use crate::site::{Site, assert_unchanged, assert_unchanged_but, at_rest};

const GROUPS: [&str; 5] = ["etcd", "docker", "kubernetes", "extras", "flannel-0.14"];

/// etcd and the control plane on the first host, nodes on both.
fn line() -> Vec<&'static str> {
    let etcd = ["-K", "onekey_deploy_ctl", "-create_etcd_cluster", "--host-list", HOSTS[0], HOSTS[1]];
    let cluster = ["-create_k8s_cluster", "--master-host-list", HOSTS[0], "--node-host-list", HOSTS[0], HOSTS[1]];
    [&etcd[..], &cluster, &["-cni", "flannel"]].concat()
}

/// etcdctl of API 2 or 3 on a worker node, by flannel's certificate.
fn by_flannel(host: &Host, api: u32, words: &str) -> crate::lab::Output {
    let pki = "/etc/kubernetes/pki/flannel-etcd";
    let keys = match api {
        2 => format!("--ca-file {pki}-ca.crt --cert-file {pki}.crt --key-file {pki}.key"),
        _ => format!("--cacert {pki}-ca.crt --cert {pki}.crt --key {pki}.key"),
    };
    host.exec(&format!("ETCDCTL_API={api} command etcdctl --endpoints https://10.8.14.200:2379 {keys} {words} 2>&1"))
}

#[test]
fn flannel_of_the_package_connects_pods_and_may_touch_nothing_else_in_etcd() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(3);
    let site = Site::with(&GROUPS);
    let (first, worker, later) = (lab.host(0), lab.host(1), lab.host(2));
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

    limited(worker);
    first.sh("kubectl create configmap kept --from-literal=a=b");
    site.changes_nothing(&lab, &line());

    // etcd goes on asking, and the product goes on being answered.
    std::fs::write(site.path("password"), "111111\n").expect("a file for the password");
    let run = |words: &[&str]| site.run(&lab, &[words, &["--ssh-password-file", "password"]].concat()).expect_ok();
    run(&["etcd", "add", "--host", HOSTS[2]]);
    assert!(etcdctl(later, "get /registry/configmaps/default/kept --keys-only").contains("kept"));
    let status = site.run(&lab, &["etcd", "status", "--json"]).expect_ok().stdout;
    let status: Value = serde_json::from_str(&status).expect("one JSON object");
    let members = status["members"].as_object().expect("members");
    assert!(members.len() == 3 && members.values().all(|member| member["healthy"] == true), "{status}");
    run(&["etcd", "remove", "--host", HOSTS[2]]);
    assert_eq!(etcdctl(first, "member list").matches("started").count(), 2);
    run(&["cluster", "certs", "renew"]);
    whole(&site, &lab, 2);
    limited(worker);

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

/// With flannel's certificate no key can be read or written but flannel's own.
fn limited(worker: &Host) {
    for (api, words) in
        [(3, "get / --prefix"), (3, "put /other x"), (3, "member remove 1234"), (2, "ls /"), (2, "set /other x")]
    {
        let output = by_flannel(worker, api, words);
        let is_refused = ["permission denied", "user name not found", "Insufficient credentials"];
        assert!(
            !output.ok() && is_refused.iter().any(|said| output.stdout.contains(said)),
            "{words}: {}",
            output.stdout
        );
    }
    let own = by_flannel(worker, 2, "get /atomic.io/network/config");
    assert!(own.ok() && own.stdout.contains("10.244.0.0/16"), "{}", own.stdout);
    assert!(by_flannel(worker, 2, "ls /atomic.io/network/subnets").stdout.contains("/10.244."));
    assert_eq!(
        worker.sh("grep -l 'BEGIN.*PRIVATE KEY' /etc/kubernetes/pki/*etcd*.key"),
        "/etc/kubernetes/pki/flannel-etcd.key"
    );
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
