//! A cluster as a file: made, shown, applied again, and made smaller on request only.

use std::process::Stdio;

use crate::cluster::{GROUPS, eventually, whole};
use crate::lab::{Lab, Output};
use crate::site::Site;

/// containerd runs the pods, and a manifest of the bundle brings their network.
const FILE: &str = "\
schema: 1
defaults: {passwordFile: password}
kubernetes: {runtime: containerd, network: simple}
hosts:
  - {address: 10.8.14.200, roles: [etcd, control-plane, worker]}
  - {address: 10.8.14.201, roles: [worker]}
";

/// Applies and fails when a step changed something.
#[track_caller]
fn applied_without_change(site: &Site, lab: &Lab, file: &str) {
    site.changes_nothing(lab, &["cluster", "apply", "-f", file]);
}

#[test]
fn a_file_makes_a_cluster_and_only_prune_takes_a_host_out_of_it() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(2);
    let site = Site::with(&GROUPS);
    site.add_manifest(&lab, "simple", include_str!("simple.yaml"));
    std::fs::write(site.path("password"), "111111\n").unwrap();
    std::fs::write(site.path("cluster.yaml"), FILE).unwrap();
    // Images come by the route that hosts have which reach nothing.
    site.run(&lab, &["cluster", "apply", "-f", "cluster.yaml", "--repo-route", "push"]).expect_ok();
    whole(&site, &lab, 2);
    let images = lab.host(1).sh("ctr -n k8s.io images ls");
    assert!(images.contains("k8s.gcr.io/pause:3.2") && images.contains("io.cri-containerd.pinned=pinned"), "{images}");
    let runtime = lab.host(0).sh("kubectl get nodes -o 'jsonpath={.items[*].status.nodeInfo.containerRuntimeVersion}'");
    assert_eq!(runtime.matches("containerd://").count(), 2, "{runtime}");
    lab.host(0).sh("kubectl run there --image=busybox:latest --image-pull-policy=IfNotPresent -- sleep 1000");
    eventually(&lab, 0, "kubectl wait --for=condition=Ready --timeout=5s pod/there");
    applied_without_change(&site, &lab, "cluster.yaml");

    // What is shown is the same cluster.
    let shown = site.run(&lab, &["cluster", "show", "-o", "yaml"]).expect_ok().stdout;
    assert!(shown.contains("address: 10.8.14.201") && !shown.contains("111111"), "{shown}");
    std::fs::write(site.path("shown.yaml"), &shown).unwrap();
    let mut again = site.command(&lab, &["cluster", "apply", "-f", "-", "--json"]);
    again.args(["--ssh-password-file", "password"]);
    again.stdin(Stdio::from(std::fs::File::open(site.path("shown.yaml")).unwrap()));
    let again = Output::of(&mut again).expect_ok();
    assert!(!again.stdout.contains(r#""result":"changed""#), "{}", again.stdout);

    // A file without the second worker changes nothing, and says so.
    let fewer: String = FILE.lines().filter(|line| !line.contains("10.8.14.201")).map(|l| format!("{l}\n")).collect();
    std::fs::write(site.path("fewer.yaml"), fewer).unwrap();
    applied_without_change(&site, &lab, "fewer.yaml");
    let output = site.run(&lab, &["cluster", "apply", "-f", "fewer.yaml"]).expect_ok();
    assert!(output.stderr.contains("10.8.14.201 (worker). It stays as it is; --prune"), "{}", output.stderr);
    whole(&site, &lab, 2);

    // A dry run of its removal neither.
    site.run(&lab, &["cluster", "apply", "-f", "fewer.yaml", "--prune", "--dry-run"]).expect_ok();
    whole(&site, &lab, 2);
    site.run(&lab, &["cluster", "apply", "-f", "fewer.yaml", "--prune", "--yes"]).expect_ok();
    let status = whole(&site, &lab, 1);
    assert!(status["nodes"].get("host1").is_none(), "{status}");
    let left = lab.host(1).sh("systemctl is-active kubelet || true");
    assert_ne!(left.trim(), "active");
    applied_without_change(&site, &lab, "fewer.yaml");
}
