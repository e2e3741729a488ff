//! `sunshine-bundler build` with the lab's packages.

use std::process::Command;

use assert_cmd::cargo::cargo_bin;
use camino::Utf8Path;
use payload::{Bundle, MemberKind};

use crate::setup::{DEPLOYER, Scratch, bundler, lab_files, lab_rpms};

fn build(rpms: &[String], more: &[&str], out: &Utf8Path) -> (i32, String, String) {
    let mut args = vec!["build", "--deployer", DEPLOYER, "-o", out.as_str(), "--rpms"];
    args.extend(rpms.iter().map(String::as_str));
    args.extend(more);
    bundler(&args)
}

#[test]
fn a_bundle_holds_what_was_given() {
    let scratch = Scratch::new();
    let out = scratch.path("x.bin");
    let image = lab_files(&["docker"]).into_iter().find(|file| file.ends_with("/pause.tar")).unwrap();
    let yaml = scratch.file("c.yaml", b"kind: DaemonSet\n");
    let conf = scratch.file("conf.ini", b"[etcd-cluster]\n");
    let install = scratch.file("install.ini", b"[etcd-cluster]\n");
    let (network, addon) = (format!("calico={yaml}"), format!("dns={yaml}"));
    let more = [
        "--image",
        image.as_str(),
        "--manifest",
        &network,
        "--addon",
        &addon,
        "--conf",
        conf.as_str(),
        "--install-conf",
        install.as_str(),
        "--product-version",
        "9.8.7",
    ];
    let (code, stdout, stderr) = build(&lab_rpms(&["etcd"]), &more, &out);
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    assert!(stdout.contains("version 9.8.7"), "{stdout}");
    let bundle = Bundle::open(&out).unwrap();
    bundle.verify(&mut |_| ()).unwrap();
    let kinds = |kind| bundle.manifest().members.iter().filter(|m| m.kind == kind).count();
    use MemberKind::{Addon, Blob, Ini, Layout, NetworkManifest, Repodata, Rpm};
    let counts = [Rpm, Blob, Layout, NetworkManifest, Addon, Ini, Repodata].map(kinds);
    assert_eq!(counts, [1, 3, 2, 1, 1, 2, 4]);
    assert!(bundle.images().unwrap()[0].names[0].repository().contains("pause"));
    let etcd = bundle.manifest().members.iter().find_map(|m| m.rpm.as_ref()).unwrap();
    assert_eq!((etcd.name.as_str(), etcd.arch.as_str()), ("etcd", "x86_64"));
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(fs_err::metadata(&out).unwrap().permissions().mode() & 0o111, 0o111);
}

#[test]
fn builds_on_different_days_are_the_same() {
    let scratch = Scratch::new();
    let rpms = lab_rpms(&["etcd", "extras"]);
    let (first, second) = (scratch.path("1.bin"), scratch.path("2.bin"));
    assert_eq!(build(&rpms, &[], &first).0, 0);
    // The second day: copies with other times and owners, in another order, in another folder.
    let mut copies = Vec::new();
    for rpm in rpms.iter().rev() {
        let copy = scratch.path(Utf8Path::new(rpm).file_name().unwrap());
        fs_err::copy(rpm, &copy).unwrap();
        assert!(Command::new("touch").args(["-d", "2031-05-06", copy.as_str()]).status().unwrap().success());
        copies.push(copy.into_string());
    }
    assert_eq!(build(&copies, &[], &second).0, 0);
    assert!(fs_err::read(first).unwrap() == fs_err::read(second).unwrap());
}

