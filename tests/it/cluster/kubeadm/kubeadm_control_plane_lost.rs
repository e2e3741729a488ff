//! What clients notice of a control plane of kubeadm that loses parts of it, or all of its hosts one after another.

use crate::lab::Lab;
use crate::site::{Site, assert_unchanged_but, at_rest};

use super::super::{HOSTS, eventually, whole};
use super::balance;
use super::gap::{Clients, api_server_killed};
use super::kubeadm_control_plane::{GROUPS, VIP, holder, may_stay};

const WORKER: &str = "root:111111@10.8.14.203";
const FIFTH: &str = "root:111111@10.8.14.204";

/// etcd and the control plane on three hosts, pods on a fourth.
fn create(lab: &Lab, site: &Site, more: &[&str]) {
    site.run(lab, &[&["etcd", "create", "--host"][..], &HOSTS].concat()).expect_ok();
    let line = [&["cluster", "create", "--master"][..], &HOSTS, &["--node", WORKER], more].concat();
    site.run(lab, &line).expect_ok();
}

/// The index of the host whose etcd leads.
fn etcd_leader(lab: &Lab, site: &Site) -> usize {
    let status = site.run(lab, &["etcd", "status", "--json"]).stdout;
    let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    let leads = |host: &usize| status["members"][lab.host(*host).address()]["leader"] == true;
    (0..3).find(leads).expect("a leader")
}

#[test]
fn clients_go_on_when_parts_behind_the_address_are_lost() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(5);
    let site = Site::with(&GROUPS);
    create(&lab, &site, &["--api-vip", VIP]);
    site.run(&lab, &["cluster", "add", "--node", FIFTH]).expect_ok();
    let api = format!("https://{VIP}:6443");
    let during = |what: &str, fault: &dyn Fn(usize)| {
        let at = holder(&lab, &[0, 1, 2]);
        let clients = Clients::begin(&lab, 3, &api);
        fault(at);
        clients.end(what);
        at
    };
    during("a worker was killed", &|_| lab.host(4).kill());
    during("the API server of the address' holder was killed", &|at| api_server_killed(&lab, at));
    during("the etcd leader was killed", &|_| {
        lab.host(etcd_leader(&lab, &site)).sh("pkill -KILL -x etcd");
    });
    let at = during("what the address' holder sent was lost", &|at| lab.host(at).mute());
    lab.host(at).heal();
    whole_but_the_worker(&lab, at);
    let at = during("the address' holder was frozen", &|at| lab.host(at).freeze());
    lab.host(at).thaw();
    whole_but_the_worker(&lab, at);
    let at = during("the address' holder was powered off", &|at| lab.host(at).kill());
    lab.host(at).start();
    lab.host(4).start();
    whole(&site, &lab, 5);
}

/// Waits until a host that is back takes part again.
fn whole_but_the_worker(lab: &Lab, host: usize) {
    eventually(lab, host, "curl -fsk -m 2 https://127.0.0.1:6443/readyz");
    eventually(lab, host, &format!("kubectl wait --for=condition=Ready --timeout=5s node/host{host}"));
}

#[test]
fn clients_go_on_when_parts_behind_a_load_balancer_of_the_site_are_lost() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(5);
    let site = Site::with(&GROUPS);
    balance(&lab, 4);
    create(&lab, &site, &["--api-endpoint", "10.8.14.204:6443"]);
    let during = |what: &str, fault: &dyn Fn()| {
        let clients = Clients::begin(&lab, 3, "https://10.8.14.204:6443");
        fault();
        clients.end(what);
    };
    during("an API server behind the site's balancer was killed", &|| api_server_killed(&lab, 1));
    during("an API server behind the site's balancer was frozen", &|| {
        lab.host(1).sh("pkill -STOP -x kube-apiserver");
    });
    lab.host(1).sh("pkill -CONT -x kube-apiserver || :");
    during("a control plane node behind the site's balancer was powered off", &|| lab.host(0).kill());
    lab.host(0).start();
    whole(&site, &lab, 4);
}

#[test]
fn all_three_hosts_are_replaced_one_after_another_and_nothing_is_lost() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(5);
    let site = Site::with(&GROUPS);
    let before: Vec<String> = lab.hosts().iter().map(at_rest).collect();
    create(&lab, &site, &[]);
    let clients = Clients::begin_every(&lab, 3, "https://127.0.0.1:8443", "0.25");
    let all = [HOSTS[0], HOSTS[1], HOSTS[2], WORKER, FIFTH];
    let mut there = vec![0, 1, 2];
    for (old, new) in [(0, 4), (1, 0), (2, 1)] {
        there.retain(|host| *host != old);
        let also: Vec<&str> = there.iter().map(|host| all[*host]).collect();
        let line = [&["cluster", "replace", "--master", all[old], "--with", all[new], "--also"][..], &also].concat();
        site.run(&lab, &line).expect_ok();
        // The same line again has nothing left to do.
        site.run(&lab, &line).expect_ok();
        // A member's data is set aside, not deleted.
        assert_unchanged_but(lab.host(old), &before[old], |line| may_stay(line) || line.contains("/var/lib/etcd"));
        there.push(new);
    }
    clients.end("all control plane nodes were replaced one after another");
    whole(&site, &lab, 4);
    let line = ["cluster", "create", "--master", HOSTS[0], HOSTS[1], FIFTH, "--node", WORKER];
    site.changes_nothing(&lab, &line);
}
