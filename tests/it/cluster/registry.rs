//! A host of the cluster is a registry, which its nodes trust and pull from.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests: a panic is how a test fails")]

use serde_json::{Value, json};

use crate::lab::Lab;
use crate::site::{Site, assert_unchanged_but, at_rest};

use super::eventually;
use super::kubeadm::GROUPS;

const HOST: &str = "  - {address: 10.8.14.200, roles: [etcd, control-plane, worker]}\n";

const FILE: &str = "\
schema: 1
defaults: {passwordFile: password}
registry:
  storage: /srv/registry
  users: [{name: dev, passwordFile: registry-password}]
hosts:
  - {address: 10.8.14.200, roles: [etcd, control-plane, worker]}
  - {address: 10.8.14.201, roles: [registry]}
";

pub(super) const ADDRESS: &str = "10.8.14.201:5000";
pub(super) const PASSWORD: &str = "geheim der Site";

fn push<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["registry", "push", ADDRESS, "--user", "dev", "--password-file", "registry-password", "--json"], more].concat()
}

/// A pod of this image, which the node must pull, is running.
pub(super) fn runs(lab: &Lab, name: &str, image: &str) {
    runs_with(lab, name, image, &["pause"]);
}

/// The same with another command.
pub(super) fn runs_with(lab: &Lab, name: &str, image: &str, args: &[&str]) {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "it", "image": image, "imagePullPolicy": "Always", "args": args}]},
    });
    lab.host(0).sh(&format!("kubectl apply -f - <<'END'\n{pod}\nEND"));
    eventually(lab, 0, &format!("kubectl wait --for=condition=Ready --timeout=5s pod/{name}"));
    lab.host(0).sh(&format!("kubectl delete pod/{name} --wait=true --grace-period=1"));
}

/// The nodes' store without the image of the bundle: what is asked for next is pulled.
fn removed(lab: &Lab, image: &str) {
    lab.host(0).sh(&format!("crictl -r unix:///run/containerd/containerd.sock rmi {image}"));
}

/// Layers of a deleted image are there until they are collected, and the registry serves on.
fn deleted_images_leave_nothing(lab: &Lab, site: &Site, path: &str) {
    let (repository, tag) = path.rsplit_once(':').expect("a tag");
    let curl = format!("curl -sf --cacert /etc/docker-distribution/registry/ca.crt -u 'dev:{PASSWORD}'");
    let manifests = format!("https://{ADDRESS}/v2/{repository}/manifests");
    let accept =
        "-H 'Accept: application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json'";
    let delete = || {
        let digest = lab.host(1).sh(&format!(
            "{curl} {accept} -D - -o /dev/null {manifests}/{tag} | tr -d '\\r' | sed -n 's/^[Dd]ocker-[Cc]ontent-[Dd]igest: //p'"
        ));
        lab.host(1).sh(&format!("{curl} -X DELETE {manifests}/{}", digest.trim()));
    };
    let push = || site.run(lab, &push(&["--image", &format!("registry.k8s.io/{path}")])).expect_ok();
    delete();
    let blobs = || lab.host(1).sh("du -sm /srv/registry/docker/registry/v2/blobs | cut -f1").trim().parse::<u32>();
    assert!(blobs().expect("a number") > 1);
    let gc = ["registry", "gc", "--ssh-password-file", "password"];
    let dry = site.run(lab, &[&gc[..], &["--dry-run"]].concat()).expect_ok();
    assert!(dry.stdout.contains("delete ") && blobs().expect("a number") > 1, "{dry:?}");
    let said = site.run(lab, &gc).expect_ok();
    assert!(
        format!("{}{}", said.stdout, said.stderr).contains(" MiB freed on 10.8.14.201")
            && blobs().expect("a number") <= 1,
        "{said:?}"
    );
    let again = site.run(lab, &[&gc[..], &["--delete-untagged"]].concat()).expect_ok();
    assert!(format!("{}{}", again.stdout, again.stderr).contains("0 B freed on 10.8.14.201"), "{again:?}");

    // A run killed in it, and a server that was left stopped: the next run completes both.
    push();
    delete();
    let code = site.watch(lab, &gc, |event| event["step"] != "10.8.14.201/registry.gc");
    assert_eq!(code, None, "killed");
    site.run(lab, &gc).expect_ok();
    assert!(blobs().expect("a number") <= 1);
    lab.host(1).sh("systemctl stop docker-distribution");
    site.run(lab, &gc).expect_ok();
    push();
}