#[test]
fn what_cannot_be_packed_is_refused_by_name() {
    let scratch = Scratch::new();
    let out = scratch.path("x.bin");
    let mut rpms = lab_rpms(&["etcd"]);
    let whole = fs_err::read(&rpms[0]).unwrap();
    rpms.push(scratch.file("letter.rpm", b"Dear bundler").into_string());
    rpms.push(scratch.file("half.rpm", &whole[..whole.len() / 2]).into_string());
    let (code, _, stderr) = build(&rpms, &[], &out);
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("letter.rpm: it is no rpm") && stderr.contains("half.rpm: it is truncated"), "{stderr}");
    assert!(!out.exists());
    let script = scratch.file("script", b"#!/bin/sh\n");
    let (code, _, stderr) = bundler(&["build", "--deployer", script.as_str(), "-o", out.as_str()]);
    assert_eq!(code, 2);
    assert!(stderr.contains("script") && stderr.contains("not a Linux executable"), "{stderr}");
}

#[test]
fn an_architecture_that_does_not_fit_is_refused() {
    let scratch = Scratch::new();
    let mut elf = fs_err::read(DEPLOYER).unwrap();
    elf[18..20].copy_from_slice(&183_u16.to_le_bytes());
    let arm = scratch.file("arm-deployer", &elf);
    let out = scratch.path("x.bin");
    let rpms = lab_rpms(&["etcd"]);
    let (code, _, stderr) = bundler(&["build", "--deployer", arm.as_str(), "-o", out.as_str(), "--rpms", &rpms[0]]);
    assert_eq!(code, 2);
    assert!(stderr.contains("is for x86_64, the deployer for aarch64"), "{stderr}");
}

#[test]
fn a_set_that_is_not_closed_is_told() {
    let scratch = Scratch::new();
    let out = scratch.path("x.bin");
    let rpms = lab_rpms(&["docker"]);
    let docker = rpms.iter().filter(|rpm| rpm.contains("/docker-2")).cloned().collect::<Vec<_>>();
    let (code, stdout, _) = build(&docker, &[], &out);
    assert_eq!(code, 0);
    assert!(
        stdout.contains("warning: the set is not closed") && stdout.contains("containerd, required by docker"),
        "{stdout}"
    );
    fs_err::remove_file(&out).unwrap();
    let (code, _, stderr) = build(&docker, &["--require-closed"], &out);
    assert_eq!(code, 2);
    assert!(stderr.contains("error: the set is not closed") && !out.exists(), "{stderr}");
    let assumed = scratch.file("assumed", b"# the host\n*\n");
    let (code, stdout, _) = build(&docker, &["--require-closed", "--assume-provided", assumed.as_str()], &out);
    assert_eq!(code, 0, "{stdout}");
    assert!(!stdout.contains("not closed"), "{stdout}");
}

#[test]
fn folders_named_like_platforms_are_repositories_of_their_own() {
    let scratch = Scratch::new();
    let out = scratch.path("x.bin");
    let rpms = lab_rpms(&["docker", "etcd"]);
    let copy = |prefix: &str, to: &str| {
        let rpm = rpms.iter().map(Utf8Path::new).find(|rpm| rpm.file_name().unwrap().starts_with(prefix)).unwrap();
        let to = scratch.path(&format!("install_rpm/{to}/{}", rpm.file_name().unwrap()));
        fs_err::create_dir_all(to.parent().unwrap()).unwrap();
        fs_err::copy(rpm, to).unwrap();
    };
    copy("tini-", "");
    copy("etcd-", "el9");
    copy("docker-", "el8");
    copy("runc-", "centos7");
    let folder = [scratch.path("install_rpm").into_string()];
    let (code, stdout, stderr) = build(&folder, &[], &out);
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    let names: Vec<String> = Bundle::open(&out).unwrap().manifest().members.iter().map(|m| m.name.clone()).collect();
    for prefix in ["el8/rpms/docker-", "el9/rpms/etcd-", "rpms/tini-", "rpms/runc-"] {
        assert_eq!(names.iter().filter(|name| name.starts_with(prefix)).count(), 1, "{prefix}: {names:?}");
    }
    for says in [
        "packages: 2 for all hosts, 1 for el8, 1 for el9\n",
        "install_rpm/centos7 is for all hosts, as its name is no platform's",
        "warning: the set for el8 is not closed: no package in it provides\n",
    ] {
        assert!(stdout.contains(says), "{says}: {stdout}");
    }
    let el9 = stdout.split("the set for el9 is not closed").nth(1).unwrap_or_default();
    assert!(!el9.contains("required by docker"), "{stdout}");
    // What the hosts of one platform have says nothing of another's.
    fs_err::remove_file(&out).unwrap();
    let assumed = scratch.file("assumed", b"*\n");
    let el8 = format!("el8={assumed}");
    let (code, _, stderr) = build(&folder, &["--require-closed", "--assume-provided", &el8], &out);
    assert_eq!(code, 2);
    assert!(stderr.contains("error: the set for el9 is not closed") && !stderr.contains("for el8"), "{stderr}");
    let both = ["--require-closed", "--assume-provided", &el8, "--assume-provided", assumed.as_str()];
    let (code, stdout, stderr) = build(&folder, &both, &out);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(!stdout.contains("not closed"), "{stdout}");
}

