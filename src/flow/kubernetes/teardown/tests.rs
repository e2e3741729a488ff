use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use super::script;

/// A program of the host that writes down how it is called.
fn program(dir: &Path, name: &str, body: &str) {
    let path = dir.join("bin").join(name);
    std::fs::create_dir_all(dir.join("bin")).unwrap();
    std::fs::write(&path, format!("#!/bin/sh\necho {name} \"$@\" >>{}/calls\n{body}", dir.display())).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Runs the script with the host's folders in `dir`, and with programs that only write down how they are called, where they are not
/// there already.
fn run(dir: &Path, what: &str, environments: &str) -> Output {
    let bin = dir.join("bin");
    for name in [
        "systemctl",
        "iptables-save",
        "ip6tables-save",
        "nft",
        "ip",
        "umount",
        "docker",
        "ctr",
        "kubeadm",
        "kube-proxy",
        "pkill",
        "pgrep",
        "ipset",
    ] {
        if !bin.join(name).exists() {
            program(dir, name, "");
        }
    }
    let mut text = script().replace("/proc/self/mountinfo", &format!("{}/mountinfo", dir.display()));
    for place in
        ["/var/lib/", "/var/log/", "/var/run/", "/etc/", "/run/", "/root/", "/opt/", "/usr/libexec", "/usr/local/sbin"]
    {
        text = text.replace(place, &format!("{}{place}", dir.display()));
    }
    // Of a path that was replaced twice only the outer folder counts.
    text = text.replace(&format!("/var{}/run/", dir.display()), "/var/run/");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    Command::new("/bin/sh").args(["-c", &text, "sh", what, environments]).env("PATH", path).output().unwrap()
}

fn host(record: &str, files: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("var/lib/sunshine-installer");
    std::fs::create_dir_all(&state).unwrap();
    std::fs::write(state.join("record"), format!("format\t2\t-\n{record}")).unwrap();
    std::fs::write(dir.path().join("mountinfo"), "").unwrap();
    for file in files {
        let path = dir.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    }
    dir
}

const DOCKER: &str = "package\tdocker.x86_64\t-\ta-1\t0.1.0\t0\n";
const FILES: [&str; 3] = ["var/lib/kubelet/pods/x", "var/lib/docker/overlay2/x", "var/lib/cni/x"];

fn left(dir: &Path) -> BTreeSet<&'static str> {
    FILES.into_iter().filter(|file| dir.join(file).exists()).collect()
}

#[test]
fn what_kubernetes_made_goes_and_docker_s_folder_only_where_docker_is_ours() {
    for (environments, stays) in [("a-1", vec![]), ("b-2", vec![FILES[1]]), ("b-2 a-1", vec![])] {
        let dir = host(DOCKER, &FILES);
        let looked = run(dir.path(), "look", environments);
        assert!(String::from_utf8_lossy(&looked.stdout).contains("/var/lib/kubelet"), "{looked:?}");
        let output = run(dir.path(), "do", environments);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(left(dir.path()), stays.into_iter().collect(), "{environments}");
    }
}

#[test]
fn what_is_mounted_still_ends_it_with_its_name() {
    let dir = host(DOCKER, &FILES);
    let mount = dir.path().join("var/lib/kubelet/pods/x\\040y/volumes/nfs");
    std::fs::write(dir.path().join("mountinfo"), format!("36 35 98:0 / {} rw - nfs4 h:/x rw\n", mount.display()))
        .unwrap();
    let output = run(dir.path(), "do", "a-1");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("pods/x y/volumes/nfs") && said.contains("unmount it"),
        "{output:?}"
    );
    assert!(dir.path().join(FILES[0]).exists());
    let calls = std::fs::read_to_string(dir.path().join("calls")).unwrap();
    assert!(calls.contains("umount -l") && calls.contains("pods/x y/volumes/nfs"), "{calls}");
}

#[test]
fn kubeadm_deletes_nothing_across_a_mount() {
    let dir = host("", &["etc/kubernetes/kubelet.conf", FILES[0]]);
    let mount = dir.path().join("var/lib/kubelet/pods");
    std::fs::write(dir.path().join("mountinfo"), format!("36 35 98:0 / {} rw - ext4 /dev/x rw\n", mount.display()))
        .unwrap();
    assert!(!run(dir.path(), "do", "a-1").status.success());
    let calls = std::fs::read_to_string(dir.path().join("calls")).unwrap();
    assert!(calls.contains("systemctl stop kubelet") && !calls.contains("kubeadm reset"), "{calls}");
    std::fs::write(dir.path().join("mountinfo"), "").unwrap();
    assert!(run(dir.path(), "do", "a-1").status.success());
    // With that phase it would delete the data of the member that runs beside it.
    let calls = std::fs::read_to_string(dir.path().join("calls")).unwrap();
    assert!(calls.contains("kubeadm reset -f --skip-phases remove-etcd-member "), "{calls}");
}

