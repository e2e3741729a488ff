//! Images after the run: nothing of the control host is needed for pods to start again.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::lab::Lab;
use crate::site::Site;

use super::kubeadm::GROUPS;
use super::{HOSTS, eventually};

/// A kubelet looks for images to remove every five minutes.
const CLEAN_UP: Duration = Duration::from_secs(900);

/// Sets a node's clean-up thresholds below what its disk has in use, and waits until the kubelet has found nothing to remove.
fn clean_up(lab: &Lab, node: usize) {
    lab.host(node).sh("sed -i /^imageGC/d /var/lib/kubelet/config.yaml
         printf 'imageGCHighThresholdPercent: 2\nimageGCLowThresholdPercent: 1\n' >>/var/lib/kubelet/config.yaml
         systemctl restart kubelet");
    let end = Instant::now() + CLEAN_UP;
    while !lab.host(node).exec("journalctl -u kubelet --no-pager | grep -q 'freed 0 bytes'").ok() {
        assert!(Instant::now() < end, "host{node}'s kubelet did not look for images to remove");
        std::thread::sleep(Duration::from_secs(2));
    }
}

/// A pod of each image on each node that has it, which may not be pulled.
fn pods_of_every_image(lab: &Lab, nodes: usize) -> Vec<Value> {
    let mut pods = Vec::new();
    for node in 0..nodes {
        let images = lab.host(node).sh("ctr -n k8s.io images ls -q 2>/dev/null | grep -v -e @ -e ^sha256:");
        for (at, image) in images.lines().enumerate() {
            pods.push(json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("image-{node}-{at}")},
                "spec": {
                    "nodeName": format!("host{node}"), "restartPolicy": "Never", "tolerations": [{"operator": "Exists"}],
                    "containers": [{"name": "it", "image": image, "imagePullPolicy": "Never"}],
                },
            }));
        }
    }
    pods
}

#[test]
fn lost_control_host_and_power_cut_leave_pods_of_every_image_on_every_node() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(2);
    let site = Site::with(&GROUPS);
    let mut line = vec!["-K", "onekey_deploy_ctl", "-create_etcd_cluster", "--host-list", HOSTS[0]];
    line.extend(["-create_k8s_cluster", "--master-host-list", HOSTS[0], "--node-host-list", HOSTS[0], HOSTS[1]]);
    site.run(&lab, &line).expect_ok();
    // The bundle and all that the control host knew.
    drop(site);
    for node in 0..2 {
        clean_up(&lab, node);
    }
    for node in 0..2 {
        lab.host(node).kill();
    }
    for node in 0..2 {
        lab.host(node).start();
    }
    eventually(&lab, 0, "kubectl wait --for=condition=Ready node --all --timeout=10s");
    eventually(&lab, 0, "kubectl -n kube-system wait --for=condition=Ready pod --all --timeout=10s");

    let pods = pods_of_every_image(&lab, 2);
    assert!(pods.len() > 15, "{pods:?}");
    let list = json!({"apiVersion": "v1", "kind": "List", "items": pods});
    lab.host(0).sh(&format!("kubectl apply -f - >/dev/null <<'END'\n{list}\nEND"));
    // Whatever the program in an image does without arguments: its container was made of an image that is there.
    let ask = "kubectl get pods -o json";
    let end = Instant::now() + CLEAN_UP;
    loop {
        let pods: Value = serde_json::from_str(&lab.host(0).sh(ask)).expect("pods");
        let states: Vec<&Value> =
            pods["items"].as_array().into_iter().flatten().map(|pod| &pod["status"]["containerStatuses"][0]).collect();
        let reason = |state: &Value| state["state"]["waiting"]["reason"].as_str().unwrap_or_default().to_owned();
        assert!(states.iter().all(|state| reason(state) != "ErrImageNeverPull"), "{states:?}");
        if states.iter().all(|state| state["state"].is_object() && reason(state) != "ContainerCreating") {
            return;
        }
        assert!(Instant::now() < end, "{states:?}");
        std::thread::sleep(Duration::from_secs(1));
    }
}
