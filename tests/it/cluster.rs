//! Kubernetes clusters made by the product on real hosts.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests: a panic is how a test fails")]

mod apply;
mod calico;
mod cold_start;
mod docker_in_use;
mod flannel;
mod images_kept;
mod kept_registry;
mod killed;
pub(crate) mod kubeadm;
mod lost;
mod members;
mod no_default_route;
mod registry;
mod reset;
mod shared_host;
mod site_network;
mod site_registry;

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::lab::Lab;
use crate::site::{Site, assert_unchanged, at_rest};

pub(crate) const HOSTS: [&str; 3] = ["root:111111@10.8.14.200", "root:111111@10.8.14.201", "root:111111@10.8.14.202"];

/// Pods' and services' addresses are the lab's own.
const INSIDE: [&str; 2] = ["10.244.0.0/16", "10.254.0.0/16"];

/// What these sites' bundles hold.
pub(crate) const GROUPS: [&str; 4] = ["etcd", "docker", "kubernetes", "extras"];

/// Only what hangs takes so long.
const HANGS: Duration = Duration::from_secs(300);

/// Asks the host until the line succeeds, and returns what it printed.
#[track_caller]
fn eventually(lab: &Lab, host: usize, line: &str) -> String {
    let end = Instant::now() + HANGS;
    loop {
        let output = lab.host(host).exec(line);
        if output.ok() {
            return output.stdout;
        }
        assert!(Instant::now() < end, "{line}: {}{}", output.stdout, output.stderr);
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Waits until `cluster status` calls everything well, and returns what it says.
#[track_caller]
pub(crate) fn whole(site: &Site, lab: &Lab, nodes: usize) -> Value {
    let end = Instant::now() + HANGS;
    loop {
        let output = site.run(lab, &["cluster", "status", "--json"]);
        let status: Value = serde_json::from_str(&output.stdout).unwrap_or_default();
        if output.ok() && status["nodes"].as_object().is_some_and(|n| n.len() == nodes) {
            return status;
        }
        assert!(Instant::now() < end, "{}{}", output.stdout, output.stderr);
        std::thread::sleep(Duration::from_secs(1));
    }
}

pub(crate) fn whole_line() -> Vec<&'static str> {
    let mut line = vec!["-K", "onekey_deploy_ctl", "-create_etcd_cluster", "--host-list"];
    line.extend(HOSTS);
    line.extend(["-create_k8s_cluster", "--master-host-list", HOSTS[0], "--node-host-list"]);
    line.extend(HOSTS);
    line
}

/// Asks the service from a node until both pods have answered, and returns who did. kube-proxy looks only every half
/// minute whether somebody emptied the packet filter.
pub(crate) fn askers(lab: &Lab, node: usize, address: &str) -> std::collections::BTreeSet<String> {
    let mut answers = std::collections::BTreeSet::new();
    let end = Instant::now() + HANGS;
    while answers.len() < 2 && Instant::now() < end {
        let output = lab.host(node).exec(&format!("curl -fsS -m 3 http://{address}/"));
        answers.extend(output.stdout.lines().map(str::to_owned));
    }
    answers
}

#[test]
fn the_whole_line_makes_a_cluster_whose_pods_answer_across_nodes() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(3);
    let site = Site::with(&GROUPS);
    site.run(&lab, &whole_line()).expect_ok();
    let nodes = lab.host(0).sh("kubectl get nodes --no-headers");
    assert_eq!(nodes.matches(" Ready ").count(), 3, "{nodes}");
    // The ports without TLS of scheduler and controller manager.
    let plain = lab.host(0).sh("ss -Hltn | awk '$4 ~ /:1025[12]$/ && $4 !~ /^127/'");
    assert_eq!(plain, "");

    lab.host(0).sh(include_str!("../lab/smoke.sh"));
    let address = lab.host(0).sh("kubectl get service smoke -o 'jsonpath={.spec.clusterIP}'");
    for node in 0..3 {
        assert_eq!(askers(&lab, node, address.trim()).len(), 2, "both pods answer host {node}");
    }
    lab.host(0).sh("kubectl delete deployment,service smoke");

    site.changes_nothing(&lab, &whole_line());
    lab.assert_no_egress(&INSIDE);
}

#[test]
fn packages_that_are_missing_are_named_before_any_host_is_touched() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let site = Site::with(&["etcd"]);
    let before = at_rest(lab.host(0));
    let unknown = site.run(&lab, &["cluster", "create", "--master", HOSTS[0], "--cni", "calico"]);
    assert_eq!(unknown.code, Some(2), "{}", unknown.stderr);
    let output = site.run(&lab, &["cluster", "create", "--master", HOSTS[0]]);
    assert_eq!(output.code, Some(2), "{}", output.stderr);
    assert!(output.stderr.contains("kubernetes-master") && output.stderr.contains("-fm"), "{}", output.stderr);
    assert_unchanged(lab.host(0), &before);
}
