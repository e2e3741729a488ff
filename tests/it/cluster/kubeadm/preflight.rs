//! kubeadm's own preflight, before any host is changed.

use crate::lab::Lab;
use crate::site::{Site, assert_unchanged, at_rest};

use super::super::{HOSTS, eventually};
use super::GROUPS;

#[test]
fn kubeadm_preflight_names_what_is_in_the_way_on_every_host_and_changes_none() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(2);
    let site = Site::with(&GROUPS);
    let stray = "/etc/kubernetes/manifests/kube-scheduler.yaml";
    lab.host(0).sh(&format!("mkdir -p /etc/kubernetes/manifests && touch {stray}"));
    lab.host(1).sh("systemd-run -q --unit taken -- $(command -v python3 || echo /usr/libexec/platform-python) -m http.server 10250");
    // Its images have a file system of their own, which is too small.
    lab.host(1).sh("mount -t tmpfs -o size=100m tmpfs /var/lib/containerd");
    eventually(&lab, 1, "ss -Hltn 'sport = :10250' | grep -q .");
    lab.host(1).sh("mount -t tmpfs -o noexec tmpfs /var/cache");
    let before = [0, 1].map(|host| at_rest(lab.host(host)));
    let line = ["-K", "onekey_deploy_ctl", "-create_etcd_cluster", "--host-list", HOSTS[0], "-create_k8s_cluster"];
    let line = [&line[..], &["--master-host-list", HOSTS[0], "--node-host-list", HOSTS[1]]].concat();
    for more in [&["--dry-run"][..], &[]] {
        let output = site.run(&lab, &[&line[..], more].concat());
        assert_eq!(output.code, Some(1), "{}", output.stderr);
        for wanted in [
            format!("10.8.14.200: kubeadm's preflight: {stray} already exists"),
            "10.8.14.201: kubeadm's preflight: Port 10250 is in use".to_owned(),
            "10.8.14.201: /var/lib/containerd has 100 MiB free, ".to_owned(),
            " MiB are needed: images ".to_owned(),
            "`cluster reset --host HOST`".to_owned(),
            "`ss -ltnp 'sport = :10250'`".to_owned(),
        ] {
            assert!(output.stderr.contains(&wanted), "{wanted}: {}", output.stderr);
        }
        // What this run brings is no finding.
        let findings = output.stderr.matches("kubeadm's preflight: ").count();
        assert_eq!(findings, 2, "{}", output.stderr);
    }
    for (host, before) in before.iter().enumerate() {
        assert_unchanged(lab.host(host), before);
        assert_eq!(lab.host(host).sh("ls -d /var/cache/sunshine-installer 2>/dev/null || :"), "");
    }
}
