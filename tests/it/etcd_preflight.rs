//! What stands in the way of an etcd cluster is told whole, before anything changes; and the ways to make one that the
//! other files leave out.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests: a panic is how a test fails")]

use serde_json::Value;

use crate::etcd::{assert_healthy, contract_line, etcdctl, targets};
use crate::lab::Lab;
use crate::repo::setup::Scratch;
use crate::site::{Site, assert_unchanged, at_rest};

#[test]
fn every_problem_of_every_host_is_told_at_once_and_nothing_is_changed() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::builder().hosts(5).disk("2G").up();
    let site = Site::with(&["etcd"]);
    let mut hosts = targets(&lab);
    // A squatter on the client port, a clone, a clock, foreign data on a full disk, and a user without sudo.
    lab.host(0).sh("systemd-run -q --unit=squatter python3 -m http.server 2379 --directory /var/empty 2>&1");
    let twin = lab.host(0).sh("cat /etc/machine-id");
    lab.host(1).sh(&format!("echo {twin} >/etc/machine-id; hostname host0"));
    lab.host(2).set_clock(-90);
    lab.host(3).sh("mkdir -p /var/lib/etcd/default.etcd/member && echo precious >/var/lib/etcd/default.etcd/member/x");
    lab.host(4).sh("useradd --create-home nosudo && echo nosudo:geheim | chpasswd");
    hosts[4] = "nosudo:geheim@10.8.14.204".to_owned();
    hosts.push("root:geheim@10.8.14.209".to_owned());
    let before: Vec<String> = lab.hosts().iter().map(at_rest).collect();
    lab.host(3).fill_disk(100);

    let output = site.run(&lab, &contract_line(&hosts, &[]));
    lab.host(3).free_disk();
    assert_eq!(output.code, Some(1), "{}", output.stderr);
    for told in [
        "10.8.14.200: port 2379 is taken by python3",
        "10.8.14.201: has the same hostname as 10.8.14.200: host0",
        "10.8.14.201: has the same machine-id as 10.8.14.200",
        "10.8.14.202: its clock differs by 90.",
        "10.8.14.202: its clock is 1 min ",
        "10.8.14.203: /var/lib/etcd/default.etcd holds etcd data that this environment did not make",
        "10.8.14.203: / has 99 MiB free, ",
        " MiB are needed: etcd's data 512 MiB, fetched packages ",
        "10.8.14.204: nosudo cannot become root with sudo",
        "10.8.14.209: cannot connect",
        "8 problem(s) found on the hosts; nothing was changed",
    ] {
        assert!(output.stderr.contains(told), "{told}:\n{}", output.stderr);
    }
    assert!(!output.stderr.contains("geheim"), "{}", output.stderr);
    for (host, before) in lab.hosts().iter().zip(before) {
        assert_unchanged(host, &before);
    }
    assert_eq!(lab.host(3).sh("cat /var/lib/etcd/default.etcd/member/x"), "precious");
}

#[test]
fn the_control_host_may_be_one_of_the_hosts() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(2);
    let site = Site::with(&["etcd"]);
    let hosts = targets(&lab);
    let bundle = site.bundle().display().to_string();
    let push = ["hosts", "push", hosts[0].as_str(), "--file", &bundle, "--to", "/root/installer.bin", "--mode", "755"];
    site.run(&lab, &push).expect_ok();
    let list = hosts.join(" ");
    let own = lab.host(0);
    own.sh(&format!("/root/installer.bin etcd create --host {list} 2>&1"));
    assert_healthy(&lab, 2);
    // A reset takes nothing away that the control host keeps.
    own.sh(&format!("/root/installer.bin cluster reset --host {list} 2>&1"));
    own.sh("test -e /var/lib/onekey_deploy/known_hosts && ! rpm -q etcd && ls /var/lib/etcd/default.etcd/member");
    own.sh(&format!("/root/installer.bin etcd create --host {list} 2>&1"));
    assert_healthy(&lab, 2);
}

#[test]
fn a_masked_unit_is_named_and_nothing_is_changed() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(2);
    let site = Site::with(&["etcd"]);
    lab.host(1).sh("systemctl mask -q etcd");
    let before: Vec<String> = lab.hosts().iter().map(at_rest).collect();
    let hosts = targets(&lab);
    let line = contract_line(&hosts, &[]);
    let output = site.run(&lab, &line);
    assert_eq!(output.code, Some(1), "{}", output.stderr);
    let told = "10.8.14.201: etcd.service is masked here";
    assert!(
        output.stderr.contains(told) && output.stderr.contains("systemctl unmask etcd.service"),
        "{}",
        output.stderr
    );
    for (host, before) in lab.hosts().iter().zip(before) {
        assert_unchanged(host, &before);
    }
    lab.host(1).sh("systemctl unmask -q etcd");
    site.run(&lab, &line).expect_ok();
    assert_healthy(&lab, 2);
}

