//! etcd clusters made by the product on real hosts.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests: a panic is how a test fails")]

use std::io::Read;
use std::process::Stdio;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::Duration;

use base64::Engine;

use crate::lab::{Host, Lab, Output};
use crate::site::{Site, assert_unchanged, assert_unchanged_but, at_rest, results};

const FILE: &str = "/home/install_rpm/etcd-3.4.23-1.el9.x86_64.rpm";

pub(crate) fn contract_line<'a>(hosts: &'a [String], more: &[&'a str]) -> Vec<&'a str> {
    let mut line = vec!["-K", "onekey_deploy_ctl", "-create_etcd_cluster", "--host-list"];
    line.extend(hosts.iter().map(String::as_str));
    line.extend(["-f", FILE]);
    line.extend(more);
    line
}

pub(crate) fn targets(lab: &Lab) -> Vec<String> {
    lab.hosts().iter().map(Host::target).collect()
}

/// As root does after logging in; what the start files print is not asked for.
pub(crate) fn etcdctl(host: &Host, words: &str) -> String {
    host.sh(&format!("bash -lc 'etcdctl {words} >&3 2>&3' 3>&1 >/dev/null 2>&1"))
}

pub(crate) fn assert_healthy(lab: &Lab, members: usize) {
    let health = etcdctl(lab.host(0), "endpoint health --cluster");
    assert_eq!(health.matches("is healthy").count(), members, "{health}");
    let ids: std::collections::BTreeSet<_> = lab
        .hosts()
        .iter()
        .map(|h| etcdctl(h, "endpoint status -w json"))
        .map(|text| serde_json::from_str::<serde_json::Value>(text.trim()).expect("endpoint status"))
        .map(|status| status[0]["Status"]["header"]["cluster_id"].to_string())
        .collect();
    assert_eq!(ids.len(), 1, "all members are of one cluster: {ids:?}");
}

#[test]
fn etcd_on_hosts_of_three_kinds_and_a_second_run_changes_nothing() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::builder().hosts(3).distinct().up();
    let site = Site::with(&["etcd"]);
    let key = lab.host(1).login.key.clone().expect("maintuser has a key");
    let hosts = targets(&lab);
    let login = ["--ssh-user", "maintuser", "--ssh-key", key.to_str().expect("its path")];
    let line = contract_line(&hosts, &login);
    let first = site.run(&lab, &line).expect_ok();
    assert!(first.stdout.contains("10.8.14.202"), "{}", first.stdout);
    assert_healthy(&lab, 3);
    // Options count before what root's login shell says, and no version warns of a variable.
    let options = "--endpoints https://127.0.0.1:2379 --cacert /etc/etcd/pki/ca.crt --cert /etc/etcd/pki/root.crt \
                   --key=/etc/etcd/pki/root.key endpoint health";
    for words in [options, "endpoint health"] {
        let said = etcdctl(lab.host(0), words);
        assert!(said.contains("is healthy") && !said.contains("ETCDCTL_"), "{said}");
    }

    etcdctl(lab.host(2), "put kept value");
    let before: Vec<String> = lab.hosts().iter().map(at_rest).collect();
    let started = |h: &Host| h.sh("systemctl show -p ActiveEnterTimestampMonotonic etcd");
    let since: Vec<String> = lab.hosts().iter().map(started).collect();
    let mut last = serde_json::Value::Null;
    let code = site.watch(&lab, &line, |event| {
        assert_ne!(event["outcome"]["result"], "changed", "{event}");
        last = event.clone();
        true
    });
    assert_eq!(code, Some(0), "{last}");
    assert!(results(&last).iter().all(|(_, result)| result == "ok"), "{last}");
    assert_eq!(since, lab.hosts().iter().map(started).collect::<Vec<_>>());
    // A member writes to its own data whenever a leader is chosen anew, as on a busy machine.
    let data = |line: &str| line.contains("  /var/lib/etcd/default.etcd/member/");
    for (host, before) in lab.hosts().iter().zip(before) {
        assert_unchanged_but(host, &before, data);
    }
    assert!(etcdctl(lab.host(0), "get --print-value-only kept").contains("value"));
    lab.assert_no_egress(&[]);
}

#[test]
fn etcd_from_the_ini_files() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let site = Site::with(&["etcd"]);
    std::fs::create_dir(site.path("conf")).expect("conf");
    std::fs::write(site.path("conf/conf.ini"), "[etcd-cluster]\n10.8.14.200:111111  # the only one\n")
        .expect("conf.ini");
    std::fs::create_dir(site.path("install_rpm")).expect("install_rpm");
    let install = "[etcd-cluster]\netcd-3.4.23-1.el9.x86_64.rpm\n";
    std::fs::write(site.path("install_rpm/install.ini"), install).expect("install.ini");
    // Another unit already made systemd look for etcd's, in vain: what it knows of that one is out of date from then on.
    lab.host(0).sh("systemd-run -q --unit=holder -p After=etcd.service sleep 1000; systemctl is-enabled etcd || :");
    let output = site.run(&lab, &["deploy"]).expect_ok();
    assert!(output.stderr.contains("one member"), "a warning for one member: {}", output.stderr);
    assert_healthy(&lab, 1);
    // The same request by another door is the same cluster: nothing to do.
    let again = site.run(&lab, &["etcd", "create", "--host", "root:111111@10.8.14.200", "-v"]).expect_ok();
    assert!(!again.stderr.contains(": done ("), "{}", again.stderr);
}

