//! The whole site loses power, and its hosts come back one by one: nobody gives a hand.

use std::time::{Duration, Instant};

use crate::lab::Lab;
use crate::site::Site;

use super::kubeadm::kubeadm_control_plane;
use super::{GROUPS, HANGS, HOSTS, eventually, whole};

/// Longer than systemd waits for a unit that starts, etcd's for one, whose other members are not there yet.
const BETWEEN: Duration = Duration::from_secs(100);

/// A pod on each node, and a service.
fn pods(image: &str, program: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: DaemonSet
metadata: {{name: web}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      containers:
      - {{name: web, image: \"{image}\", imagePullPolicy: IfNotPresent, {program}}}
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{selector: {{app: web}}, ports: [{{port: 80, targetPort: 8080}}]}}
"
    )
}

/// Every node reaches the pods of all three by the service.
fn served(lab: &Lab, address: &str) {
    for host in 0..3 {
        let end = Instant::now() + HANGS;
        let mut answers = std::collections::BTreeSet::new();
        while answers.len() < 3 {
            assert!(Instant::now() < end, "host {host} has got answers from {answers:?} alone");
            let output = lab.host(host).exec(&format!("curl -fsS -m 3 http://{address}/hostname"));
            answers.extend(output.stdout.lines().map(str::to_owned));
        }
    }
}

#[allow(clippy::print_stderr, reason = "what was measured")]
fn loses_power_and_serves_again(lab: &Lab, site: &Site, pods: &str) {
    whole(site, lab, 3);
    lab.host(0).sh(&format!("kubectl create configmap kept --from-literal=a=b; kubectl apply -f - <<'Y'\n{pods}\nY"));
    let address = lab.host(0).sh("kubectl get service web -o jsonpath='{.spec.clusterIP}'");
    eventually(lab, 0, "kubectl rollout status daemonset/web --timeout=5s");
    served(lab, &address);

    lab.hosts().iter().for_each(crate::lab::Host::kill);
    for host in [2, 0] {
        lab.host(host).start();
        std::thread::sleep(BETWEEN);
    }
    lab.host(1).start();
    let begun = Instant::now();
    whole(site, lab, 3);
    eventually(lab, 2, "kubectl get configmap kept");
    eventually(lab, 0, "kubectl rollout status daemonset/web --timeout=5s");
    served(lab, &address);
    eprintln!("all of it serves again {:.1} s after the last host has started", begun.elapsed().as_secs_f64());
    let failed = lab.hosts().iter().map(|host| host.sh("systemctl --failed --no-legend --plain")).collect::<String>();
    assert_eq!(failed, "");
}

#[test]
fn a_kubeadm_cluster_whose_hosts_all_lost_power_serves_again() {
    if !Lab::here() {
        return;
    }
    let (lab, site) = (Lab::up(3), Site::with(&kubeadm_control_plane::GROUPS));
    site.run(&lab, &[&["etcd", "create", "--host"][..], &HOSTS].concat()).expect_ok();
    let create = [&["cluster", "create", "--master"][..], &HOSTS, &["--node"], &HOSTS];
    site.run(&lab, &create.concat()).expect_ok();
    let image = lab.host(1).sh("ctr -n k8s.io images list -q 2>/dev/null | grep /agnhost: | head -n 1");
    loses_power_and_serves_again(&lab, &site, &pods(image.trim(), "args: [netexec, --http-port=8080]"));
}

#[test]
fn a_cluster_of_units_whose_hosts_all_lost_power_serves_again() {
    if !Lab::here() {
        return;
    }
    let (lab, site) = (Lab::up(3), Site::with(&GROUPS));
    site.run(&lab, &[&["etcd", "create", "--host"][..], &HOSTS].concat()).expect_ok();
    let create = [&["cluster", "create", "--master"][..], &HOSTS, &["--node"], &HOSTS];
    site.run(&lab, &create.concat()).expect_ok();
    let program = "command: [sh, -c, \"mkdir /w && cd /w && hostname >hostname && exec httpd -f -p 8080\"]";
    loses_power_and_serves_again(&lab, &site, &pods("busybox:latest", program));
}