/// What a package manager would find out in its transaction, each on another host, together and before it.
#[test]
fn what_stands_against_packages_is_told_of_every_host_at_once() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::builder().hosts(3).disk("2G").up();
    let site = Site::with(&["etcd"]);
    let hosts = targets(&lab);
    // rpm's database in somebody's hands, a host whose rpm wants signatures and has another's /usr/bin/etcd, and one whose disks are small.
    let holder = "import sqlite3, time\nc = sqlite3.connect(\"/var/lib/rpm/rpmdb.sqlite\", isolation_level=None)\n\
                  for line in (\"PRAGMA journal_mode=DELETE\", \"PRAGMA locking_mode=EXCLUSIVE\", \"BEGIN EXCLUSIVE\"): c.execute(line).fetchall()\n\
                  time.sleep(600)";
    lab.host(0).sh(&format!("systemd-run -q --unit=holder python3 -c '{holder}'; sleep 1"));
    let scratch = Scratch::new();
    let rpm = scratch.rpm_with("other-etcd", "1", "", 10, "/usr/bin/etcd").to_string();
    site.run(&lab, &["hosts", "push", &hosts[1], "--file", &rpm, "--to", "/root/other.rpm"]).expect_ok();
    lab.host(1).sh("rpm -i /root/other.rpm 2>&1; echo '%_pkgverify_level all' >>/etc/rpm/macros");
    lab.host(2).sh("mkdir -p /var/lib/etcd && mount -t tmpfs -o size=520m tmpfs /var/lib/etcd && mount --bind /var/lib/etcd /var/cache");
    let before: Vec<String> = lab.hosts()[1..].iter().map(at_rest).collect();

    let output = site.run(&lab, &contract_line(&hosts, &[]));
    assert_eq!(output.code, Some(1), "{}", output.stderr);
    lab.host(0).sh("systemctl stop holder");
    for told in [
        "10.8.14.200: the database of rpm does not answer: gave no answer within 15 s; in use by python3 (process ",
        "10.8.14.201: file /usr/bin/etcd from install of etcd-3.4.23-1.el9.x86_64 conflicts with file from package other-etcd-1-1.noarch",
        "`dnf remove other-etcd`",
        "10.8.14.201: etcd-3.4.23-1.el9.x86_64 (not signed): the host's rpm installs only what is signed",
        "rpmsign --addsign",
        "10.8.14.202: /var/lib/etcd has 519 MiB free, ",
        " MiB are needed: etcd's data 512 MiB, fetched packages ",
        "4 problem(s) found on the hosts; nothing was changed",
    ] {
        assert!(output.stderr.contains(told), "{told}:\n{}", output.stderr);
    }
    for (host, before) in lab.hosts()[1..].iter().zip(before) {
        assert_unchanged(host, &before);
    }
}

/// A package of another name that provides etcd is the site's: it stays, and the line is satisfied.
#[test]
fn a_package_that_provides_etcd_under_another_name_is_enough() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let site = Site::with(&["etcd"]);
    let hosts = targets(&lab);
    let scratch = Scratch::new();
    let etcd = Lab::rpms(&["etcd"]).swap_remove(0).display().to_string();
    let provider = scratch.rpm("site-etcd", "1", "Provides: etcd = 3.4.23", 10).to_string();
    for (file, to) in [(&etcd, "/root/etcd.rpm"), (&provider, "/root/provider.rpm")] {
        site.run(&lab, &["hosts", "push", &hosts[0], "--file", file, "--to", to]).expect_ok();
    }
    lab.host(0)
        .sh("rpm -i /root/etcd.rpm 2>&1; rpm -e --justdb etcd 2>&1; rpm -i /root/provider.rpm 2>&1; ! rpm -q etcd");
    let line = ["etcd", "create", "--host", &hosts[0]];
    site.run(&lab, &line).expect_ok();
    assert_healthy(&lab, 1);
    site.changes_nothing(&lab, &line);
    lab.host(0).sh("rpm -q site-etcd && ! rpm -q etcd");
}

#[test]
fn a_member_that_was_renamed_is_named_and_works_again_by_its_old_name() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let site = Site::with(&["etcd"]);
    let hosts = targets(&lab);
    let line = contract_line(&hosts, &[]);
    site.run(&lab, &line).expect_ok();
    lab.host(0).sh("hostname other");
    let output = site.run(&lab, &line);
    assert_eq!(output.code, Some(1), "{}", output.stderr);
    let told = "10.8.14.200: its hostname was host0 when it came into the cluster, and is \"other\" now";
    assert!(
        output.stderr.contains(told) && output.stderr.contains("hostnamectl set-hostname host0"),
        "{}",
        output.stderr
    );
    lab.host(0).sh("hostname host0");
    site.changes_nothing(&lab, &line);
}

