//! dnf and zypper, two independent readers of the metadata, install from an extracted bundle.

use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};
use payload::yum::Packing;
use payload::{Bundle, Inputs, Source};

use crate::metadata::lab_rpms;
use crate::rpmbuild::{Spec, run};
use crate::support::{Scratch, tiny_elf};

/// A bundle with the lab's etcd and what stands for a system, extracted.
fn extracted(scratch: &Scratch, packing: Packing) -> Utf8PathBuf {
    let dir = scratch.path("made");
    Spec::new("system").tag("Provides: /bin/sh, systemd, shadow-utils").build(scratch, &dir);
    Spec::new("epoch").tag("Epoch: 7\nRequires: (system if etcd)\nRecommends: system").build(scratch, &dir);
    let many: String = (0..3000).map(|i| format!("/srv/many/file-{i}\n")).collect();
    Spec::new("many")
        .files("mkdir -p srv/many; for i in $(seq 0 2999); do : >srv/many/file-$i; done", &many)
        .build(scratch, &dir);
    let bin = scratch.path("x.bin");
    let mut inputs = Inputs::new("0.1.0", Source::Bytes(tiny_elf()), &bin);
    inputs.packing = packing;
    let made = fs_err::read_dir(&dir).unwrap().map(|e| Utf8PathBuf::from_path_buf(e.unwrap().path()).unwrap());
    let wanted = |p: &Utf8PathBuf| p.file_name().is_some_and(|n| n.starts_with("etcd-") || n.starts_with("tini-"));
    made.chain(lab_rpms().into_iter().filter(wanted)).for_each(|path| inputs.rpm(None, Source::File(path)));
    let assembled = payload::assemble(inputs, &mut |_| ()).unwrap();
    payload::write(&assembled.recipe, &bin, &mut |_| ()).unwrap();
    let out = scratch.path("extracted");
    payload::extract(&Bundle::open(&bin).unwrap(), &out, None, &mut |_| ()).unwrap();
    out
}

fn installed(root: &Utf8Path) -> Vec<String> {
    let format = "%{NAME}-%{EPOCHNUM}:%{VERSION}\n";
    let mut names: Vec<String> =
        run("rpm", &["--root", root.as_str(), "-qa", "--qf", format], &[]).lines().map(str::to_owned).collect();
    names.sort();
    names
}

const EXPECTED: [&str; 4] = ["epoch-7:1.0", "etcd-0:3.4.23", "many-0:1.0", "system-0:1.0"];

fn dnf_installs(packing: Packing) {
    let scratch = Scratch::new();
    let repository = extracted(&scratch, packing);
    let (root, cache) = (scratch.path("root"), scratch.path("cache"));
    fs_err::create_dir_all(scratch.path("no.repos.d")).unwrap();
    let options = [
        format!("--installroot={root}"),
        format!("--repofrompath=bundle,file://{repository}"),
        format!("--setopt=reposdir={}", scratch.path("no.repos.d")),
        format!("--setopt=cachedir={cache}"),
        "--disablerepo=*".into(),
        "--enablerepo=bundle".into(),
        "--nogpgcheck".into(),
        "--releasever=9".into(),
        "--setopt=tsflags=noscripts".into(),
        "-y".into(),
    ];
    let mut args: Vec<&str> = options.iter().map(String::as_str).collect();
    args.extend(["install", "etcd", "epoch", "many"]);
    run("dnf", &args, &[]);
    assert_eq!(installed(&root), EXPECTED);
    assert!(root.join("usr/bin/etcd").is_file() && root.join("srv/many/file-2999").is_file());
}

#[test]
fn dnf_installs_from_the_extracted_folder() {
    dnf_installs(Packing::Gzip);
}

#[test]
fn dnf_installs_with_zstd_metadata() {
    dnf_installs(Packing::Zstd);
}

#[test]
fn zypper_installs_from_the_extracted_folder() {
    let scratch = Scratch::new();
    let repository = extracted(&scratch, Packing::Gzip);
    let root = scratch.path("root");
    fs_err::create_dir_all(&root).unwrap();
    let zypper = |args: &[&str]| {
        let output = Command::new("zypper")
            .args(["--non-interactive", "--no-gpg-checks", "--root", root.as_str()])
            .args(args)
            .output()
            .expect("Debian's package zypper must be installed");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // 107: all is installed, but a %post did not run; there is no shell under this root.
        assert!(matches!(output.status.code(), Some(0 | 107)), "{args:?}: {}\n{text}", output.status);
        text
    };
    zypper(&["addrepo", &format!("dir:{repository}"), "bundle"]);
    zypper(&["refresh"]);
    // zypper cannot leave scriptlets out: etcd's %pre must succeed, tini's %post need not.
    zypper(&["install", "--no-recommends", "tini", "epoch", "many"]);
    assert_eq!(installed(&root), ["epoch-7:1.0", "many-0:1.0", "system-0:1.0", "tini-0:0.19.0"]);
    assert!(root.join("srv/many/file-2999").is_file());
    assert!(zypper(&["search", "--details", "etcd"]).contains("3.4.23-1.el9"));
}
