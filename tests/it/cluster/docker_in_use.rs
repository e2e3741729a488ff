//! Docker that a site uses already, with settings and containers of its own.

use serde_json::{Value, json};

use super::{GROUPS, HOSTS, whole};
use crate::lab::Lab;
use crate::site::Site;

#[test]
fn docker_that_is_in_use_keeps_its_settings_and_its_containers() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let site = Site::with(&GROUPS);
    let host = lab.host(0);
    let (rpms, images): (Vec<_>, Vec<_>) =
        Lab::rpms(&["docker"]).into_iter().partition(|file| file.extension().is_some_and(|end| end == "rpm"));
    host.install(&rpms);
    let image = images.iter().find(|file| file.ends_with("busybox.tar")).expect("an image").display().to_string();
    site.run(&lab, &["hosts", "push", HOSTS[0], "--file", &image, "--to", "/root/busybox.tar"]).expect_ok();
    let settings = json!({"debug": true, "insecure-registries": ["10.0.0.5:5000"], "log-opts": {"max-size": "1m"}});
    host.sh(&format!(
        "umask 077; mkdir -p /etc/docker; echo '{settings}' >/etc/docker/daemon.json; systemctl enable -q --now docker"
    ));
    host.sh("docker load -q -i /root/busybox.tar && docker run -d --name web --network none busybox sleep 100000");
    let running = || host.sh("docker inspect -f '{{.State.StartedAt}} {{.State.Pid}}' web");
    let before = running();

    let etcd = ["-K", "onekey_deploy_ctl", "-create_etcd_cluster", "--host-list", HOSTS[0]];
    let line = [&etcd[..], &["-create_k8s_cluster", "--master-host-list", HOSTS[0]]].concat();
    let told = "10.8.14.200: Docker is restarted with settings for Kubernetes; its containers go on: web";
    let planned = site.run(&lab, &[&line[..], &["--dry-run"]].concat()).expect_ok();
    assert!(planned.stderr.contains(told), "{}", planned.stderr);
    host.sh("echo '{\"live-restore\": false}' >/etc/docker/daemon.json && systemctl reload docker");
    let refused = site.run(&lab, &line);
    let told = "which would stop its containers: web";
    assert!(refused.code == Some(1) && refused.stderr.contains(told), "{}", refused.stderr);
    host.sh(&format!("echo '{settings}' >/etc/docker/daemon.json && systemctl reload docker"));

    site.run(&lab, &line).expect_ok();
    whole(&site, &lab, 1);
    assert_eq!(running(), before, "the site's container has not been stopped");
    let is: Value = serde_json::from_str(&host.sh("cat /etc/docker/daemon.json")).expect("JSON");
    for (key, value) in settings.as_object().expect("an object") {
        assert_eq!(&is[key], value, "{key}");
    }
    assert_eq!((&is["live-restore"], host.sh("stat -c %a /etc/docker/daemon.json").as_str()), (&json!(true), "600"));
    site.changes_nothing(&lab, &line);
    assert_eq!(running(), before);
}