#[test]
fn a_host_is_refused_packages_that_are_for_another_platform() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(2);
    let site = Site::with(&["etcd"]);
    let rpm = Lab::rpms(&["etcd"]).swap_remove(0);
    let rpm = rpm.to_str().expect("its path");
    site.repack(&lab, &["--drop", "etcd", "--add", rpm, "--platform", "el9"]);
    lab.host(1).sh("sed -i s/platform:el9/platform:el8/ /etc/os-release");
    let before: Vec<String> = lab.hosts().iter().map(at_rest).collect();
    let hosts = targets(&lab);
    let by_name = ["etcd", "create", "--host", &hosts[0], &hosts[1]];
    for (line, package) in [(by_name.to_vec(), "etcd"), (contract_line(&hosts, &[]), "etcd-3.4.23-1.el9.x86_64.rpm")] {
        let output = site.run(&lab, &line);
        assert_eq!(output.code, Some(1), "{}", output.stderr);
        let told = format!("10.8.14.201 is el8, and the bundle has for other platforms only: {package} (for el9)");
        assert!(output.stderr.contains(&told), "{told}:\n{}", output.stderr);
        assert!(!output.stderr.contains("10.8.14.200 is el9"), "{}", output.stderr);
    }
    for (host, before) in lab.hosts().iter().zip(before) {
        assert_unchanged(host, &before);
    }
    site.repack(&lab, &["--add", rpm, "--platform", "el8"]);
    site.run(&lab, &by_name).expect_ok();
    assert_healthy(&lab, 2);
}

#[test]
fn a_host_to_be_wiped_must_be_a_member() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let site = Site::with(&["etcd"]);
    let host = &targets(&lab)[0];
    let output = site.run(&lab, &["etcd", "create", "--host", host, "--wipe-data", "10.8.14.20"]);
    assert_eq!(output.code, Some(2), "{}", output.stderr);
    assert!(output.stderr.contains("--wipe-data 10.8.14.20"), "{}", output.stderr);
}

/// Members by their IPv6 addresses, reached by a key that only an agent holds, as a user whose sudo asks for a password.
#[test]
fn etcd_over_ipv6_with_an_agent_s_key_and_sudo_s_password() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(3);
    let site = Site::with(&["etcd"]);
    let hosts: Vec<String> = lab.hosts().iter().map(|h| format!("sudouser@[{}]", h.login.address6)).collect();
    for host in lab.hosts() {
        host.sh("mkdir -p ~sudouser/.ssh && cp ~maintuser/.ssh/authorized_keys ~sudouser/.ssh/ && chown -R sudouser: ~sudouser/.ssh");
    }
    let agent = Agent::with(lab.host(0).login.key.as_deref().expect("the lab's key"), &site);
    std::fs::write(site.path("sudo-pw"), "sudo-pw\n").expect("a file for sudo's password");
    let pw_file = site.path("sudo-pw");
    let login = ["--ssh-agent", "--ssh-sudo-pw-file", pw_file.to_str().expect("UTF-8")];
    let line = contract_line(&hosts, &login);
    let run = |line: &[&str]| {
        let mut command = site.command(&lab, line);
        crate::lab::Output::of(command.env("SSH_AUTH_SOCK", &agent.socket))
    };
    run(&line).expect_ok();
    assert_healthy(&lab, 3);
    let list = etcdctl(lab.host(1), "member list");
    assert_eq!(list.matches("https://[fd10:8:14::20").count(), 6, "peer and client URL of each member: {list}");
    let again = run(&[&line[..], &["-v"]].concat()).expect_ok();
    assert!(!again.stderr.contains(": done ("), "{}", again.stderr);
}

#[test]
fn etcd_without_tls_as_it_was_before() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(2);
    let site = Site::with(&["etcd"]);
    let hosts = targets(&lab);
    let create = ["etcd", "create", "--host", &hosts[0], &hosts[1], "--etcd-tls", "off"];
    let first = site.run(&lab, &create).expect_ok();
    assert!(first.stderr.contains("2 members survives no more failures than with 1"), "{}", first.stderr);
    assert_healthy(&lab, 2);
    let plain = lab.host(0).sh("curl -sS http://10.8.14.201:2379/health");
    assert!(plain.contains("true"), "{plain}");
    let status: Value =
        serde_json::from_str(&site.run(&lab, &["etcd", "status", "--json"]).expect_ok().stdout).expect("JSON");
    assert_eq!(status["members"].as_object().expect("members").len(), 2, "{status}");
    let other = site.run(&lab, &["etcd", "create", "--host", &hosts[0], &hosts[1]]);
    assert_eq!(other.code, Some(2), "{}", other.stderr);
    assert!(other.stderr.contains("stands without TLS, this asks for it with"), "{}", other.stderr);
}

/// An ssh-agent that holds one key and ends with the test.
struct Agent {
    socket: std::path::PathBuf,
    process: std::process::Child,
}

impl Agent {
    fn with(key: &std::path::Path, site: &Site) -> Self {
        let socket = site.path("agent");
        let mut command = std::process::Command::new("ssh-agent");
        let process = command.arg("-D").arg("-a").arg(&socket).stdout(std::process::Stdio::null()).spawn();
        let agent = Self { socket, process: process.expect("ssh-agent") };
        while !agent.socket.exists() {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let mut add = std::process::Command::new("ssh-add");
        crate::lab::Output::of(add.arg("-q").arg(key).env("SSH_AUTH_SOCK", &agent.socket)).expect_ok();
        agent
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
