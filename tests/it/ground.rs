//! The lab itself, and by hand what the product will do with it: etcd from a yum repository on a real host.

#![allow(clippy::expect_used, reason = "helpers of tests: a panic is how a test fails")]

use std::process::{Child, Command, Stdio};

use crate::lab::{Lab, Output};

/// A plain directory of rpms, served over HTTP on the control host for as long as this lives.
struct Served {
    server: Child,
    folder: tempfile::TempDir,
}

/// `http.server` by itself asks the name server who this machine is, which would be a packet that leaves the lab.
const SERVE: &str = "\
import functools, http.server, socketserver, sys
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[1])
socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer(('', 8000), handler).serve_forever()";

impl Served {
    fn rpms(lab: &Lab, groups: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the repository");
        for file in Lab::rpms(groups) {
            let name = file.file_name().expect("an rpm has a name");
            std::fs::copy(&file, folder.path().join(name)).expect("copying an rpm");
        }
        Output::of(Command::new("createrepo_c").arg("-q").arg(folder.path())).expect_ok();
        let server = lab
            .run("python3")
            .args(["-c", SERVE])
            .arg(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("python3 serves a folder");
        Self { server, folder }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        assert!(self.folder.path().exists() || std::thread::panicking());
    }
}

/// Mounts, processes, namespaces, cgroups and files that bear a lab's name.
fn traces(name: &str) -> Vec<String> {
    let line = format!(
        "grep -H 'sunshine-lab/{name}' /proc/mounts /proc/[0-9]*/mountinfo 2>/dev/null; \
         grep -lzE '^LAB={name}$' /proc/[0-9]*/environ 2>/dev/null; \
         find /sys/fs/cgroup -type d -path '*sunshine-lab/{name}*'; \
         ls -d /run/netns/lab-{name} /run/sunshine-lab/{name} \"${{SUNSHINE_LAB_CACHE:-/var/cache/sunshine-lab}}/disks/{name}\" 2>/dev/null; \
         losetup -a | grep 'disks/{name}/'; true"
    );
    Output::of(Command::new("sh").args(["-c", &line])).stdout.lines().map(str::to_owned).collect()
}

#[test]
fn lab_etcd_installs_with_dnf_and_nothing_is_left() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let (name, host) = (lab.name().to_owned(), lab.host(0));
    let _repository = Served::rpms(&lab, &["etcd"]);
    host.sh(&format!(
        "printf '[lab]\\nname=lab\\nbaseurl=http://{}:8000\\ngpgcheck=0\\n' >/etc/yum.repos.d/lab.repo",
        lab.control()
    ));
    // The server may still be starting.
    host.sh("curl -sf --retry 20 --retry-delay 1 --retry-connrefused http://10.8.14.1:8000/repodata/repomd.xml");
    host.sh("dnf -y install etcd && systemctl start etcd");
    let health = host.exec("ETCDCTL_API=3 etcdctl endpoint health 2>&1").expect_ok();
    assert!(health.stdout.contains("is healthy"), "{}", health.stdout);
    lab.assert_no_egress(&[]);
    assert!(!traces(&name).is_empty(), "a running lab must show, or the next check proves nothing");
    drop(lab);
    assert_eq!(traces(&name), Vec::<String>::new());
}

#[test]
fn lab_sees_every_packet_that_leaves() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    lab.assert_no_egress(&[]);
    lab.host(0).exec("curl -m 1 http://192.0.2.7:8080/; ping -c 1 -W 1 192.0.2.8; ping -6 -c 1 -W 1 2001:db8::9");
    let _ = Output::of(lab.run("curl").args(["-sm", "1", "http://192.0.2.10/"]));
    let mut seen: Vec<_> =
        lab.egress(&[]).into_iter().map(|packet| (packet.host, packet.to, packet.protocol, packet.port)).collect();
    seen.sort();
    let expected = [
        ("control", "192.0.2.10", "tcp", "80"),
        ("host0", "192.0.2.7", "tcp", "8080"),
        ("host0", "192.0.2.8", "icmp", "-"),
        ("host0", "2001:db8::9", "ipv6-icmp", "-"),
    ]
    .map(|(host, to, protocol, port)| (host.to_owned(), to.to_owned(), protocol.to_owned(), port.to_owned()));
    assert_eq!(seen, expected);
    assert_eq!(lab.egress(&["192.0.2.0/24", "2001:db8::/32"]), []);
}

