//! A cluster of current Kubernetes, which kubeadm makes from upstream's rpms and images.

mod applied;
mod encryption;
mod etcd_data;
mod families;
mod gap;
pub(super) mod kubeadm_control_plane;
mod kubeadm_control_plane_lost;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::lab::Lab;
use crate::site::{Site, assert_unchanged, at_rest};

use super::{HANGS, HOSTS, INSIDE};

mod preflight;
mod settings;
mod updates;

pub(crate) const GROUPS: [&str; 5] = ["etcd-3.6", "containerd-2", "kubeadm-1.36", "flannel", "agnhost"];

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

/// Waits until `cluster status` names this image as missing on host1, or none.
fn missing(lab: &Lab, site: &Site, image: Option<&str>) {
    let end = Instant::now() + HANGS;
    loop {
        let output = site.run(lab, &["cluster", "status", "--json"]);
        let status: Value = serde_json::from_str(&output.stdout).unwrap_or_default();
        let named = status["nodes"]["host1"]["images"]["missing"].as_array().cloned().unwrap_or_default();
        if image.map_or(named.is_empty(), |image| named.contains(&json!(image))) {
            return assert_eq!(output.code, Some(i32::from(image.is_some())), "{}", output.stdout);
        }
        assert!(Instant::now() < end, "{}{}", output.stdout, output.stderr);
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn a_removed_image_is_named_and_brought_back(lab: &Lab, site: &Site) {
    let image = lab.host(1).sh("ctr -n k8s.io images list -q 2>/dev/null | grep /agnhost: | head -n 1");
    let image = image.trim();
    lab.host(1).sh(&format!("crictl -r unix:///run/containerd/containerd.sock rmi {image}"));
    missing(lab, site, Some(image));
    let said = site.run(lab, &["cluster", "status"]).stdout;
    assert!(
        said.contains("`cluster images sync` brings them back") && said.contains(&format!("\n  {image}\n")),
        "{said}"
    );
    let mut changed = 0;
    let code = site.watch(lab, &["cluster", "images", "sync", "--host", HOSTS[1]], |event| {
        changed += i32::from(event["outcome"]["result"] == "changed");
        true
    });
    assert_eq!((code, changed), (Some(0), 1), "one host, one step");
    missing(lab, site, None);
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
    // A site without a nameserver, whose hosts name a proxy that is not there to every login.
    for host in lab.hosts() {
        host.sh("printf 'https_proxy=http://10.8.14.99:3128\nhttp_proxy=http://10.8.14.99:3128\n' >>/etc/environment");
    }
    lab.host(0).sh("rm /etc/resolv.conf");
    lab.host(1).sh("echo 'search site.example' >/etc/resolv.conf");
    lab.host(2).sh("rm /etc/resolv.conf");
    updates::exclude_glibc(&lab);
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
    let dns = "kubectl -n kube-system get pods -l k8s-app=kube-dns -o jsonpath='{range .items[*]}{.spec.nodeName}{\"\\n\"}{end}'";
    super::eventually(&lab, 0, &format!("[ \"$({dns} | sort -u | wc -l)\" = 2 ]"));
    assert_eq!(lab.host(0).sh("grep -il https_proxy /etc/kubernetes/manifests/* || :"), "");
    names_and_services_work(&lab);

    site.changes_nothing(&lab, &line());

    a_removed_image_is_named_and_brought_back(&lab, &site);
    updates::change_nothing_of_the_cluster(&lab, &site);

    site.run(&lab, &["cluster", "remove", "--node", HOSTS[2]]).expect_ok();
    let nodes = lab.host(0).sh("kubectl get nodes --no-headers");
    assert!(!nodes.contains("host2") && nodes.matches(" Ready ").count() == 2, "{nodes}");
    assert_unchanged(lab.host(2), &before);

    site.run(&lab, &["cluster", "add", "--node", HOSTS[2]]).expect_ok();
    let nodes = lab.host(0).sh("kubectl get nodes --no-headers");
    assert_eq!(nodes.matches(" Ready ").count(), 3, "{nodes}");
    let tokens = lab
        .host(0)
        .sh("kubectl -n kube-system get secrets --field-selector type=bootstrap.kubernetes.io/token -o name");
    assert_eq!(tokens, "", "a token ends with the step that it was made for");
    lab.assert_no_egress(&INSIDE);

    updates::are_named_that_heed_no_exclude(&lab, &site);
}

/// A load balancer of the site on this host, for the API servers of the first three.
fn balance(lab: &Lab, on: usize) {
    lab.host(on).install(&Lab::rpms(&["extras"]));
    let ask = "check check-ssl verify none inter 1s fall 2 rise 1 on-marked-down shutdown-sessions";
    let servers = [200, 201, 202].map(|n| format!("  server s{n} 10.8.14.{n}:6443 {ask}\n")).concat();
    let config = format!(
        "defaults\n  mode tcp\n  timeout connect 5s\n  timeout check 2s\n  timeout client 1h\n  timeout server 1h\n\
         listen api\n  bind :6443\n  option httpchk GET /readyz\n  http-check expect status 200\n{servers}"
    );
    lab.host(on).sh(&format!("cat >/etc/haproxy/haproxy.cfg <<'END'\n{config}END\nsystemctl restart haproxy"));
}

#[test]
fn kubeadm_control_plane_nodes_join_behind_a_load_balancer_and_one_may_be_lost() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(4);
    let site = Site::with(&GROUPS);
    balance(&lab, 3);
    let before = at_rest(lab.host(2));
    settings::write(&site);
    let create = settings::APPLY;
    // A control plane node whose kubeadm was killed joins by the same line.
    let mut begun = false;
    let code = site.watch(&lab, &create, |event| {
        if event["event"] == "step_started" && event["step"] == "10.8.14.201/kubeadm.join" {
            begun = true;
            super::eventually(&lab, 1, "[ -e /etc/kubernetes/manifests/kube-apiserver.yaml ]");
        }
        !begun
    });
    assert!(begun && code.is_none(), "{code:?}");
    lab.host(1).sh("pkill -KILL -x kubeadm; :");
    let said = site.run(&lab, &create).expect_ok().stderr;
    for ignored in ["kubernetes.apiServer.extraArgs.etcd-servers", "kubernetes.kubelet.config.cgroupDriver"] {
        assert!(said.contains(&format!("{ignored} is ignored: ")), "{said}");
    }
    let nodes = lab.host(0).sh("kubectl get nodes --no-headers");
    assert_eq!((nodes.matches(" Ready ").count(), nodes.matches("control-plane").count()), (3, 3), "{nodes}");
    settings::keep_a_secret(&lab);
    (0..3).for_each(|host| settings::count_on(&lab, host));
    settings::hide_the_key(&site);
    let taints = lab.host(0).sh("kubectl get nodes -o jsonpath='{.items[*].spec.taints[*].key}'");
    assert_eq!(
        taints, "node-role.kubernetes.io/control-plane",
        "a control plane node that is no worker keeps its taint"
    );

    site.changes_nothing(&lab, &create);
    settings::change(&lab, &site);

    // A label that somebody took away comes back; the node is not joined anew.
    let born = || lab.host(0).sh("kubectl get node host1 -o jsonpath='{.metadata.uid}'");
    let before_it = born();
    lab.host(0).sh("kubectl label node host1 node-role.kubernetes.io/control-plane-");
    site.run(&lab, &create).expect_ok();
    assert_eq!(born(), before_it);
    let nodes = lab.host(0).sh("kubectl get nodes --no-headers");
    assert_eq!(nodes.matches("control-plane").count(), 3, "{nodes}");

    let refused = site.run(&lab, &["cluster", "remove", "--node", HOSTS[1]]);
    assert!(refused.code == Some(2) && refused.stderr.contains("leaves with all of its roles"), "{refused:?}");
    site.run(&lab, &["cluster", "remove", "--master", HOSTS[2]]).expect_ok();
    assert_unchanged(lab.host(2), &before);
    site.run(&lab, &["cluster", "add", "--master", HOSTS[2], "--node", HOSTS[2]]).expect_ok();
    settings::count_on(&lab, 2);

    // The one that began the cluster is lost for good.
    lab.host(0).kill();
    super::eventually(&lab, 1, "kubectl get nodes");
    let first = ["--master", HOSTS[0], "--node", HOSTS[0], "--force", "--yes"];
    site.run(&lab, &[&["cluster", "remove", "--drain-timeout", "5"][..], &first].concat()).expect_ok();
    let nodes = lab.host(1).sh("kubectl get nodes --no-headers");
    assert!(!nodes.contains("host0") && nodes.matches(" Ready ").count() == 2, "{nodes}");
    super::whole(&site, &lab, 2);
}
