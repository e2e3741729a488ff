//! A cluster of current Kubernetes, which kubeadm makes from upstream's rpms and images.

use crate::lab::Lab;
use crate::site::{Site, assert_unchanged, at_rest};

use super::{HOSTS, INSIDE};

const GROUPS: [&str; 5] = ["etcd-3.6", "containerd-2", "kubeadm-1.36", "flannel", "agnhost"];

fn line() -> Vec<&'static str> {
    let mut line = vec!["-K", "onekey_deploy_ctl", "-create_etcd_cluster", "--host-list", HOSTS[0]];
    line.extend(["-create_k8s_cluster", "--master-host-list", HOSTS[0], "--node-host-list", HOSTS[1], HOSTS[2]]);
    line
}

/// A pod on a worker node reaches a service by name, whose pod runs on the other one.
fn names_and_services_work(lab: &Lab) {
    let image = lab.host(1).sh("ctr -n k8s.io images list -q 2>/dev/null | grep /agnhost: | head -n 1");
    let objects = include_str!("kubeadm.yaml").replace("IMAGE", image.trim());
    lab.host(0).sh(&format!("kubectl apply -f - <<'Y'\n{objects}\nY"));
    lab.host(0).sh("kubectl wait --for=condition=Ready pod/server pod/client --timeout=120s");
    let ask = "kubectl exec client -- curl -fsS -m 3 http://server.default.svc.cluster.local/hostname";
    assert_eq!(super::eventually(lab, 0, ask).trim(), "server");
    lab.host(0).sh("kubectl delete pod/server pod/client service/server --wait=false");
}

/// Kills the run a moment after `step` has begun, while kubeadm is at work on the host.
fn kill_within(site: &Site, lab: &Lab, step: &str) {
    let mut begun = false;
    let code = site.watch(lab, &line(), |event| {
        if event["event"] == "step_started" && event["step"] == step {
            begun = true;
            let host = if step.starts_with("10.8.14.200") { 0 } else { 1 };
            super::eventually(lab, host, "pgrep -x kubeadm");
        }
        !begun
    });
    assert!(begun && code.is_none(), "{step}: {code:?}");
}

#[test]
fn kubeadm_killed_in_init_and_in_join_is_completed_by_the_same_line() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(3);
    let site = Site::with(&GROUPS);
    kill_within(&site, &lab, "10.8.14.200/kubeadm.init");
    // Where kubeadm itself dies as well, half a control plane is left.
    super::eventually(&lab, 0, "[ -e /etc/kubernetes/manifests/kube-apiserver.yaml ]");
    lab.host(0).sh("pkill -KILL -x kubeadm; :");
    kill_within(&site, &lab, "10.8.14.201/kubeadm.join");
    site.run(&lab, &line()).expect_ok();
    let nodes = lab.host(0).sh("kubectl get nodes --no-headers");
    assert_eq!(nodes.matches(" Ready ").count(), 3, "{nodes}");
    names_and_services_work(&lab);
}

#[test]
fn kubeadm_makes_a_cluster_of_its_packages_and_the_line_again_changes_nothing() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(3);
    let site = Site::with(&GROUPS);
    let before = at_rest(lab.host(2));
    let planned = site.run(&lab, &[&line()[..], &["--dry-run"]].concat()).expect_ok();
    let planned = planned.stdout + &planned.stderr;
    assert_eq!(planned.matches("pull image registry.k8s.io/pause:3.10.2 (").count(), 3, "{planned}");
    site.run(&lab, &line()).expect_ok();
    let images = lab.host(1).sh("ctr -n k8s.io images ls");
    let pulled = images.lines().filter(|line| line.contains("registry.k8s.io/") && line.contains("@sha256:"));
    assert!(pulled.clone().count() > 3 && pulled.clone().all(|line| line.contains("pinned=pinned")), "{images}");
    assert_eq!(
        lab.host(1).sh("ls /run/sunshine-installer 2>/dev/null | wc -l"),
        "0",
        "the address of the registry is gone"
    );
    let nodes = lab.host(0).sh("kubectl get nodes --no-headers");
    assert_eq!(nodes.matches(" Ready ").count(), 3, "{nodes}");
    assert_eq!(nodes.matches("v1.36.3").count(), 3, "{nodes}");
    names_and_services_work(&lab);

    let code = site.watch(&lab, &line(), |event| {
        assert_ne!(event["outcome"]["result"], "changed", "{event}");
        true
    });
    assert_eq!(code, Some(0));

    site.run(&lab, &["cluster", "remove", "--node", HOSTS[2]]).expect_ok();
    let nodes = lab.host(0).sh("kubectl get nodes --no-headers");
    assert!(!nodes.contains("host2") && nodes.matches(" Ready ").count() == 2, "{nodes}");
    assert_unchanged(lab.host(2), &before);
    lab.assert_no_egress(&INSIDE);
}
