//! What is collected becomes a bundle, and by its lock the same bundle again.

use camino::{Utf8Path, Utf8PathBuf};
use payload::{Bundle, MemberKind};

use super::site::{Registry, Site, index, package, rpm_folder};
use crate::setup::lab_files;

const ADDON: &[u8] = b"kind: Pod\nspec:\n  containers:\n  - image: busybox:1.36\n";

fn members(bundle: &Bundle, kind: MemberKind) -> Vec<&str> {
    bundle.manifest().members.iter().filter(|member| member.kind == kind).map(|member| member.name.as_str()).collect()
}

/// As a run that was killed leaves blobs: the first half of one, and of another what the disk made of it.
fn cut_blobs(bundle: &Bundle, work: &Utf8Path) -> Vec<Utf8PathBuf> {
    fs_err::create_dir_all(work.join("images")).unwrap();
    fs_err::write(work.join("collect.lock"), "").unwrap();
    let mut blobs =
        bundle.manifest().members.iter().filter(|member| member.kind == MemberKind::Blob && member.size > 100_000);
    let mut part = |bytes: &dyn Fn(Vec<u8>) -> Vec<u8>| {
        let member = blobs.next().unwrap();
        let whole = bundle.bytes(member).unwrap().to_vec();
        let part = work.join(format!("images/{}.part", member.sha256));
        fs_err::write(&part, bytes(whole)).unwrap();
        part
    };
    vec![part(&|whole| whole[..whole.len() / 2].to_vec()), part(&|whole| vec![0; whole.len() / 2])]
}