#[test]
fn an_interrupt_leaves_nothing() {
    let scratch = Scratch::new();
    let hole = scratch.path("hole.tar");
    fs_err::File::create(&hole).unwrap().set_len(8 << 30).unwrap();
    for signal in ["-INT", "-TERM"] {
        let out = scratch.path("out/x.bin");
        fs_err::create_dir_all(out.parent().unwrap()).unwrap();
        let mut child = Command::new(cargo_bin!("sunshine-bundler"))
            .args(["build", "-q", "--deployer", DEPLOYER, "--file", &format!("hole={hole}"), "-o", out.as_str()])
            .spawn()
            .unwrap();
        let begun = || fs_err::read_dir(out.parent().unwrap()).unwrap().count() == 1;
        while !begun() {
            assert!(child.try_wait().unwrap().is_none(), "it ended before it began");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(130));
        assert_eq!(fs_err::read_dir(out.parent().unwrap()).unwrap().count(), 0);
    }
}

#[test]
fn images_that_are_named_and_not_there_are_told() {
    let scratch = Scratch::new();
    let out = scratch.path("x.bin");
    let yaml = scratch.file("c.yaml", b"spec:\n  containers:\n  - image: x.io/agent:1\n");
    let addon = format!("agent={yaml}");
    let rpms = lab_rpms(&["kubeadm-1.20"]);
    let (code, stdout, _) = build(&rpms, &["--addon", &addon], &out);
    assert_eq!(code, 0, "{stdout}");
    assert!(stdout.contains("  x.io/agent:1, named by agent"), "{stdout}");
    assert!(stdout.contains("  k8s.gcr.io/kube-proxy:v1.20.2, named by kubeadm"), "{stdout}");
    assert!(
        stdout.matches("/etcd:").count() == 1 && stdout.contains("no package of etcd is in the bundle"),
        "{stdout}"
    );
    fs_err::remove_file(&out).unwrap();
    let (code, _, stderr) = build(&rpms, &["--addon", &addon, "--require-images"], &out);
    assert_eq!(code, 2);
    assert!(stderr.contains("error: these images are named and not in the bundle") && !out.exists(), "{stderr}");
    // Nobody listens on that port.
    let list = scratch.file("list", b"# mirror\n127.0.0.1:9/agent:1 # one\n\n");
    let (code, _, stderr) =
        bundler(&["build", "--deployer", DEPLOYER, "-o", out.as_str(), "--image-list", list.as_str()]);
    assert_eq!(code, 1);
    assert!(stderr.contains("  127.0.0.1:9/agent:1: ") && !out.exists(), "{stderr}");
    let wrong = scratch.file("wrong", b"x.io/agent:1\nnot a name\n");
    let (code, _, stderr) =
        bundler(&["build", "--deployer", DEPLOYER, "-o", out.as_str(), "--image-list", wrong.as_str()]);
    assert_eq!(code, 2);
    assert!(stderr.contains("\"not a name\" is no image's name"), "{stderr}");
}
