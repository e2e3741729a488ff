//! Nodes pull from a registry that the site runs, with its authority and a login; its certificate is the site's own.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests: a panic is how a test fails")]

use std::os::unix::fs::PermissionsExt;

use crate::lab::{Lab, Output};
use crate::site::Site;

use super::GROUPS;
use super::registry::{ADDRESS, PASSWORD, runs_with};

/// A registry that another environment runs is the site's for this one; its certificate is the site's own.
const SHOP: &str = "\
schema: 1
environment: shop
defaults: {passwordFile: password}
registry:
  storage: /srv/registry
  certificateFile: corp/registry.crt
  keyFile: corp/registry.key
  caFile: corp/ca.crt
  users: [{name: dev, passwordFile: registry-password}]
hosts: [{address: 10.8.14.201, roles: [registry]}]
";

const CLUSTER: &str = "\
schema: 1
defaults: {passwordFile: password}
kubernetes: {runtime: containerd, network: direct}
hosts: [{address: 10.8.14.200, roles: [etcd, control-plane, worker]}]
";

const SITE: &str = "\
siteRegistry: {address: \"10.8.14.201:5000/k8s\", caFile: corp/ca.crt, user: dev, passwordFile: registry-password}
";

/// An authority of the site, once, and a certificate for the registry that is signed by it.
const CERTIFICATE: &str = "set -e
mkdir -p corp; cd corp
[ -e ca.crt ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 9 -subj /CN=corp -keyout ca.key -out ca.crt
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=registry -keyout registry.key -out registry.csr
printf 'subjectAltName=%s' \"$1\" >extensions
openssl x509 -req -in registry.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 5 -extfile extensions -out registry.crt";

fn certificate(site: &Site, names: &str) {
    let mut make = std::process::Command::new("sh");
    Output::of(make.args(["-c", CERTIFICATE, "sh", names]).current_dir(site.path("."))).expect_ok();
}

#[test]
fn nodes_pull_from_a_registry_of_the_site() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(2);
    let site = Site::with(&[&GROUPS[..], &["registry"]].concat());
    let cluster = CLUSTER.to_owned();
    for (name, text) in [
        ("password", "111111\n"),
        ("registry-password", &format!("{PASSWORD}\n")),
        ("wrong", "falsch\n"),
        ("shop.yaml", SHOP),
        ("cluster.yaml", &format!("{cluster}{SITE}")),
        ("wrong.yaml", &format!("{cluster}{}", SITE.replace("registry-password", "wrong"))),
        ("without.yaml", &cluster),
    ] {
        std::fs::write(site.path(name), text).expect("a file");
    }
    let shop = ["cluster", "apply", "-f", "shop.yaml"];
    certificate(&site, "DNS:other.example");
    let refused = site.run(&lab, &shop);
    assert!(
        refused.code == Some(1)
            && refused.stderr.contains("is for other.example, and for neither 10.8.14.201 nor host1"),
        "{refused:?}"
    );
    certificate(&site, "DNS:registry.corp,IP:10.8.14.201");
    site.run(&lab, &shop).expect_ok();
    let served = || {
        lab.host(0).sh(&format!(
            "openssl s_client -connect {ADDRESS} </dev/null 2>/dev/null | openssl x509 -noout -issuer -serial"
        ))
    };
    assert!(served().contains("corp"), "{}", served());

    // A wrong password is known before a host is touched, and said.
    let warned = site.run(&lab, &["cluster", "apply", "-f", "wrong.yaml", "--dry-run"]).expect_ok();
    assert!(warned.stderr.contains("status 401") && !warned.stderr.contains("falsch"), "{warned:?}");
    let apply = ["cluster", "apply", "-f", "cluster.yaml"];
    let made = site.run(&lab, &apply).expect_ok();
    assert!(!made.stderr.contains("status 401"), "{made:?}");

    site.changes_nothing(&lab, &apply);

    // Pushed below the site's prefix with the authority that the environment knows; pulled from there by either name.
    let image = lab.host(0).sh("ctr -n k8s.io images list -q 2>/dev/null | grep '/busybox:[^@]*$'").trim().to_owned();
    let (_, path) = image.split_once('/').expect("a registry and a path");
    let to = format!("{ADDRESS}/k8s");
    let push = ["registry", "push", &to, "--user", "dev", "--password-file", "registry-password", "--image", &image];
    site.run(&lab, &push).expect_ok();
    let runs = |name: &str, image: &str| runs_with(&lab, name, image, &["sleep", "600"]);
    runs("by-address", &format!("{ADDRESS}/k8s/{path}"));
    lab.host(0).sh(&format!("ctr -n k8s.io images rm --sync {image}"));
    runs("by-upstream-name", &image);

    // The site renews its certificate itself.
    let before = served();
    let renew = ["cluster", "certs", "renew", "--environment", "shop", "--ssh-password-file", "password"];
    let said = site.run(&lab, &renew).expect_ok();
    assert!(said.stderr.contains("is the site's own") && served() == before, "{said:?}");
    certificate(&site, "IP:10.8.14.201");
    site.run(&lab, &shop).expect_ok();
    assert_ne!(served(), before);
    runs("after-renewal", &format!("{ADDRESS}/k8s/{path}"));

    // What is secret lies beside the keys, and nowhere else.
    for (path, bytes) in site.written() {
        let is_kept = path.ends_with("pki/site-registry/password");
        assert_eq!(String::from_utf8_lossy(&bytes).contains(PASSWORD), is_kept, "{}", path.display());
        let mode = std::fs::metadata(&path).expect("a file").permissions().mode();
        assert!(!is_kept || mode & 0o777 == 0o600, "{mode:o}");
    }

    site.run(&lab, &["cluster", "apply", "-f", "without.yaml"]).expect_ok();
    assert_eq!(lab.host(0).sh("ls /etc/containerd/certs.d 2>/dev/null || :"), "");

    // Its host is lost.
    lab.host(1).kill();
    let remove =
        ["registry", "remove", "--environment", "shop", "--ssh-password-file", "password", "--host", "10.8.14.201"];
    let refused = site.run(&lab, &remove);
    assert!(refused.code == Some(1) && refused.stderr.contains("is removed with --force"), "{refused:?}");
    let removed = site.run(&lab, &[&remove[..], &["--force"]].concat()).expect_ok();
    assert!(removed.stdout.contains("nothing was undone on it"), "{removed:?}");
    assert_eq!(site.run(&lab, &["registry", "status", "--environment", "shop"]).code, Some(2));
}
