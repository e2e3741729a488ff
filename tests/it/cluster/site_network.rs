//! A site that has Docker's usual network itself, sysctls of its own, and a resolv.conf that leads nowhere.

use super::{GROUPS, HOSTS, eventually, whole};
use crate::lab::Lab;
use crate::site::Site;

#[test]
fn docker_leaves_the_site_s_network_alone_and_its_sysctls_do_not_undo_those_of_nodes() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let site = Site::with(&GROUPS);
    let host = lab.host(0);
    host.sh("ip route add 172.17.5.0/24 dev eth0; echo net.ipv4.ip_forward=0 >/etc/sysctl.d/99-site.conf");
    host.sh("ln -sfn /run/nowhere/resolv.conf /etc/resolv.conf");
    let etcd = ["-K", "onekey_deploy_ctl", "-create_etcd_cluster", "--host-list", HOSTS[0]];
    let line = [&etcd[..], &["-create_k8s_cluster", "--master-host-list", HOSTS[0]]].concat();
    site.run(&lab, &line).expect_ok();
    whole(&site, &lab, 1);
    assert!(host.sh("ip -4 -o addr show dev docker0").contains("192.168.254.1/24"));
    host.sh("kubectl run at-work --image=busybox:latest --image-pull-policy=IfNotPresent -- sleep 10000");
    eventually(&lab, 0, "kubectl wait --for=condition=Ready --timeout=5s pod/at-work");
    // As at the start of the host.
    assert_eq!(host.sh("/usr/lib/systemd/systemd-sysctl; sysctl -n net.ipv4.ip_forward"), "1");
    site.changes_nothing(&lab, &line);
}