#[test]
fn etcd_with_one_wrong_password_changes_nothing_anywhere() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(3);
    let site = Site::with(&["etcd"]);
    let before: Vec<String> = lab.hosts().iter().map(at_rest).collect();
    let mut hosts = targets(&lab);
    hosts[1] = "root:wrong-one@10.8.14.201".to_owned();
    let output = site.run(&lab, &contract_line(&hosts, &[]));
    assert_eq!(output.code, Some(1));
    assert!(output.stderr.contains("10.8.14.201: login as root refused"), "{}", output.stderr);
    assert!(!output.stderr.contains("wrong-one") && !output.stderr.contains("111111"), "{}", output.stderr);
    for (host, before) in lab.hosts().iter().zip(before) {
        assert_unchanged(host, &before);
    }
}

#[test]
fn etcd_with_a_host_lost_in_the_middle_is_completed_by_the_same_line() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(3);
    let site = Site::with(&["etcd"]);
    let hosts = targets(&lab);
    let line = contract_line(&hosts, &[]);
    let mut closing = serde_json::Value::Null;
    let mut cut = false;
    let code = site.watch(&lab, &line, |event| {
        if !cut && event["event"] == "step_started" && event["host"] == "10.8.14.202" {
            cut = true;
            lab.host(2).cut_network();
        }
        closing = event.clone();
        true
    });
    assert_eq!(code, Some(1));
    let lost = ("10.8.14.202".to_owned(), "unreachable".to_owned());
    assert!(results(&closing).contains(&lost), "{closing}");
    lab.host(2).heal();
    site.run(&lab, &line).expect_ok();
    assert_healthy(&lab, 3);
}

#[test]
fn etcd_grows_by_a_learner_and_keeps_its_data() {
    if !Lab::here() {
        return;
    }
    let mut lab = Lab::up(3);
    let site = Site::with(&["etcd"]);
    site.run(&lab, &contract_line(&targets(&lab), &[])).expect_ok();
    etcdctl(lab.host(0), "put kept value");
    lab.add();
    site.run(&lab, &contract_line(&targets(&lab), &[])).expect_ok();
    assert_healthy(&lab, 4);
    assert!(etcdctl(lab.host(3), "get --print-value-only kept").contains("value"));
    assert!(!etcdctl(lab.host(0), "member list").contains("true"), "no learner is left");
}

#[test]
fn foreign_etcd_data_is_refused_and_never_deleted_unasked() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let site = Site::with(&["etcd"]);
    lab.host(0).sh("mkdir -p /var/lib/etcd/default.etcd/member && echo precious >/var/lib/etcd/default.etcd/member/x");
    let hosts = targets(&lab);
    let refused = site.run(&lab, &contract_line(&hosts, &[]));
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("--wipe-data 10.8.14.200"), "{}", refused.stderr);
    assert_eq!(lab.host(0).sh("cat /var/lib/etcd/default.etcd/member/x").trim(), "precious");
    let create = ["etcd", "create", "--host", &hosts[0], "--wipe-data", "10.8.14.200"];
    site.run(&lab, &create).expect_ok();
    assert_healthy(&lab, 1);
    // Named again, it does not touch the data that is now the cluster's own.
    etcdctl(lab.host(0), "put kept value");
    site.run(&lab, &create).expect_ok();
    assert!(etcdctl(lab.host(0), "get --print-value-only kept").contains("value"));
}

