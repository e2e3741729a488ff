//! Upstream's Calico, by its manifest as it is.

use super::{HOSTS, INSIDE, eventually, whole};
use crate::lab::{Host, Lab, Output};
use crate::site::{Site, assert_unchanged_but, at_rest};

const GROUPS: [&str; 5] = ["etcd-3.6", "containerd-2", "kubeadm-1.36", "calico", "agnhost"];

/// What one host sends to the other by its second interface, which Calico would take by itself, is lost.
const APART: &str = "{ 02:00:0a:08:0f:c8 . 02:00:0a:08:0f:c9, 02:00:0a:08:0f:c9 . 02:00:0a:08:0f:c8 }";

fn line() -> Vec<&'static str> {
    let mut line = vec!["-K", "onekey_deploy_ctl", "-create_etcd_cluster", "--host-list", HOSTS[0]];
    line.extend(["-create_k8s_cluster", "--master-host-list", HOSTS[0], "--node-host-list", HOSTS[0], HOSTS[1]]);
    line.extend(["-cni", "calico"]);
    line
}

/// The users that etcd's package makes. And what systemd mounts by itself, but not where a host is a container: Calico does there.
fn may_stay(line: &str) -> bool {
    line.starts_with("etcd:x:") || line.contains("/var/lib/etcd") || line == "/sys/fs/bpf bpf"
}

/// A pod on the first host asks the service by its name; its own pod is on the second one.
fn ask(pod: &str, wanted: &str) -> String {
    let curl = "curl -fsS -m 3 http://server.default.svc.cluster.local/hostname";
    format!("kubectl exec {pod} -- sh -c '{curl}; [ $? = {wanted} ]'")
}

fn apply(lab: &Lab, objects: &str) {
    lab.host(0).sh(&format!("kubectl apply -f - <<'Y'\n{objects}\nY"));
}

fn a_policy_is_enforced_between_hosts(lab: &Lab) {
    let image = lab.host(1).sh("ctr -n k8s.io images list -q 2>/dev/null | grep /agnhost: | head -n 1");
    apply(lab, &include_str!("calico.yaml").replace("IMAGE", image.trim()));
    lab.host(0).sh("kubectl wait --for=condition=Ready pod/server pod/friend pod/stranger --timeout=120s");
    for pod in ["friend", "stranger"] {
        assert_eq!(eventually(lab, 0, &ask(pod, "0")).trim(), "server", "{pod}");
    }
    apply(lab, include_str!("calico-policy.yaml"));
    // What is denied gets no answer.
    eventually(lab, 0, &ask("stranger", "28"));
    assert_eq!(eventually(lab, 0, &ask("friend", "0")).trim(), "server");

    // Hosts of one network need no tunnel, and have it all the same where the site says so.
    let by_tunnel = "ip route | grep -q '^10[.]244[.].* dev vxlan[.]calico'";
    lab.host(0).sh(&format!("! {by_tunnel}"));
    lab.host(0).sh(r#"kubectl patch ippool default-ipv4-ippool --type=merge -p '{"spec": {"vxlanMode": "Always"}}'"#);
    eventually(lab, 0, by_tunnel);
    eventually(lab, 1, by_tunnel);
    assert_eq!(eventually(lab, 0, &ask("friend", "0")).trim(), "server");
    eventually(lab, 0, &ask("stranger", "28"));
    lab.host(0).sh("kubectl delete pod/server pod/friend pod/stranger service/server --wait=false");
}

/// Neither the host's nft nor its ipset was there to see or to remove these.
fn no_table_or_set_is_left(host: &Host) {
    let tools = ["nftables-", "libnftables1-", "libjansson4-", "ipset-", "libipset13-"];
    let mut rpms = Lab::rpms(&["kubernetes", "kubeadm-1.36"]);
    rpms.retain(|path| {
        path.file_name().is_some_and(|name| tools.iter().any(|tool| name.to_string_lossy().starts_with(tool)))
    });
    host.install(&rpms);
    assert_eq!(host.sh("nft list tables | grep -E 'calico|kube-proxy' || :"), "");
    assert_eq!(host.sh("ipset list -n"), "");
}

#[test]
fn calico_connects_pods_by_the_nodes_addresses_enforces_policies_and_leaves_nothing_behind() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::builder().hosts(2).second_interface().up();
    let site = Site::with(&GROUPS);
    Output::of(lab.run("nft").args(["add", "element", "bridge", "lab", "apart", APART])).expect_ok();
    let before: Vec<String> = lab.hosts().iter().map(at_rest).collect();
    assert_eq!(lab.host(0).sh("command -v nft ipset || :"), "", "programs that a host need not have");
    site.run(&lab, &line()).expect_ok();
    whole(&site, &lab, 2);
    for (node, address) in [("host0", "10.8.14.200/24"), ("host1", "10.8.14.201/24")] {
        let path = r"jsonpath='{.metadata.annotations.projectcalico\.org/IPv4Address}'";
        assert_eq!(eventually(&lab, 0, &format!("kubectl get node {node} -o {path}")), address);
    }
    let pool = lab.host(0).sh("kubectl get ippools.crd.projectcalico.org -o jsonpath='{.items[*].spec.cidr}'");
    assert_eq!(pool, INSIDE[0]);
    a_policy_is_enforced_between_hosts(&lab);
    site.changes_nothing(&lab, &line());
    lab.assert_no_egress(&INSIDE);

    let leaving = lab.host(1);
    site.run(&lab, &["cluster", "remove", "--node", HOSTS[1]]).expect_ok();
    assert_unchanged_but(leaving, &before[1], may_stay);
    site.run(&lab, &["cluster", "add", "--node", HOSTS[1]]).expect_ok();
    whole(&site, &lab, 2);
    site.run(&lab, &["cluster", "reset", "--yes", "--wipe-data", "--host", HOSTS[0], HOSTS[1]]).expect_ok();
    for (host, before) in lab.hosts().iter().zip(&before) {
        assert_unchanged_but(host, before, may_stay);
        no_table_or_set_is_left(host);
    }
}
