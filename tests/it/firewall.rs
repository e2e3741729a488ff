//! Hosts on which firewalld runs: what is needed is opened, the rest stays shut, and all is restored.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests: a panic is how a test fails")]

use std::time::{Duration, Instant};

use crate::cluster::{GROUPS, HOSTS, askers};
use crate::etcd::{assert_healthy, contract_line, targets};
use crate::lab::{Host, Lab};
use crate::site::Site;

/// Hosts with a running firewalld, as their administrator set it up.
fn fenced(hosts: usize) -> Lab {
    fence(Lab::up(hosts))
}

fn fence(lab: Lab) -> Lab {
    let rpms = Lab::rpms(&["firewalld"]);
    std::thread::scope(|scope| {
        for host in lab.hosts() {
            let rpms = &rpms;
            scope.spawn(move || {
                host.install(rpms);
                host.sh("systemctl enable -q --now firewalld && firewall-cmd -q --permanent --add-port=8080/tcp && firewall-cmd -q --reload");
            });
        }
    });
    lab
}

fn ports(host: &Host) -> [Vec<String>; 2] {
    ["", "--permanent"].map(|permanent| {
        let mut ports: Vec<String> =
            host.sh(&format!("firewall-cmd {permanent} --list-ports")).split_whitespace().map(str::to_owned).collect();
        ports.sort();
        ports
    })
}

#[test]
fn firewalld_is_opened_for_etcd_and_not_switched_off() {
    if !Lab::here() {
        return;
    }
    let lab = fenced(3);
    let site = Site::with(&["etcd"]);
    let hosts = targets(&lab);
    let line = contract_line(&hosts, &[]);
    site.run(&lab, &line).expect_ok();
    assert_healthy(&lab, 3);
    for host in lab.hosts() {
        let open = ["2379/tcp", "2380/tcp", "8080/tcp"].map(str::to_owned).to_vec();
        assert_eq!(ports(host), [open.clone(), open]);
        host.sh("systemctl is-active -q firewalld && firewall-cmd -q --reload");
    }
    assert_healthy(&lab, 3);
    let again = site.run(&lab, &[&line[..], &["-v"]].concat()).expect_ok();
    assert!(!again.stderr.contains(": done ("), "{}", again.stderr);

    site.run(&lab, &["etcd", "remove", "--host", &hosts[2]]).expect_ok();
    let as_it_was = vec!["8080/tcp".to_owned()];
    assert_eq!(ports(lab.host(2)), [as_it_was.clone(), as_it_was], "restored");
    lab.host(2).sh("systemctl is-active -q firewalld");
}

#[test]
fn ports_are_opened_in_the_zone_of_the_interface_with_the_host_s_address() {
    if !Lab::here() {
        return;
    }
    // The default route goes by the other interface, in the default zone.
    let lab = fence(Lab::builder().hosts(2).second_interface().up());
    let site = Site::with(&["etcd"]);
    for host in lab.hosts() {
        host.sh("firewall-cmd -q --permanent --zone=internal --change-interface=eth0 && firewall-cmd -q --reload");
    }
    let hosts = targets(&lab);
    let line = contract_line(&hosts, &[]);
    site.run(&lab, &line).expect_ok();
    assert_healthy(&lab, 2);
    for host in lab.hosts() {
        let of = |zone: &str| host.sh(&format!("firewall-cmd --zone={zone} --list-ports"));
        assert_eq!((of("internal").as_str(), of("public").as_str()), ("2379/tcp 2380/tcp", "8080/tcp"));
        host.sh("firewall-cmd -q --reload");
    }
    assert_healthy(&lab, 2);
    site.changes_nothing(&lab, &line);
}

#[test]
fn pods_answer_across_hosts_with_firewalld() {
    if !Lab::here() {
        return;
    }
    let lab = fenced(2);
    let site = Site::with(&GROUPS);
    let mut line = vec!["-K", "onekey_deploy_ctl", "-create_etcd_cluster", "--host-list", HOSTS[0]];
    line.extend(["-create_k8s_cluster", "--master-host-list", HOSTS[0], "--node-host-list", HOSTS[0], HOSTS[1]]);
    site.run(&lab, &line).expect_ok();
    lab.host(0).sh(include_str!("../lab/smoke.sh"));
    let address = lab.host(0).sh("kubectl get service smoke -o 'jsonpath={.spec.clusterIP}'");
    for round in ["as it was made", "after firewalld was reloaded", "after it was started anew"] {
        for node in 0..2 {
            assert_eq!(askers(&lab, node, address.trim()).len(), 2, "both pods answer host {node}, {round}");
        }
        for host in lab.hosts() {
            let again =
                if round == "as it was made" { "firewall-cmd -q --reload" } else { "systemctl restart firewalld" };
            host.sh(&format!("systemctl is-active -q firewalld && {again}"));
        }
    }
    let trusted = |host: &Host| {
        ["", "--permanent"].map(|kind| host.sh(&format!("firewall-cmd {kind} --zone=trusted --list-sources")))
    };
    let all = "10.244.0.0/16 10.8.14.200 10.8.14.201";
    assert_eq!(trusted(lab.host(0)), [all, all]);

    site.run(&lab, &["cluster", "remove", "--node", HOSTS[1]]).expect_ok();
    assert_eq!(trusted(lab.host(1)), ["", ""], "restored");
    let rest = "10.244.0.0/16 10.8.14.200";
    let end = Instant::now() + Duration::from_secs(300);
    while trusted(lab.host(0)) != [rest, rest] {
        assert!(Instant::now() < end, "{:?}", trusted(lab.host(0)));
        std::thread::sleep(Duration::from_millis(200));
    }
}
