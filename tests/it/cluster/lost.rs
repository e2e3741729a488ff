//! Clusters whose hosts were all reinstalled, while the control host still knows them.

use super::{GROUPS, HOSTS, kubeadm, whole};
use crate::etcd::{assert_healthy, contract_line, targets};
use crate::lab::Lab;
use crate::site::Site;

/// Other machines at the same addresses, and the operator has removed the old host keys.
fn reinstalled(site: &Site, old: Lab, hosts: usize) -> Lab {
    drop(old);
    assert!(std::fs::remove_file(site.path("state").join("known_hosts")).is_ok());
    Lab::up(hosts)
}

#[test]
fn a_lost_etcd_cluster_is_named_and_made_anew_only_when_told() {
    if !Lab::here() {
        return;
    }
    let site = Site::with(&["etcd"]);
    let lab = Lab::up(2);
    let hosts = targets(&lab);
    let line = contract_line(&hosts, &[]);
    let anew = contract_line(&hosts, &["--recreate"]);
    site.run(&lab, &line).expect_ok();
    // A member that answers, then hosts that hold data: nothing is made anew.
    let look = [&anew[..], &["--dry-run"]].concat();
    lab.host(0).sh("systemctl stop etcd");
    for (stop, why) in
        [("true", ":2379 answers"), ("systemctl kill -s KILL etcd; systemctl stop etcd", "holds etcd data")]
    {
        lab.host(1).sh(stop);
        let output = site.run(&lab, &look).expect_ok();
        let said = format!("{}{}", output.stdout, output.stderr);
        assert!(said.contains("--recreate is ignored") && said.contains(why), "{said}");
    }

    let lab = reinstalled(&site, lab, 2);
    let output = site.run(&lab, &line);
    let said = format!("{}{}", output.stdout, output.stderr);
    assert_eq!(output.code, Some(1), "{said}");
    assert!(said.contains("it is lost") && said.contains("--recreate"), "{said}");
    assert!(!lab.host(0).exec("rpm -q etcd").ok(), "nothing was changed");
    site.run(&lab, &anew).expect_ok();
    assert_healthy(&lab, 2);
    let aside = std::fs::read_dir(site.path("state/authorities")).expect("authorities aside").flatten().next();
    let aside = aside.expect("the old ones").path();
    assert!(aside.join("etcd/ca.key").is_file() && aside.join("etcd.json").is_file(), "{}", aside.display());
    site.changes_nothing(&lab, &line);
}

#[test]
fn a_lost_cluster_of_kubeadm_is_made_anew_with_its_etcd() {
    if !Lab::here() {
        return;
    }
    lost_and_anew(&Site::with(&kubeadm::GROUPS));
}

#[test]
fn a_lost_cluster_of_systemd_services_is_made_anew_with_its_etcd() {
    if !Lab::here() {
        return;
    }
    lost_and_anew(&Site::with(&GROUPS));
}

fn lost_and_anew(site: &Site) {
    let lab = Lab::up(1);
    let etcd = ["-K", "onekey_deploy_ctl", "-create_etcd_cluster", "--host-list", HOSTS[0]];
    let line = [&etcd[..], &["-create_k8s_cluster", "--master-host-list", HOSTS[0]]].concat();
    site.run(&lab, &line).expect_ok();
    let lab = reinstalled(site, lab, 1);
    let output = site.run(&lab, &line);
    assert_eq!(output.code, Some(1));
    assert!(output.stderr.contains("with its Kubernetes cluster, and it is lost"), "{}", output.stderr);
    site.run(&lab, &[&line[..], &["--recreate"]].concat()).expect_ok();
    whole(site, &lab, 1);
}
