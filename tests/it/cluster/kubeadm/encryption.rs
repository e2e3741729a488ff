//! Secrets of a cluster of several control plane nodes, encrypted from a file on, while clients write and read them.

use crate::etcd::etcdctl;
use crate::lab::Lab;
use crate::site::Site;

use super::super::eventually;
use super::kubeadm_control_plane::GROUPS;
use super::settings::APPLY;

const FILE: &str = "\
schema: 1
defaults: {passwordFile: password}
hosts:
  - {address: 10.8.14.200, roles: [etcd, control-plane, worker]}
  - {address: 10.8.14.201, roles: [control-plane, worker]}
  - {address: 10.8.14.202, roles: [control-plane, worker]}
";

/// `$1` the number of an API server, the only one that is asked. Writes a secret, lists all, and gets what was written last by way of
/// each server; notes what was written and listed, and each error.
const LOOP: &str = r#"
cd /run/secrets-test
ask() {
  said=$(kubectl --kubeconfig /root/.kube/config --server "https://10.8.14.20$at:6443" --request-timeout=5s "$@" 2>&1) && return 0
  printf '%s\n' "$said" >>"errors-$at"
  return 1
}
at=$1 n=0
while :; do
  sleep 0.2
  n=$((n + 1))
  if ask create secret generic "word-$at-$n" --from-literal=word=a-secret-word; then
    printf '%s' "word-$at-$n" >"new-$at" && mv "new-$at" "last-$at" && echo "word-$at-$n" >>"written-$at"
  fi
  ! ask get secrets -A -o name || echo "$n" >>"listed-$at"
  for other in 0 1 2; do
    [ ! -e "last-$other" ] || ask get secret "$(cat "last-$other")" -o name || :
  done
done
"#;

/// A client of each API server, all on one host.
fn clients(lab: &Lab) {
    lab.host(0).sh(&format!("mkdir -p /run/secrets-test && cat >/run/secrets-test/loop <<'END'{LOOP}END"));
    for server in 0..3 {
        let unit = format!("systemd-run -q --collect --unit=secrets-{server} --setenv=HOME=/run/secrets-test");
        lab.host(0).sh(&format!("{unit} sh /run/secrets-test/loop {server}"));
    }
    every_server_answers(lab);
}

/// Waits until each client has written and listed once more.
fn every_server_answers(lab: &Lab) {
    for file in ["written", "listed"] {
        for server in 0..3 {
            let count = format!("wc -l </run/secrets-test/{file}-{server}");
            let before: u32 = lab.host(0).exec(&count).stdout.trim().parse().unwrap_or_default();
            eventually(lab, 0, &format!("[ \"$({count})\" -gt {before} ]"));
        }
    }
}

/// The provider that writes, as the file of each host has it.
fn providers_that_write(lab: &Lab) -> Vec<String> {
    let first = "grep -o '\"identity\"\\|\"secretbox\"' /etc/kubernetes/sunshine/encryption.yaml | head -n 1";
    lab.hosts().iter().map(|host| host.exec(first).stdout.trim().trim_matches('"').to_owned()).collect()
}

fn killed_at(lab: &Lab, site: &Site, step: &str) {
    let mut begun = false;
    let code = site.watch(lab, &APPLY, |event| {
        begun |= event["event"] == "step_started" && event["step"] == step;
        !begun
    });
    assert!(begun && code.is_none(), "{step}: {code:?}");
}

#[test]
fn secrets_are_read_from_every_api_server_while_they_are_encrypted_over_killed_runs() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(3);
    let site = Site::with(&GROUPS);
    let describe = |more: &str| std::fs::write(site.path("cluster.yaml"), format!("{FILE}{more}")).expect("the file");
    std::fs::write(site.path("password"), "111111\n").expect("a password file");
    describe("");
    site.run(&lab, &APPLY).expect_ok();
    lab.host(0).sh("kubectl create secret generic before --from-literal=word=a-secret-word");
    clients(&lab);

    describe("kubernetes: {encryptSecrets: true}\n");
    let planned = site.run(&lab, &[&APPLY[..], &["--dry-run"]].concat()).expect_ok();
    let planned = planned.stdout + &planned.stderr;
    assert_eq!(planned.matches("let the API server encrypt the secrets that it writes").count(), 3, "{planned}");

    // One API server has the key then, and none writes with it.
    killed_at(&lab, &site, "10.8.14.201/control-plane.settings");
    assert_eq!(providers_that_write(&lab), ["identity"; 3]);
    every_server_answers(&lab);
    killed_at(&lab, &site, "10.8.14.201/secrets.writes");
    assert_eq!(providers_that_write(&lab)[0], "secretbox");
    every_server_answers(&lab);
    let refused = site.run(&lab, &["cluster", "add", "--master", "root:111111@10.8.14.203"]);
    assert!(refused.code == Some(2) && refused.stderr.contains("has been begun and is not completed"), "{refused:?}");

    site.run(&lab, &APPLY).expect_ok();
    assert_eq!(providers_that_write(&lab), ["secretbox"; 3]);
    every_server_answers(&lab);
    lab.host(0).sh("systemctl stop secrets-0 secrets-1 secrets-2");
    let errors =
        lab.host(0).sh("cat /run/secrets-test/errors-* 2>/dev/null | sort | uniq -c | sort -rn | head -n 40; :");
    for word in ["transform", "prefix", "crypt", "NotFound"] {
        assert!(!errors.contains(word), "{errors}");
    }
    // What was written before, meanwhile and after.
    let last = (0..3).map(|server| lab.host(0).sh(&format!("tail -n 1 /run/secrets-test/written-{server}")));
    let first = (0..3).map(|server| lab.host(0).sh(&format!("head -n 1 /run/secrets-test/written-{server}")));
    for name in last.chain(first).chain(["before".to_owned()]) {
        let kept = etcdctl(lab.host(0), &format!("get /registry/secrets/default/{} --print-value-only", name.trim()));
        assert!(kept.starts_with("k8s:enc:secretbox:v1:key1:") && !kept.contains("a-secret-word"), "{name}: {kept}");
    }
    let all = etcdctl(lab.host(0), "get /registry/secrets/ --prefix");
    assert!(all.contains("/registry/secrets/default/word-2-1") && !all.contains("a-secret-word"), "as it is in etcd");
    site.changes_nothing(&lab, &APPLY);
}
