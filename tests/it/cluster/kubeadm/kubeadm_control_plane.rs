//! Several control plane nodes of kubeadm without a load balancer of the site: one may be lost.

use std::time::{Duration, Instant};

use crate::lab::Lab;
use crate::site::{Site, assert_unchanged_but, at_rest};

use super::super::{HANGS, HOSTS, eventually, whole};
use super::gap::{Clients, api_server_killed};

pub(in crate::cluster) const GROUPS: [&str; 6] =
    ["etcd-3.6", "containerd-2", "kubeadm-1.36", "flannel", "agnhost", "extras"];
const FOURTH: &str = "root:111111@10.8.14.203";

/// System users of packages stay, as rpm leaves them.
pub(super) fn may_stay(line: &str) -> bool {
    ["_chrony:x:", "haproxy:x:", "etcd:x:"].iter().any(|user| line.starts_with(user))
}

/// Waits until a host's balancer asks these control plane nodes and no others.
#[track_caller]
fn balances_over(lab: &Lab, host: usize, control_plane: &[u8]) {
    let wanted: Vec<String> = control_plane.iter().map(|n| format!("10.8.14.{}:6443", 200 + n)).collect();
    let asked = "awk '$1 == \"server\" {print $3}' /run/sunshine-installer/haproxy.cfg | sort | paste -sd' '";
    eventually(lab, host, &format!("[ \"$({asked})\" = '{}' ]", wanted.join(" ")));
    eventually(lab, host, "curl -fsk -m 2 https://127.0.0.1:8443/readyz");
}

#[test]
fn nodes_come_and_go_behind_balancers_and_the_first_may_be_lost() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(4);
    let site = Site::with(&GROUPS);
    let before: Vec<String> = lab.hosts().iter().map(at_rest).collect();
    site.run(&lab, &["etcd", "create", "--host", FOURTH]).expect_ok();
    let first = ["cluster", "create", "--master", HOSTS[0], "--node", FOURTH];
    site.run(&lab, &[&first[..], &["--dry-run"]].concat()).expect_ok();
    assert_unchanged_but(lab.host(0), &before[0], may_stay);
    site.run(&lab, &first).expect_ok();
    assert_eq!(lab.host(3).sh("grep -h server: /etc/kubernetes/*.conf").trim(), "server: https://127.0.0.1:8443");
    lab.host(0).sh("kubectl create configmap kept --from-literal=a=b");

    // Hosts that are not named learn of the others.
    site.run(&lab, &["cluster", "add", "--master", HOSTS[1], HOSTS[2], "--node", HOSTS[1]]).expect_ok();
    let nodes = lab.host(0).sh("kubectl get nodes --no-headers");
    assert_eq!((nodes.matches(" Ready ").count(), nodes.matches("control-plane").count()), (4, 3), "{nodes}");
    (0..4).for_each(|host| balances_over(&lab, host, &[0, 1, 2]));
    let keys =
        "grep -rlE 'kubernetes-admin|BEGIN (EC|RSA) PRIVATE' /etc/kubernetes /run/sunshine-installer /root/.kube";
    assert_eq!(lab.host(3).sh(&format!("{keys} 2>/dev/null || :")), "", "a worker node has no administrator's key");
    let create = ["cluster", "create", "--master", HOSTS[0], HOSTS[1], HOSTS[2], "--node", HOSTS[1], FOURTH];
    whole(&site, &lab, 4);
    site.changes_nothing(&lab, &create);

    site.run(&lab, &["cluster", "remove", "--master", HOSTS[2]]).expect_ok();
    assert_unchanged_but(lab.host(2), &before[2], may_stay);
    balances_over(&lab, 3, &[0, 1]);
    site.run(&lab, &["cluster", "add", "--master", HOSTS[2], "--node", HOSTS[2]]).expect_ok();
    balances_over(&lab, 3, &[0, 1, 2]);

    // The one that began the cluster is lost for good; what goes by a balancer goes on.
    let clients = Clients::begin(&lab, 3, "https://127.0.0.1:8443");
    api_server_killed(&lab, 1);
    clients.end("an API server behind the balancers was killed");
    let clients = Clients::begin(&lab, 3, "https://127.0.0.1:8443");
    lab.host(3).sh("pkill -KILL -x haproxy");
    clients.end("the balancer of the clients' host was killed");
    let clients = Clients::begin(&lab, 3, "https://127.0.0.1:8443");
    lab.host(0).kill();
    clients.end("a host of an API server behind the balancers was killed");
    for host in [1, 2] {
        eventually(&lab, host, "kubectl get configmap kept");
    }
    let lost = ["--master", HOSTS[0], "--force", "--yes", "--drain-timeout", "5"];
    site.run(&lab, &[&["cluster", "remove"][..], &lost].concat()).expect_ok();
    whole(&site, &lab, 3);
    balances_over(&lab, 3, &[1, 2]);

    site.run(&lab, &["cluster", "reset", "--yes", "--wipe-data", "--host", HOSTS[1], HOSTS[2], FOURTH]).expect_ok();
    (1..4).for_each(|host| assert_unchanged_but(lab.host(host), &before[host], may_stay));
}

