//! A package of etcd made from its image.

use std::process::Command;

use camino::Utf8Path;
use payload::{Bundle, MemberKind};

use crate::collect::site::{Site, index, rpm_folder};
use crate::setup::{DEPLOYER, Scratch, bundler, lab_files};

const PACKAGE: &str = "rpms/etcd-3.6.8-1.x86_64.rpm";

/// Packages and images of the lab's kubeadm, etcd's image among them.
fn kubeadm() -> (Vec<String>, Vec<String>) {
    lab_files(&["kubeadm-1.36"]).into_iter().partition(|file| file.ends_with(".rpm"))
}

/// Two of the images are enough where none has to be there.
fn kubeadm_with_two_images() -> (Vec<String>, Vec<String>) {
    let (rpms, mut tars) = kubeadm();
    tars.retain(|tar| tar.contains("/etcd-") || tar.contains("/pause-"));
    assert_eq!(tars.len(), 2);
    (rpms, tars)
}

fn build(rpms: &[String], images: &[String], out: &Utf8Path) -> String {
    let mut line = vec!["build", "--deployer", DEPLOYER, "-o", out.as_str(), "--rpms"];
    line.extend(rpms.iter().map(String::as_str));
    if !images.is_empty() {
        line.push("--image");
        line.extend(images.iter().map(String::as_str));
    }
    let (code, stdout, stderr) = bundler(&line);
    assert_eq!(code, 0, "{stdout}{stderr}");
    stdout
}

fn images(bundle: &Bundle) -> Vec<String> {
    bundle.images().unwrap().iter().flat_map(|image| &image.names).map(ToString::to_string).collect()
}

/// What rpm itself says of the package in a bundle, put beside it.
fn said_by_rpm(bundle: &Bundle, folder: &Utf8Path, question: &[&str]) -> String {
    let path = folder.join("etcd.rpm");
    let member = bundle.manifest().members.iter().find(|member| member.name == PACKAGE).unwrap();
    fs_err::write(&path, bundle.bytes(member).unwrap()).unwrap();
    let output = Command::new("rpm").args(question).arg(&path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_package_of_etcd_is_made_where_only_its_image_is_given() {
    let scratch = Scratch::new();
    let (rpms, tars) = kubeadm_with_two_images();
    let (first, again) = (scratch.path("a/x.bin"), scratch.path("b/x.bin"));
    for out in [&first, &again] {
        fs_err::create_dir_all(out.parent().unwrap()).unwrap();
        let said = build(&rpms, &tars, out);
        let note = "etcd-3.6.8-1.x86_64.rpm was made from the image registry.k8s.io/etcd:3.6.8-0";
        assert!(said.contains(note), "{said}");
    }
    assert!(fs_err::read(&first).unwrap() == fs_err::read(&again).unwrap(), "the same bytes on every build");
    let bundle = Bundle::open(&first).unwrap();
    bundle.verify(&mut |_| ()).unwrap();
    let names = images(&bundle);
    assert_eq!(names, ["registry.k8s.io/pause:3.10.2"]);
    let folder = first.parent().unwrap();
    let files = said_by_rpm(&bundle, folder, &["-qp", "--qf", "[%{FILENAMES} %{FILEUSERNAME} %{FILEMODES:perms}\\n]"]);
    for file in [
        "/usr/bin/etcd root -rwxr-xr-x",
        "/usr/bin/etcdctl root -rwxr-xr-x",
        "/usr/lib/systemd/system/etcd.service root -rw-r--r--",
        "/etc/etcd/etcd.conf root -rw-r--r--",
        "/var/lib/etcd etcd drwxr-xr-x",
    ] {
        assert!(files.lines().any(|line| line == file), "{file}: {files}");
    }
    said_by_rpm(&bundle, folder, &["-K", "--nosignature"]);
    assert!(said_by_rpm(&bundle, folder, &["-qp", "--scripts"]).contains("useradd --system"));
}

#[test]
fn a_package_that_is_given_stays_the_only_one_and_without_any_there_is_a_warning() {
    let scratch = Scratch::new();
    let (mut rpms, tars) = kubeadm_with_two_images();
    let out = scratch.path("x.bin");
    let said = build(&rpms, &[], &out);
    assert!(
        said.contains("no package of etcd is in the bundle: give one, or the image registry.k8s.io/etcd:3.6.8-0"),
        "{said}"
    );
    fs_err::remove_file(&out).unwrap();
    rpms.extend(lab_files(&["etcd-3.6"]));
    let said = build(&rpms, &tars, &out);
    assert!(!said.contains("etcd-3.6.8-1.x86_64.rpm was made"), "{said}");
    let bundle = Bundle::open(&out).unwrap();
    let packages = bundle.manifest().members.iter().filter(|m| m.kind == MemberKind::Rpm && m.name.contains("/etcd-"));
    assert_eq!(packages.count(), 1);
    assert!(images(&bundle).iter().any(|name| name.contains("/etcd:")), "an image that is asked for is there");
}

#[test]
fn collect_makes_it_where_no_repository_has_etcd() {
    let site = Site::new(&["el9"]);
    let folder = rpm_folder(&site.scratch, "el9");
    for entry in fs_err::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("etcd-") {
            fs_err::remove_file(path).unwrap();
        }
    }
    index(&folder);
    let out = site.scratch.path("x.bin");
    let (_, mut tars) = kubeadm();
    tars.extend(lab_files(&["flannel"]).into_iter().filter(|file| file.ends_with(".tar")));
    let mut line = vec!["-o", out.as_str(), "--image"];
    line.extend(tars.iter().map(String::as_str));
    let (code, stdout, stderr) = site.collect(&line);
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(stdout.contains("was made from the image registry.k8s.io/etcd:3.6.8-0"), "{stdout}");
    assert!(Bundle::open(&out).unwrap().manifest().members.iter().any(|member| member.name == PACKAGE));
}