#[test]
fn the_same_bundle_is_made_again_by_its_lock() {
    let site = Site::new(&["el9"]);
    let registry = Registry::start(&site.scratch);
    registry.push_kubernetes();
    let busybox = lab_files(&["docker"]).into_iter().find(|file| file.ends_with("/busybox.tar")).unwrap();
    registry.push("docker-archive", &busybox, "hub/busybox:1.36");
    let addon = format!("box={}", site.scratch.file("box.yaml", ADDON));
    let mirrors = [
        format!("registry.k8s.io={}/k8s", registry.host),
        format!("docker.io/library=http://{}/hub", registry.host),
        format!("ghcr.io/flannel-io={}/flannel", registry.host),
    ];
    let (lock, first) = (site.scratch.path("x.lock"), site.scratch.path("first.bin"));
    let line = |out: &str, more: &[&str]| {
        let own =
            ["--lock", lock.as_str(), "--addon", &addon, "--mirror", &mirrors[0], &mirrors[1], &mirrors[2], "-o", out];
        site.collect(&[&own[..], more].concat())
    };
    let (code, stdout, stderr) = line(first.as_str(), &[]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(stderr.contains("warning: el9: the repository el9-all has gpgcheck=0"), "{stderr}");
    assert!(stderr.contains("pulling docker.io/library/busybox:1.36"), "{stderr}");
    let bundle = Bundle::open(&first).unwrap();
    bundle.verify(&mut |_| ()).unwrap();
    let rpms = members(&bundle, MemberKind::Rpm);
    // Named ones, what they require, and the empty system's; what nothing asks for is not there.
    for name in
        ["kubeadm", "kubelet", "kubectl", "etcd", "containerd.io", "socat", "haproxy", "libsnmp40", "base-system"]
    {
        assert!(rpms.iter().any(|rpm| rpm.starts_with(&format!("rpms/{name}-"))), "{name}: {rpms:?}");
    }
    assert!(!rpms.iter().any(|rpm| rpm.contains("docker-registry")), "{rpms:?}");
    let images: Vec<String> =
        bundle.images().unwrap().iter().flat_map(|image| &image.names).map(ToString::to_string).collect();
    assert_eq!(images.len(), 9, "{images:?}");
    for name in [
        "registry.k8s.io/coredns/coredns:v1.14.2",
        "docker.io/library/busybox:1.36",
        "ghcr.io/flannel-io/flannel-cni-plugin:v1.9.1-flannel3",
    ] {
        assert!(images.iter().any(|image| image == name), "{name}: {images:?}");
    }
    let text = fs_err::read_to_string(&lock).unwrap();
    assert!(text.contains("\"nevra\": \"kubeadm-0:1.36.3-1.el9.x86_64\"") && !text.contains("127.0.0.1"), "{text}");
    assert!(text.contains("\"url\": \"http://repo.invalid/el9/kubeadm-1.36.3-1.el9.x86_64.rpm\""), "{text}");

    // Later the repository has newer packages, and a tag is another image's.
    package(&rpm_folder(&site.scratch, "el9"), "base-system", "2", &["/bin/sh"]);
    index(&rpm_folder(&site.scratch, "el9"));
    registry.push(
        "docker-archive",
        &lab_files(&["docker"]).iter().find(|file| file.ends_with("/pause.tar")).unwrap().clone(),
        "hub/busybox:1.36",
    );
    let second = site.scratch.path("second.bin");
    let cut = cut_blobs(&bundle, &site.scratch.path("second.bin.work"));
    let (code, stdout, stderr) = line(second.as_str(), &[]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(fs_err::read(&first).unwrap() == fs_err::read(&second).unwrap(), "{stdout}");
    assert_eq!(fs_err::read_to_string(&lock).unwrap(), text);
    assert!(!cut.iter().any(|part| part.exists()));

    // One package has become another under the same name; what is in the first work folder would hide that.
    package(&rpm_folder(&site.scratch, "el9"), "base-system", "1", &["/bin/sh", "other"]);
    let third = site.scratch.path("third.bin");
    let (code, stdout, stderr) = line(third.as_str(), &[]);
    assert_eq!(code, 2, "{stdout}{stderr}");
    assert!(stderr.contains("error: el9: base-system-0:1-1.noarch differs: http://127.0.0.1:"), "{stderr}");
    assert!(stderr.contains("help: find out who changed it") && !third.exists(), "{stderr}");

    let (code, _, stderr) = line(third.as_str(), &["--package", "socat"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("does not fit: it is for --package , not for --package socat"), "{stderr}");
    let other = format!("other={}", site.scratch.file("other.yaml", b"image: x.io/other:1\n"));
    let (code, _, stderr) = line(first.as_str(), &["--work", &format!("{first}.work"), "--addon", &other]);
    assert_eq!(code, 2);
    assert!(stderr.contains("the image x.io/other:1, named by other, is not in the lock"), "{stderr}");
}

#[test]
fn packages_of_several_distributions_are_each_for_their_hosts() {
    let site = Site::new(&["el8", "el9"]);
    let newer = rpm_folder(&site.scratch, "el8");
    package(&newer, "base-system", "8", &["/bin/sh", "systemd", "shadow-utils", "iproute", "iptables", "util-linux"]);
    index(&newer);
    let repos = ["el8", "el9"].map(|distro| format!("{distro}={}", site.repo(distro, "gpgcheck=0")));
    let out = site.scratch.path("x.bin");
    let images = super::site::image_files();
    let mut more = vec!["--distro", "el8", "el9", "--repo", &repos[0], &repos[1], "-o", out.as_str(), "--image"];
    more.extend(images.iter().map(String::as_str));
    let (code, stdout, stderr) = site.collect(&more);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let bundle = Bundle::open(&out).unwrap();
    let rpms = members(&bundle, MemberKind::Rpm);
    for name in ["el8/rpms/base-system-8-", "el9/rpms/base-system-1-", "el8/rpms/kubeadm-", "el9/rpms/kubeadm-"] {
        assert_eq!(rpms.iter().filter(|rpm| rpm.starts_with(name)).count(), 1, "{name}: {rpms:?}");
    }
    assert!(!rpms.iter().any(|rpm| rpm.starts_with("rpms/")), "{rpms:?}");
}