#[test]
fn secrets_of_any_characters_work_and_show_up_nowhere() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(2);
    let site = Site::with(&["etcd"]);
    let printable: String = (b'!'..=b'~').map(char::from).collect();
    let (utf8, phrase) = ("päss wörd€-geheim", "open sesame, please");
    set_password(lab.host(0), "root", &printable);
    set_password(lab.host(1), "sudouser", utf8);
    let key = site.path("key");
    let mut keygen = std::process::Command::new("ssh-keygen");
    Output::of(keygen.args(["-q", "-t", "ed25519", "-N", phrase, "-f"]).arg(&key)).expect_ok();
    let public = std::fs::read_to_string(site.path("key.pub")).expect("the public key");
    lab.host(1).sh(&format!(
        "mkdir -p ~sudouser/.ssh; echo '{public}' >~sudouser/.ssh/authorized_keys; chown -R sudouser: ~sudouser/.ssh"
    ));
    std::fs::write(site.path("phrase"), phrase).expect("a file for the passphrase");
    let private = std::fs::read_to_string(&key).expect("the private key");
    let secrets = [printable.as_str(), utf8, phrase, private.lines().nth(1).expect("its body"), "PRIVATE KEY"];

    let hosts = [format!("root:{printable}@10.8.14.200"), "sudouser@10.8.14.201".to_owned()];
    let (key, phrase) = (key.to_string_lossy(), site.path("phrase"));
    let phrase = phrase.to_string_lossy();
    let login = ["-v", "--ssh-key", &key, "--ssh-key-passphrase-file", &phrase, "--ssh-sudo-pw", utf8];
    for form in [&[][..], &["--json"]] {
        let (said, seen) = run_and_look(&site, &lab, &contract_line(&hosts, &[&login[..], form].concat()));
        for secret in secrets {
            let quoted = serde_json::Value::from(secret).to_string();
            assert!(!said.contains(secret) && !said.contains(quoted.trim_matches('"')), "{secret} was printed");
            assert!(!seen.contains(secret), "{secret} was in a process's arguments or environment");
        }
    }
    assert_healthy(&lab, 2);
    // The cluster's own private keys belong there, in files that only root reads.
    for secret in &secrets[..4] {
        for (path, bytes) in site.written() {
            let found = bytes.windows(secret.len()).any(|w| w == secret.as_bytes());
            assert!(!found, "{secret} is in {}", path.display());
        }
        let encoded = base64::engine::general_purpose::STANDARD.encode(secret);
        for host in lab.hosts() {
            let found = host.sh(&format!(
                "p=$(echo {encoded} | base64 -d); journalctl --no-pager -o cat | grep -cF -- \"$p\"; \
                 grep -rlFs --exclude-dir=journal -- \"$p\" /etc /var /run /tmp /root /home; :"
            ));
            assert_eq!(found, "0", "{secret} is on {}", host.name());
        }
    }
}

fn set_password(host: &Host, user: &str, password: &str) {
    // Encoded: the lab's own command line must not be where it is found.
    let line = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}\n"));
    host.sh(&format!("echo {line} | base64 -d | chpasswd"));
}

/// What the line prints, and what arguments and environments all processes had from its first word on: before, its own
/// arguments may be seen as they were typed. The hosts' processes share this kernel, so one look shows those of both ends.
fn run_and_look(site: &Site, lab: &Lab, line: &[&str]) -> (String, String) {
    let mut command = site.command(lab, line);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start");
    let (first, spoke) = std::sync::mpsc::channel();
    let (out, err) = (child.stdout.take().expect("its output"), child.stderr.take().expect("its errors"));
    let read = [read_all(out, first.clone()), read_all(err, first)];
    spoke.recv_timeout(Duration::from_secs(300)).expect("its first word");
    let mut seen = String::new();
    let status = loop {
        let ps = std::process::Command::new("ps").args(["axeww", "-o", "args"]).output().expect("ps");
        seen.push_str(&String::from_utf8_lossy(&ps.stdout));
        match child.try_wait().expect("its end") {
            Some(status) => break status,
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    let said = read.map(|thread| thread.join().expect("reading")).concat();
    assert!(status.success(), "{said}");
    assert!(seen.contains("sunshine-installer.bin") && seen.contains("sshd"), "the run was looked at");
    (said, seen)
}

/// Reads a stream to its end; `first` hears of its first byte.
fn read_all(mut stream: impl Read + Send + 'static, first: Sender<()>) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = vec![0];
        let some = stream.read(&mut bytes).expect("reading");
        bytes.truncate(some);
        if some > 0 {
            // The other stream may have been first, and nobody listens any more.
            let _ = first.send(());
        }
        stream.read_to_end(&mut bytes).expect("reading");
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

#[test]
fn hostile_names_are_refused_and_odd_paths_work() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let site = Site::with(&["docker"]);
    let odd = site.path("it's a \"package\" $(reboot); x");
    std::fs::create_dir(&odd).expect("an odd folder");
    let etcd = Lab::rpms(&["etcd"]).into_iter().next().expect("etcd's rpm");
    let file = odd.join("etcd 'quoted'.rpm");
    std::fs::copy(&etcd, &file).expect("copying etcd's rpm");
    let host = "root:111111@10.8.14.200";
    let create = ["etcd", "create", "--host", host, "--rpm", file.to_str().expect("UTF-8")];

    lab.host(0).sh("echo 'a;touch /owned' >/proc/sys/kernel/hostname");
    let refused = site.run(&lab, &create);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("cannot be a member's name"), "{}", refused.stderr);
    lab.host(0).sh("echo host0 >/proc/sys/kernel/hostname");

    site.run(&lab, &create).expect_ok();
    assert_healthy(&lab, 1);
    assert!(!lab.host(0).exec("ls /owned").ok());

    let missing = site.run(&lab, &["etcd", "create", "--host", host, "--rpm", "/no/such/etcd-9.rpm"]);
    assert_eq!(missing.code, Some(2));
    assert!(missing.stderr.contains("/no/such/etcd-9.rpm"), "{}", missing.stderr);
    let reboot = site.run(&lab, &["etcd", "create", "--host", "root:x@10.8.14.200;reboot"]);
    assert_eq!(reboot.code, Some(2), "{}", reboot.stderr);
}
