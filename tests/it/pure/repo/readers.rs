//! Other readers of the same repository: zypper, and dnf beside createrepo_c's metadata.

use std::process::Command;

use camino::Utf8PathBuf;
use sunshine_installer::deliver::Server;

use crate::lab::{Lab, Output};
use crate::repo::setup::{Scratch, lab_rpms};

/// A server on the loopback with the lab's packages, if they can be had here.
fn served(scratch: &Scratch) -> Option<(Server, Vec<Utf8PathBuf>)> {
    if !Lab::here() {
        return None;
    }
    let rpms = lab_rpms(&["etcd", "docker", "extras"]);
    let server = Server::start(Some(scratch.bundle(&rpms)), &[], "127.0.0.1:0".parse().unwrap()).unwrap();
    Some((server, rpms))
}

#[test]
fn repo_dnf_answers_as_from_createrepo_c() {
    let scratch = Scratch::new();
    let Some((server, rpms)) = served(&scratch) else { return };
    let folder = scratch.path("createrepo");
    fs_err::create_dir_all(folder.join("rpms")).unwrap();
    for rpm in &rpms {
        fs_err::copy(rpm, folder.join("rpms").join(rpm.file_name().unwrap())).unwrap();
    }
    Output::of(Command::new("createrepo_c").args(["-q", folder.as_str()])).expect_ok();
    let query = |base: &str, what: &[&str]| {
        let mut dnf = Command::new("dnf");
        dnf.env("LC_ALL", "C").args(["-q", "--noplugins", "--repofrompath", &format!("x,{base}")]);
        dnf.args(["--repo=x", "--setopt=x.gpgcheck=0", "--setopt=metadata_expire=0"]);
        dnf.args([
            &format!("--setopt=cachedir={}", scratch.path("cache")),
            &format!("--installroot={}", scratch.path("root")),
        ]);
        dnf.args(["--releasever=9", "repoquery"]).args(what);
        Output::of(&mut dnf).expect_ok().stdout
    };
    let ours = server.url_for(server.addr().ip());
    let theirs = format!("file://{folder}");
    for what in [
        ["--requires", "*"],
        ["--provides", "*"],
        ["--list", "*"],
        [
            "--qf=%{name} %{epoch} %{version} %{release} %{arch} %{size} %{installsize} %{summary} %{license} %{sourcerpm}",
            "*",
        ],
        ["--location", "*"],
    ] {
        let (one, two) = (query(&ours, &what), query(&theirs, &what));
        let two = two.replace(&theirs, ours.trim_end_matches('/'));
        assert!(one.lines().count() > 10, "{what:?}: {one}");
        assert_eq!(one, two, "{what:?}");
    }
}

#[test]
fn repo_zypper_reads_it() {
    let scratch = Scratch::new();
    let Some((server, rpms)) = served(&scratch) else { return };
    let root = scratch.path("zypp");
    fs_err::create_dir_all(&root).unwrap();
    let zypper = |arguments: &[&str]| {
        let mut zypper = Command::new("zypper");
        zypper.env("LC_ALL", "C").args(["--non-interactive", "--gpg-auto-import-keys", "--root", root.as_str()]);
        Output::of(zypper.args(arguments)).expect_ok().stdout
    };
    let text = server.repo_file(server.addr().ip()).unwrap();
    let file = scratch.path("x.repo");
    fs_err::write(&file, text).unwrap();
    zypper(&["addrepo", "--repo", file.as_str()]);
    let said = zypper(&["refresh", "--force"]);
    assert!(said.contains("have been refreshed"), "{said}");
    let found = zypper(&["search", "--details", "--type", "package"]);
    for rpm in &rpms {
        let name = rpm.file_name().unwrap().rsplitn(3, '-').nth(2).unwrap();
        assert!(found.contains(&format!("| {name} ")), "{name} in {found}");
    }
    let info = zypper(&["info", "--requires", "docker"]);
    assert!(info.contains("containerd"), "{info}");
    let fetched = zypper(&["download", "etcd"]);
    assert!(fetched.contains("etcd-3.4.23-1.el9.x86_64"), "{fetched}");
    let mut find = Command::new("find");
    let found = Output::of(find.args([root.as_str(), "-name", "etcd-3.4.23-1.el9.x86_64.rpm"])).expect_ok().stdout;
    let bytes = fs_err::read(found.trim()).unwrap();
    let rpm = rpms.iter().find(|rpm| rpm.file_name().unwrap().starts_with("etcd-")).unwrap();
    assert!(bytes == fs_err::read(rpm).unwrap());
}