#[test]
fn lab_of_a_killed_test_is_removed_as_stale() {
    if !Lab::here() {
        return;
    }
    // Stands for a test process: the lab belongs to it, and it gets no chance to clean up.
    let mut owner = Command::new("sleep").arg("1000").spawn().expect("sleep");
    let (name, pid) = (format!("it-killed-{}", std::process::id()), owner.id().to_string());
    let script = &crate::checkout().join("tests/lab/lab");
    Output::of(Command::new(script).args(["up", "1", "--name", &name, "--owner", &pid])).expect_ok();
    Output::of(Command::new(script).args(["down", "--stale"])).expect_ok();
    assert!(!traces(&name).is_empty(), "a lab with a living owner stays");
    owner.kill().expect("kill -9");
    owner.wait().expect("its end");
    Output::of(Command::new(script).args(["down", "--stale"])).expect_ok();
    assert_eq!(traces(&name), Vec::<String>::new());
}

#[test]
fn lab_faults_do_what_they_say_and_end() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::builder().hosts(2).disk("2G").up();
    let (one, two) = (lab.host(0), lab.host(1));
    let reach = |what: &str| Output::of(lab.run("curl").args(["-sm", "1", what])).code;
    let greeting = format!("telnet://{}:22", one.address());
    // curl waits for more after the greeting: 28 with bytes received is an answer.
    let answers = || {
        let output = Output::of(lab.run("curl").args(["-sm", "1", &greeting]).stdin(Stdio::null()));
        output.stdout.starts_with("SSH-2.0")
    };
    assert!(answers());
    one.cut_network();
    assert!(!answers());
    one.heal();
    assert!(answers());

    one.cut_from(two);
    assert!(!one.exec(&format!("ping -c 1 -W 1 {}", two.address())).ok());
    assert!(answers(), "the control host is not cut off");
    one.heal_from(two);
    one.sh(&format!("ping -c 4 -W 1 {}", two.address()));

    one.fill_disk(0);
    assert!(!one.exec("echo x >/root/x").ok());
    one.free_disk();
    one.sh("echo x >/root/x && sync");

    one.freeze();
    assert!(!answers());
    one.thaw();
    assert!(answers());

    one.set_clock(-86400);
    let skew = one.sh("echo $(($(date +%s) - $(date.real +%s)))");
    assert!(["-86400", "-86401"].contains(&skew.as_str()), "{skew}");
    one.set_clock(0);

    two.drop_to_control();
    assert!(!two.exec(&format!("ping -c 1 -W 1 {}", lab.control())).ok());
    assert_eq!(reach(&format!("http://{}:1/", two.address())), Some(7), "the other way is open: connection refused");
    two.heal();
    two.sh(&format!("ping -c 1 -W 1 {}", lab.control()));

    let before = one.sh("cat /proc/sys/kernel/random/boot_id /etc/machine-id");
    one.kill();
    assert!(!one.exec("true").ok());
    one.start();
    assert_eq!(one.sh("cat /root/x"), "x", "a disk outlives a power cut");
    assert_ne!(one.sh("hostname"), two.sh("hostname"));
    assert_ne!(one.sh("cat /etc/machine-id"), two.sh("cat /etc/machine-id"));
    assert!(before.contains(&one.sh("cat /etc/machine-id")), "the same machine after a reboot");
    lab.assert_no_egress(&[]);
}

#[test]
fn lab_hosts_are_what_distinct_says() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::builder().hosts(3).distinct().logins("bash").up();
    let ssh = |index: usize, command: &str| {
        let login = &lab.host(index).login;
        let mut line = match &login.password {
            Some(password) => {
                let mut line = lab.run("sshpass");
                line.args(["-p", password, "ssh"]);
                line
            }
            None => lab.run("ssh"),
        };
        if let Some(key) = &login.key {
            line.arg("-i").arg(key);
        }
        line.args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]);
        line.args(["-p", &login.port.to_string(), &format!("{}@{}", login.user, login.address), command]);
        Output::of(&mut line)
    };
    assert_eq!(ssh(0, "whoami").expect_ok().stdout, "root\n");
    assert_eq!(lab.host(1).login.port, 2222);
    assert_eq!(ssh(1, "whoami; sudo -n whoami").expect_ok().stdout, "maintuser\nroot\n");
    assert!(!ssh(2, "sudo -n whoami").ok(), "host 2 asks for sudo's password");
    assert_eq!(ssh(2, "echo maint-pw | sudo -S -p '' whoami").expect_ok().stdout, "root\n");
}