#[test]
fn what_a_killed_reset_of_kubeadm_left_goes_by_the_next_one() {
    for file in ["admin.conf", "kubelet.conf", "scheduler.conf"] {
        let dir = host("", &[&format!("etc/kubernetes/{file}")]);
        let look = run(dir.path(), "look", "a-1");
        assert!(String::from_utf8_lossy(&look.stdout).contains("remove what kubeadm created"), "{file}: {look:?}");
        assert!(run(dir.path(), "do", "a-1").status.success());
        let calls = std::fs::read_to_string(dir.path().join("calls")).unwrap();
        assert!(calls.contains("kubeadm reset -f"), "{file}: {calls}");
    }
}

#[test]
fn folders_that_kubeadm_left_empty_go_and_no_others() {
    let dir = host("", &["etc/kubernetes/manifests/ours.yaml"]);
    let etc = dir.path().join("etc/kubernetes");
    for folder in ["pki/etcd", "tmp"] {
        std::fs::create_dir_all(etc.join(folder)).unwrap();
    }
    let look = run(dir.path(), "look", "a-1");
    let said = String::from_utf8_lossy(&look.stdout).into_owned();
    assert!(said.contains("kubernetes/tmp") && said.contains("pki/etcd") && !said.contains("manifests"), "{look:?}");
    assert!(run(dir.path(), "do", "a-1").status.success());
    assert!(!etc.join("pki").exists() && !etc.join("tmp").exists() && etc.join("manifests/ours.yaml").exists());
    std::fs::remove_file(etc.join("manifests/ours.yaml")).unwrap();
    assert!(run(dir.path(), "do", "a-1").status.success());
    assert!(!etc.exists());
    assert!(!String::from_utf8_lossy(&run(dir.path(), "look", "a-1").stdout).contains("empty folder"));
}

#[test]
fn what_calico_left_goes_and_what_is_the_site_s_stays() {
    const FILES: [&str; 3] = ["var/lib/calico/nodename", "var/log/calico/cni/cni.log", "var/run/nodeagent/socket"];
    let dir = host("", &FILES);
    let at = |name: &str| dir.path().join(name);
    let listed = "case $* in 'list -n') printf 'cali40s:a\\nsite\\ncali60x\\n';; esac\n";
    program(dir.path(), "ipset", listed);
    let routed =
        format!("case $* in '-4 route show proto 80') cat {}/routes 2>/dev/null;; esac\n", dir.path().display());
    program(dir.path(), "ip", &routed);
    std::fs::write(at("routes"), "blackhole 10.244.1.0/26\n10.244.2.0/26 via 10.0.0.2 dev eth0 onlink\n").unwrap();
    let look = run(dir.path(), "look", "a-1");
    let said = String::from_utf8_lossy(&look.stdout).into_owned();
    assert!(said.contains("remove 2 route(s) of Calico") && said.contains("var/log/calico"), "{look:?}");
    assert!(run(dir.path(), "do", "a-1").status.success());
    let calls = std::fs::read_to_string(at("calls")).unwrap();
    let destroyed: Vec<_> = calls.lines().filter(|call| call.starts_with("ipset destroy")).collect();
    assert_eq!(destroyed, ["ipset destroy cali40s:a", "ipset destroy cali60x"]);
    assert!(calls.contains("ip -4 route flush proto 80"), "{calls}");
    assert!(["var/lib/calico", "var/log/calico", "var/run/nodeagent"].iter().all(|folder| !at(folder).exists()));

    // Where Calico was not, these are somebody else's.
    let dir = host("", &FILES[1..]);
    program(dir.path(), "ip", "echo 10.9.0.0/16 via 10.0.0.2\n");
    assert!(run(dir.path(), "do", "a-1").status.success());
    let calls = std::fs::read_to_string(dir.path().join("calls")).unwrap();
    assert!(!calls.contains("route") && FILES[1..].iter().all(|file| dir.path().join(file).exists()), "{calls}");
}
