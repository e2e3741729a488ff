//! A cluster that keeps its images: control plane nodes serve them, and a node that lost one pulls it again.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests: a panic is how a test fails")]

use crate::lab::Lab;
use crate::site::{Site, assert_unchanged_but, at_rest};

use super::eventually;
use super::kubeadm::GROUPS;
use super::registry::runs;

const FILE: &str = "\
schema: 1
defaults: {passwordFile: password}
kubernetes: {keepRegistry: true}
hosts:
  - {address: 10.8.14.200, roles: [etcd, control-plane]}
  - {address: 10.8.14.201, roles: [worker]}
";

/// A worker node without this image pulls it again by upstream's name, from whatever serves it.
fn pulled_again(lab: &Lab, name: &str, image: &str) {
    lab.host(1).sh(&format!("crictl -r unix:///run/containerd/containerd.sock rmi {image}"));
    runs(lab, name, image);
}

#[test]
fn lost_images_are_pulled_from_the_registry_that_the_cluster_keeps() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(2);
    let site = Site::with(&GROUPS);
    let before = [at_rest(lab.host(0)), at_rest(lab.host(1))];
    std::fs::write(site.path("password"), "111111\n").expect("a file");
    std::fs::write(site.path("cluster.yaml"), FILE).expect("a file");
    std::fs::write(site.path("without.yaml"), FILE.replace("true", "false")).expect("a file");
    let apply = ["cluster", "apply", "-f", "cluster.yaml"];
    // A run killed while the images are copied, whose script is still at work on the host, is completed by the next.
    let mut begun = false;
    let code = site.watch(&lab, &apply, |event| {
        begun |= event["event"] == "step_started" && event["step"] == "10.8.14.200/sunshine-registry.images";
        if begun {
            eventually(&lab, 0, "[ -e /var/lib/sunshine-registry/images.tar.new ]");
        }
        !begun
    });
    assert!(begun && code.is_none(), "{code:?}");
    site.run(&lab, &apply).expect_ok();
    site.changes_nothing(&lab, &apply);

    // The run is over, and with it its own registry.
    let image = lab.host(1).sh("ctr -n k8s.io images list -q 2>/dev/null | grep '/agnhost:[^@]*$'").trim().to_owned();
    pulled_again(&lab, "by-upstream-name", &image);
    lab.host(0).kill();
    lab.host(0).start();
    eventually(&lab, 0, "systemctl is-active sunshine-registry");
    eventually(&lab, 0, "kubectl get --raw /readyz");
    pulled_again(&lab, "after-power-cut", &image);

    let curl = "curl -sS --noproxy '*' --cacert /etc/containerd/certs.d/10.8.14.200:5001/ca.crt";
    let (registry, path) = image.split_once('/').expect("a registry and a path");
    let (repository, tag) = path.rsplit_once(':').expect("a tag");
    let manifest = format!("https://10.8.14.200:5001/v2/{repository}/manifests/{tag}?ns={registry}");
    let head = lab.host(1).sh(&format!("{curl} -f -I '{manifest}'"));
    assert!(head.to_ascii_lowercase().contains("docker-content-digest: sha256:"), "{head}");
    let pushed = lab.host(1).sh(&format!("{curl} -X POST https://10.8.14.200:5001/v2/{path}/blobs/uploads/"));
    assert!(pushed.contains("this registry is read-only"), "{pushed}");
    let user = lab.host(0).sh("ps -o user= -p $(systemctl show -p MainPID sunshine-registry | cut -d= -f2)");
    assert_eq!(user.trim(), "nobody");

    // A new certificate is the one that is served, and the nodes trust it.
    let serial = || {
        lab.host(1)
            .sh("openssl s_client -connect 10.8.14.200:5001 </dev/null 2>/dev/null | openssl x509 -noout -serial")
    };
    let old = serial();
    site.run(&lab, &["cluster", "certs", "renew", "--ssh-password-file", "password"]).expect_ok();
    assert_ne!(serial(), old);
    pulled_again(&lab, "after-renewal", &image);

    // Switched off nothing of it is left, and switched on again it works.
    site.run(&lab, &["cluster", "apply", "-f", "without.yaml"]).expect_ok();
    let left = "ls -d /var/lib/sunshine-registry /etc/sunshine-registry /usr/local/libexec/sunshine-installer \
                /etc/systemd/system/sunshine-registry.service 2>/dev/null || :";
    assert_eq!(lab.host(0).sh(left), "");
    assert_eq!(lab.host(1).sh("ls /etc/containerd/certs.d 2>/dev/null || :"), "");
    site.run(&lab, &apply).expect_ok();
    site.changes_nothing(&lab, &apply);
    pulled_again(&lab, "again", &image);

    site.run(&lab, &["cluster", "reset", "--yes", "--wipe-data", "--ssh-password-file", "password"]).expect_ok();
    // The user that etcd's package makes stays, as with any package.
    assert_unchanged_but(lab.host(0), &before[0], |line| line.contains("etcd:x:"));
    assert_unchanged_but(lab.host(1), &before[1], |_| false);
}
