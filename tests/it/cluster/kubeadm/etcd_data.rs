//! etcd is none of kubeadm's: its data outlives what kubeadm takes away.

use crate::cluster::{HOSTS, eventually};
use crate::lab::Lab;
use crate::site::Site;

use super::GROUPS;

/// A network manifest as a site has one: flannel by VXLAN and iptables, with the lab's images.
fn manifest() -> String {
    let text =
        include_str!("../../../../src/flow/kubernetes/flannel_builtin.yaml").replace("kube-flannel-ds", "site-flannel");
    Lab::rpms(&["flannel"]).iter().fold(text, |text, file| {
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        let (name, version) = stem.rsplit_once("-v").unwrap_or_default();
        let place = if name == "flannel" { "FLANNEL-IMAGE" } else { "CNI-PLUGIN-IMAGE" };
        text.replace(place, &format!("ghcr.io/flannel-io/{name}:v{version}"))
    })
}

#[test]
fn etcd_s_data_outlives_kubeadm_s_reset_of_its_host() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(2);
    let site = Site::with(&GROUPS);
    // The only manifest of the bundle comes before the built-in one.
    site.add_manifest(&lab, "site-net", &manifest());
    // The member is on the worker node's host.
    let make = || {
        site.run(&lab, &["etcd", "create", "--host", HOSTS[1]]).expect_ok();
        site.run(&lab, &["cluster", "create", "--master", HOSTS[0], "--node", HOSTS[0], HOSTS[1]]).expect_ok();
    };
    let member = || lab.host(1).sh("stat -c %i /var/lib/etcd/default.etcd/member");
    make();
    lab.host(0).sh("kubectl create configmap kept --from-literal a=b");
    let first = member();

    site.run(&lab, &["cluster", "remove", "--yes", "--node", HOSTS[1]]).expect_ok();
    assert_eq!(member(), first);
    // A member goes on with files that were deleted, until it is started again.
    lab.host(1).sh("systemctl restart etcd");
    let kept = "kubectl get configmap kept -o 'jsonpath={.data.a}'";
    assert_eq!(eventually(&lab, 0, kept), "b");
    assert_eq!(lab.host(0).sh("kubectl get daemonsets -A -o name | grep flannel"), "daemonset.apps/site-flannel");

    site.run(&lab, &["cluster", "add", "--node", HOSTS[1]]).expect_ok();
    site.run(&lab, &["cluster", "reset", "--yes", "--host", HOSTS[0], HOSTS[1]]).expect_ok();
    assert_eq!(member(), first);
    for host in [0, 1] {
        assert_eq!(lab.host(host).sh("iptables-save | grep FLANNEL || :"), "", "its rules are gone");
    }
    make();
    assert_eq!(eventually(&lab, 0, kept), "b");
}