#[test]
fn nodes_pull_from_a_registry_of_their_cluster() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(2);
    let site = Site::with(&[&GROUPS[..], &["registry"]].concat());
    let before = at_rest(lab.host(1));
    std::fs::write(site.path("password"), "111111\n").expect("a file");
    std::fs::write(site.path("registry-password"), format!("{PASSWORD}\n")).expect("a file");
    std::fs::write(site.path("cluster.yaml"), FILE).expect("a file");
    let apply = ["cluster", "apply", "-f", "cluster.yaml"];
    // A file of the site where one of ours would be: nothing is changed on any host.
    let of_site = "/etc/containerd/certs.d/_default/hosts.toml";
    lab.host(0).sh(&format!("mkdir -p $(dirname {of_site}); echo '# site' >{of_site}"));
    let refused = site.run(&lab, &apply);
    assert!(refused.code == Some(1) && refused.stderr.contains(&format!("{of_site} is the site's own")), "{refused:?}");
    assert_unchanged_but(lab.host(1), &before, |_| false);
    lab.host(0).sh("rm -r /etc/containerd");
    site.run(&lab, &apply).expect_ok();
    assert_eq!(lab.host(1).exec("systemctl is-active kubelet").stdout.trim(), "inactive", "a registry is no node");

    let info = site.run(&lab, &["registry", "login-info"]).expect_ok().stdout;
    assert!(info.contains(ADDRESS) && info.contains("dev") && info.contains("pki/registry/ca.crt"), "{info}");

    // The environment's authority is known; the user's password is asked for.
    let image = lab.host(0).sh("ctr -n k8s.io images list -q 2>/dev/null | grep '/agnhost:[^@]*$'").trim().to_owned();
    let refused = site.run(&lab, &["registry", "push", ADDRESS, "--image", &image]);
    assert!(refused.code == Some(1) && refused.stderr.contains("status 401"), "{refused:?}");
    std::fs::write(site.path("wrong"), "falsch\n").expect("a file");
    let wrong = ["registry", "push", ADDRESS, "--user", "dev", "--password-file", "wrong", "--image", &image];
    let refused = site.run(&lab, &wrong);
    assert!(refused.code == Some(1) && refused.stderr.contains("status 401"), "{refused:?}");
    site.run(&lab, &push(&["--image", &image])).expect_ok();

    // By the registry's address, and by upstream's name that the node does not have any more.
    let (_, path) = image.split_once('/').expect("a registry and a path");
    runs(&lab, "by-address", &format!("{ADDRESS}/{path}"));
    runs(&lab, "by-host-name", &format!("host1:5000/{path}"));
    removed(&lab, &image);
    runs(&lab, "by-upstream-name", &image);

    // Its host loses its power.
    let status = ["cluster", "status", "--json"];
    let said = site.run(&lab, &status).stdout;
    assert_eq!(
        serde_json::from_str::<Value>(&said).expect("JSON")["registry"]["10.8.14.201"]["healthy"],
        true,
        "{said}"
    );
    lab.host(1).kill();
    let said = site.run(&lab, &["registry", "status"]);
    assert!(said.code == Some(1) && said.stdout.contains("Unhealthy") && said.stdout.contains(ADDRESS), "{said:?}");
    lab.host(1).start();
    eventually(&lab, 1, "systemctl is-active docker-distribution");
    runs(&lab, "after-power-cut", &format!("{ADDRESS}/{path}"));

    let certificate = || lab.host(1).sh("sha256sum /etc/docker-distribution/registry/tls.crt");
    let old = certificate();
    // What kubeadm made is renewed with it, and read by a new API server.
    let of_kubeadm = || lab.host(0).sh("sha256sum /etc/kubernetes/pki/apiserver.crt; pgrep -x kube-apiserver");
    let old_of_kubeadm = of_kubeadm();
    site.run(&lab, &["cluster", "certs", "renew", "--ssh-password-file", "password"]).expect_ok();
    assert_ne!(certificate(), old);
    let new_of_kubeadm = of_kubeadm();
    let both_new = old_of_kubeadm.lines().zip(new_of_kubeadm.lines()).all(|(old, new)| old != new);
    assert!(both_new, "{old_of_kubeadm} {new_of_kubeadm}");
    let status = site.run(&lab, &["cluster", "certs", "status"]).expect_ok().stdout;
    assert!(status.contains("kubernetes/kubeadm on 10.8.14.200"), "{status}");
    runs(&lab, "after-renewal", &format!("{ADDRESS}/{path}"));

    site.changes_nothing(&lab, &apply);

    deleted_images_leave_nothing(&lab, &site, path);

    // What an earlier file said of registries goes from the nodes, and the site's own stays.
    let plain = FILE.replace("hosts:", "kubernetes: {insecureRegistries: [\"plain.example:5000\"]}\nhosts:");
    std::fs::write(site.path("plain.yaml"), plain).expect("a file");
    let folders = || lab.host(0).sh("ls /etc/containerd/certs.d 2>/dev/null || :");
    lab.host(0).sh("mkdir /etc/containerd/certs.d/site.example");
    site.run(&lab, &["cluster", "apply", "-f", "plain.yaml"]).expect_ok();
    assert!(folders().contains("plain.example:5000"));
    site.run(&lab, &apply).expect_ok();
    assert!(!folders().contains("plain.example") && folders().contains("site.example"), "{}", folders());
    lab.host(0).sh("rmdir /etc/containerd/certs.d/site.example");

    // Without the role the nodes forget it, and its host is as it was, but for the images.
    let without = FILE.split("registry:").next().unwrap_or_default().to_owned() + "hosts:\n" + HOST;
    std::fs::write(site.path("without.yaml"), without).expect("a file");
    let said = site.run(&lab, &["cluster", "apply", "-f", "without.yaml"]).expect_ok();
    assert!(said.stderr.contains("10.8.14.201 (registry)") && folders().contains(ADDRESS), "{said:?}");
    let prune = ["cluster", "apply", "-f", "without.yaml", "--prune", "--yes", "--ssh-password-file", "password"];
    let said = site.run(&lab, &prune).expect_ok();
    assert!(said.stdout.contains("its images are still in /srv/registry"), "{said:?}");
    assert_eq!(folders(), "");
    assert_unchanged_but(lab.host(1), &before, |line| line.contains("/srv"));
    assert_eq!(site.run(&lab, &["registry", "status"]).code, Some(2));
    site.run(&lab, &apply).expect_ok();
    runs(&lab, "again", &format!("{ADDRESS}/{path}"));

    // What opens the registry is in no log, state or record, and no argument.
    for (path, bytes) in site.written() {
        assert!(!String::from_utf8_lossy(&bytes).contains(PASSWORD), "{}", path.display());
    }

    let reset = ["cluster", "reset", "--yes", "--wipe-data", "--ssh-password-file", "password"];
    let said = site.run(&lab, &reset).expect_ok();
    assert!(format!("{}{}", said.stdout, said.stderr).contains("images are still in /srv/registry"), "{said:?}");
    assert_unchanged_but(lab.host(1), &before, |line| line.contains("/srv"));
    assert!(!lab.host(1).sh("ls /srv/registry/docker/registry/v2/repositories").is_empty());
}
