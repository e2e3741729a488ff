//! Hosts without a default route, as on networks that lead nowhere.

use super::{GROUPS, HOSTS, INSIDE, askers, kubeadm, whole};
use crate::lab::Lab;
use crate::site::Site;

const VIP: &str = "10.8.14.100";

#[test]
fn a_cluster_with_a_virtual_address_on_hosts_without_a_default_route() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(2);
    let site = Site::with(&GROUPS);
    for host in lab.hosts() {
        host.sh("ip route del default; ip -6 route del default");
    }
    site.run(&lab, &["etcd", "create", "--host", HOSTS[0]]).expect_ok();
    let line = ["cluster", "create", "--api-vip", VIP, "--master", HOSTS[0], "--node", HOSTS[0], HOSTS[1]];
    site.run(&lab, &line).expect_ok();
    whole(&site, &lab, 2);
    lab.host(0).sh(&format!("ip -4 -o addr show dev eth0 | grep -q {VIP}/32"));
    lab.host(0).sh(include_str!("../../lab/smoke.sh"));
    let address = lab.host(0).sh("kubectl get service smoke -o 'jsonpath={.spec.clusterIP}'");
    for node in 0..2 {
        assert_eq!(askers(&lab, node, address.trim()).len(), 2, "both pods answer host {node}");
    }
    site.changes_nothing(&lab, &line);
    lab.assert_no_egress(&INSIDE);
}

/// In a cluster of kubeadm, whose flannel asks the API by its service's address; on one of them containerd is in use by the site.
#[test]
fn kubeadm_s_cluster_on_hosts_without_a_default_route_beside_the_site_s_own_containerd() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(2);
    let site = Site::with(&kubeadm::GROUPS);
    for host in lab.hosts() {
        host.sh("ip route del default; ip -6 route del default");
    }
    let used = lab.host(1);
    let rpms = Lab::rpms(&["containerd-2"]);
    used.install(&rpms.into_iter().filter(|file| file.extension().is_some_and(|end| end == "rpm")).collect::<Vec<_>>());
    used.sh("cat >/etc/containerd/config.toml <<'E'\n# The site's own.\nversion = 2\noom_score = 0\n\n[debug]\n  level = \"warn\"\nE\n\
             systemctl enable -q --now containerd && ctr namespaces create site && ctr namespaces label site kept=yes");
    site.run(&lab, &["etcd", "create", "--host", HOSTS[0]]).expect_ok();
    let line = ["cluster", "create", "--master", HOSTS[0], "--node", HOSTS[1]];
    site.run(&lab, &line).expect_ok();
    whole(&site, &lab, 2);
    let config = used.sh("cat /etc/containerd/config.toml");
    assert!(
        config.starts_with("# The site's own.\nversion = 2\noom_score = 0\n") && config.contains("level = \"warn\""),
        "{config}"
    );
    used.sh("ctr namespaces ls | grep kept=yes");
    for host in lab.hosts() {
        host.sh("curl -ksS -m 5 https://10.254.0.1/healthz");
    }
    site.changes_nothing(&lab, &line);
}