pub(super) const VIP: &str = "10.8.14.100";

/// The host that holds the address, once it is one of these and no other.
#[track_caller]
pub(super) fn holder(lab: &Lab, among: &[usize]) -> usize {
    let end = Instant::now() + HANGS;
    loop {
        let holds = |host: &&usize| lab.host(**host).exec(&format!("ip -4 addr show | grep -q ' {VIP}/32 '")).ok();
        let holders: Vec<&usize> = among.iter().filter(holds).collect();
        if let [one] = holders[..] {
            return *one;
        }
        assert!(Instant::now() < end, "{VIP} is held by {holders:?}");
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Waits until this host sends to these control plane nodes and no others.
#[track_caller]
fn sends_to(lab: &Lab, host: usize, peers: &[usize]) {
    let wanted: Vec<String> = peers.iter().map(|n| format!("10.8.14.{}", 200 + n)).collect();
    let peers =
        "awk '/unicast_peer/ {on = 1; next} /}/ {on = 0} on {print $1}' /run/sunshine-installer/keepalived.conf";
    eventually(lab, host, &format!("[ \"$({peers} | sort | paste -sd' ')\" = '{}' ]", wanted.join(" ")));
}

#[test]
fn nodes_come_and_go_behind_an_address_and_its_holder_may_be_lost() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(4);
    let site = Site::with(&GROUPS);
    let before: Vec<String> = lab.hosts().iter().map(at_rest).collect();
    site.run(&lab, &["etcd", "create", "--host", FOURTH]).expect_ok();
    let create = ["cluster", "create", "--api-vip", VIP, "--master", HOSTS[0], "--node", FOURTH];
    site.run(&lab, &create).expect_ok();
    assert_eq!(holder(&lab, &[0, 3]), 0);
    let server = format!("server: https://{VIP}:6443");
    assert_eq!(lab.host(3).sh("grep -h server: /etc/kubernetes/*.conf").trim(), server);

    site.run(&lab, &["cluster", "add", "--master", HOSTS[1], HOSTS[2], "--node", HOSTS[1]]).expect_ok();
    let nodes = lab.host(0).sh("kubectl get nodes --no-headers");
    assert_eq!((nodes.matches(" Ready ").count(), nodes.matches("control-plane").count()), (4, 3), "{nodes}");
    sends_to(&lab, 0, &[1, 2]);
    sends_to(&lab, 1, &[0, 2]);
    let create = ["cluster", "create", "--api-vip", VIP, "--master", HOSTS[0], HOSTS[1], HOSTS[2]];
    let create = [&create[..], &["--node", HOSTS[1], FOURTH]].concat();
    whole(&site, &lab, 4);
    site.changes_nothing(&lab, &create);

    let api = format!("https://{VIP}:6443");
    let first = holder(&lab, &[0, 1, 2]);
    let clients = Clients::begin(&lab, 3, &api);
    api_server_killed(&lab, first);
    clients.end("the API server of the address' holder was killed");
    let second = holder(&lab, &[0, 1, 2]);
    assert_ne!(first, second, "the address went to another host");
    let clients = Clients::begin(&lab, 3, &api);
    lab.host(second).kill();
    clients.end("the address' holder was killed");
    let rest: Vec<usize> = (0..3).filter(|host| *host != second).collect();
    let third = holder(&lab, &rest);
    eventually(&lab, third, "kubectl get nodes");

    // The lost one for good, and whoever holds the address now, in the middle of its work.
    let lost = ["--master", HOSTS[second], "--force", "--yes", "--drain-timeout", "5"];
    site.run(&lab, &[&["cluster", "remove"][..], &lost, &["--node", HOSTS[second]]].concat()).expect_ok();
    let clients = Clients::begin(&lab, 3, &api);
    site.run(&lab, &["cluster", "remove", "--master", HOSTS[third], "--node", HOSTS[third]]).expect_ok();
    clients.end("the address' holder was removed from the cluster");
    assert_unchanged_but(lab.host(third), &before[third], may_stay);
    let last = rest.into_iter().find(|host| *host != third).unwrap_or_default();
    assert_eq!(holder(&lab, &[last, third]), last);
    site.run(&lab, &["cluster", "add", "--master", HOSTS[third]]).expect_ok();
    whole(&site, &lab, 3);
    sends_to(&lab, last, &[third]);

    site.run(&lab, &["cluster", "reset", "--yes", "--wipe-data", "--host", HOSTS[last], HOSTS[third], FOURTH])
        .expect_ok();
    [last, third, 3].into_iter().for_each(|host| assert_unchanged_but(lab.host(host), &before[host], may_stay));
}
