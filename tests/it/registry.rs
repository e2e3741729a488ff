//! A registry of the site: the distribution server on a lab host, with TLS and a user.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests: a panic is how a test fails")]

use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};

use crate::lab::{Lab, Output};
use crate::site::Site;

const REGISTRY: &str = "10.8.14.200:5000";
const PASSWORD: &str = "geheim";
/// Of that password (bcrypt, as htpasswd writes it).
const HASH: &str = "$2b$05$abcdefghijklmnopqrstuuVWu8RjbNovPZWAMRdd7iqaaG0mI53Uu";
const CONFIG: &str = "\
version: 0.1
storage: {filesystem: {rootdirectory: /var/lib/docker-registry}}
http: {addr: ':5000', tls: {certificate: /etc/docker/registry/tls.crt, key: /etc/docker/registry/tls.key}}
auth: {htpasswd: {realm: site, path: /etc/docker/registry/htpasswd}}
";

/// An authority, and a server's certificate and key that it signs.
fn certificates() -> (String, String, String) {
    let (root_key, key) = (KeyPair::generate().expect("a key"), KeyPair::generate().expect("a key"));
    let mut root = CertificateParams::new(Vec::new()).expect("an authority");
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = root.self_signed(&root_key).expect("its certificate").pem();
    let issuer = Issuer::new(root, root_key);
    let server = CertificateParams::new(vec!["10.8.14.200".to_owned()]).expect("a server");
    let server = server.signed_by(&key, &issuer).expect("its certificate").pem();
    (ca, server, key.serialize_pem())
}

/// Starts the registry on the first host; the site gets its authority's file `ca.crt` and the password's file `password`.
fn start(lab: &Lab, site: &Site) {
    let (ca, certificate, key) = certificates();
    let rpms = Lab::rpms(&["extras"]).into_iter().filter(|path| path.to_string_lossy().contains("docker-registry"));
    lab.host(0).install(&rpms.collect::<Vec<_>>());
    let put =
        |name: &str, text: &str| lab.host(0).sh(&format!("cat >/etc/docker/registry/{name} <<'END'\n{text}\nEND"));
    put("config.yml", CONFIG);
    put("tls.crt", &certificate);
    put("tls.key", &key);
    put("htpasswd", &format!("site:{HASH}"));
    lab.host(0).sh(
        "systemctl restart docker-registry && timeout 60 sh -c 'until ss -ltn | grep -q :5000; do sleep 0.2; done'",
    );
    std::fs::write(site.path("ca.crt"), ca).expect("the authority's file");
    std::fs::write(site.path("password"), PASSWORD).expect("the password's file");
}

fn push<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["registry", "push", "10.8.14.200:5000/site/k8s", "--ca", "ca.crt", "--json"], more].concat()
}

const LOGIN: [&str; 4] = ["--user", "site", "--password-file", "password"];

/// What a push says of each image.
fn said(output: &Output) -> Vec<Value> {
    serde_json::from_str(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
}

fn sent(pushed: &[Value]) -> u64 {
    pushed.iter().filter_map(|one| one["sent"].as_u64()).sum()
}

#[test]
fn images_are_pushed_once_and_only_for_the_user() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let site = Site::with(&["docker"]);
    start(&lab, &site);

    let refused = site.run(&lab, &push(&[]));
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("status 401") && refused.stderr.contains("--password-file"), "{refused:?}");
    std::fs::write(site.path("wrong"), "Wrong-Word").expect("another password");
    let refused = site.run(&lab, &push(&["--user", "site", "--password-file", "wrong"]));
    assert!(refused.code == Some(1) && refused.stderr.contains("status 401"), "{refused:?}");
    let untrusted = [&["registry", "push", REGISTRY][..], &LOGIN].concat();
    let refused = site.run(&lab, &untrusted);
    assert!(refused.code == Some(1) && refused.stderr.contains("with --ca"), "{refused:?}");

    let dry = said(&site.run(&lab, &push(&[&LOGIN[..], &["--dry-run"]].concat())).expect_ok());
    let first = said(&site.run(&lab, &push(&LOGIN)).expect_ok());
    assert_eq!((first.len(), sent(&first)), (2, sent(&dry)), "{first:?}");
    assert!(first.iter().any(|one| one["name"] == format!("{REGISTRY}/site/k8s/pause:3.2")), "{first:?}");
    lab.host(0).sh(
        "systemctl restart docker-registry && timeout 60 sh -c 'until ss -ltn | grep -q :5000; do sleep 0.2; done'",
    );
    let again = said(&site.run(&lab, &push(&LOGIN)).expect_ok());
    assert!(sent(&again) == 0 && again.iter().all(|one| one["there"] == true), "{again:?}");

    let list = [&["registry", "list", "10.8.14.200:5000/site", "--ca", "ca.crt", "--json"][..], &LOGIN].concat();
    let listed = said(&site.run(&lab, &list).expect_ok());
    let expected =
        json!([{"name": "site/k8s/library/busybox", "tags": ["latest"]}, {"name": "site/k8s/pause", "tags": ["3.2"]}]);
    assert_eq!(json!(listed), expected);

    let skopeo = |image: &str| {
        let mut skopeo = lab.run("skopeo");
        let certificates = format!("--cert-dir={}", site.path("").display());
        skopeo.args(["inspect", "--format", "{{.Digest}}", "--creds", "site:geheim", &certificates]);
        Output::of(skopeo.arg(format!("docker://{REGISTRY}/site/k8s/{image}"))).expect_ok().stdout
    };
    let images = site.run(&lab, &["bundle", "images", "--json"]).expect_ok().stdout;
    for image in ["pause:3.2", "library/busybox:latest"] {
        assert!(images.contains(skopeo(image).trim()), "{image}: {images}");
    }
    for (path, bytes) in site.written() {
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(PASSWORD) && !text.contains("Wrong-Word"), "{}", path.display());
    }
}

#[test]
fn chosen_images_and_archives_are_pushed_and_wrong_names_refused() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let site = Site::with(&["docker"]);
    start(&lab, &site);
    std::fs::write(site.path("list"), "# those of the cluster\nk8s.gcr.io/pause:3.2\n\n").expect("a list");
    let one = said(&site.run(&lab, &push(&[&LOGIN[..], &["--image-list", "list"]].concat())).expect_ok());
    assert_eq!(one.len(), 1, "{one:?}");

    let refused = site.run(&lab, &push(&[&LOGIN[..], &["--image", "k8s.gcr.io/pause:3.3"]].concat()));
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("not in the bundle: k8s.gcr.io/pause:3.3"), "{refused:?}");

    // An archive that no bundle has, gzipped as people do.
    let from =
        Lab::rpms(&["docker"]).into_iter().find(|path| path.ends_with("busybox.tar")).expect("an image of the lab");
    let archive = site.path("app.tar.gz");
    let gzip =
        Command::new("gzip").arg("-c").arg(from).stdout(std::fs::File::create(&archive).expect("a file")).status();
    assert!(gzip.is_ok_and(|status| status.success()));
    let file = archive.to_string_lossy().into_owned();
    let pushed = said(&site.run(&lab, &push(&[&LOGIN[..], &["--file", &file]].concat())).expect_ok());
    assert_eq!(pushed.len(), 1, "{pushed:?}");
    assert_eq!(pushed[0]["name"], format!("{REGISTRY}/site/k8s/library/busybox:latest"));
}
