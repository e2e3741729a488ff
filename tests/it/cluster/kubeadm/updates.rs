//! An update of a host from a repository of the site, by the host's own dnf.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::lab::{Lab, Output};
use crate::site::Site;

use super::{HANGS, HOSTS};

/// A package of this name, newer than any that Kubernetes has.
fn newer(name: &str, folder: &Path) {
    let mut builder = rpm::PackageBuilder::new(name, "99.0", "MIT", "noarch", "A test");
    builder
        .build()
        .expect("an rpm")
        .write_file(folder.join(format!("{name}-99.0-1.noarch.rpm")))
        .expect("an rpm written");
}

/// The site's own exclude stays beside what the run adds, and packages of neither are updated.
pub(super) fn exclude_glibc(lab: &Lab) {
    lab.host(1).sh("sed -i '/^\\[main\\]/a exclude=glibc*, kernel' /etc/dnf/dnf.conf");
}

/// All packages of the cluster, and one that is none of it, in a newer version.
pub(super) fn change_nothing_of_the_cluster(lab: &Lab, site: &Site) {
    let excluded = lab.host(1).sh("grep ^exclude /etc/dnf/dnf.conf");
    assert!(excluded.starts_with("exclude=glibc*, kernel ") && excluded.contains(" kubelet"), "{excluded}");
    let of_etcd = lab.host(0).sh("grep ^exclude /etc/dnf/dnf.conf");
    assert!(of_etcd.split(['=', ' ']).any(|word| word == "etcd"), "{of_etcd}");
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["kubelet", "kubeadm", "kubectl", "containerd.io", "etcd", "ethtool"] {
        newer(name, folder.path());
    }
    bring(lab, site, folder.path());
    lab.host(1).sh(&format!("{UPDATE} && rm -r /root/updates /root/updates.tar"));
    let versions = lab.host(1).sh("rpm -q --qf '%{NAME}-%{VERSION}\\n' kubelet kubeadm kubectl containerd.io ethtool");
    assert!(versions.contains("ethtool-99.0") && versions.matches("-99.0").count() == 1, "{versions}");
}

/// As a site updates a host, from a repository of its own.
const UPDATE: &str =
    "dnf -y -q --refresh --disablerepo='*' --repofrompath=site,file:///root/updates --setopt=site.gpgcheck=0 update";

/// The repository of these packages in `/root/updates` of the second host.
fn bring(lab: &Lab, site: &Site, folder: &Path) {
    Output::of(Command::new("createrepo_c").arg("-q").arg(folder)).expect_ok();
    let archive = site.path("updates.tar");
    let mut tar = Command::new("tar");
    Output::of(tar.arg("-C").arg(folder).arg("-cf").arg(&archive).arg(".")).expect_ok();
    let archive = archive.to_string_lossy();
    site.run(lab, &["hosts", "push", "--host", HOSTS[1], "--file", &archive, "--to", "/root/updates.tar"]).expect_ok();
    lab.host(1).sh("mkdir /root/updates && tar -C /root/updates -xf /root/updates.tar");
}

/// A package of the lab in a later version, which its program says too: `to` is as long as `from`.
fn later(group: &str, name: &str, (from, to): (&str, &str), folder: &Path) {
    let files = Lab::rpms(&[group]);
    let is_it =
        |file: &&PathBuf| file.file_name().is_some_and(|f| f.to_string_lossy().starts_with(&format!("{name}-{from}")));
    let package = rpm::Package::open(files.iter().find(is_it).expect("the package")).expect("an rpm");
    let extracted = folder.join("extracted");
    package.extract(&extracted).expect("its files");
    let mut builder = rpm::PackageBuilder::new(name, to, "MIT", "x86_64", "A test");
    builder.using_config(rpm::BuildConfig::default().compression(rpm::CompressionType::None));
    for entry in package.metadata.get_file_entries().expect("its files") {
        let path = entry.path().to_string_lossy().into_owned();
        let there = extracted.join(path.trim_start_matches('/'));
        if there.is_dir() {
            builder.with_dir_entry(rpm::FileOptions::dir(path).permissions(entry.permissions())).expect("a folder");
            continue;
        }
        if path.starts_with("/usr/bin/") {
            let change = format!("s/{}/{to}/g", from.replace('.', "[.]"));
            Output::of(Command::new("sed").arg("-i").arg(change).arg(&there)).expect_ok();
        }
        let options = rpm::FileOptions::new(&path).permissions(entry.permissions());
        let options = if path.starts_with("/etc/") { options.config().noreplace() } else { options };
        builder.with_file(there, options).expect("a file");
    }
    let file = folder.join(format!("{name}-{to}-1.x86_64.rpm"));
    builder.build().expect("an rpm").write_file(file).expect("an rpm written");
    std::fs::remove_dir_all(extracted).expect("the extracted files removed");
}

/// Later versions of the kubelet and of containerd: a usual update leaves them out, and `cluster status` names the host where somebody
/// has installed them all the same.
pub(super) fn are_named_that_heed_no_exclude(lab: &Lab, site: &Site) {
    let folder = tempfile::tempdir().expect("a folder");
    later("kubeadm-1.36", "kubelet", ("1.36.3", "1.36.9"), folder.path());
    later("containerd-2", "containerd.io", ("2.4.2", "2.4.9"), folder.path());
    bring(lab, site, folder.path());
    let installed = "rpm -q --qf '%{NAME}-%{VERSION} ' kubelet containerd.io";
    lab.host(1).sh(UPDATE);
    assert_eq!(lab.host(1).sh(installed).trim(), "kubelet-1.36.3 containerd.io-2.4.2");
    lab.host(1).sh(&format!("{UPDATE} --disableexcludes=main && systemctl restart containerd kubelet"));
    assert_eq!(lab.host(1).sh(installed).trim(), "kubelet-1.36.9 containerd.io-2.4.9");
    let said = "host1: its kubelet is 1.36.9, the cluster 1.36.3; its runtime is containerd 2.4.9, that of most nodes containerd 2.4.2; it was updated by other means";
    let end = Instant::now() + HANGS;
    loop {
        let status = site.run(lab, &["cluster", "status"]);
        if status.stdout.contains(said) {
            return assert_eq!(status.code, Some(1), "{}", status.stdout);
        }
        assert!(Instant::now() < end, "{}{}", status.stdout, status.stderr);
        std::thread::sleep(Duration::from_secs(1));
    }
}
