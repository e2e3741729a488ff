//! An update of a host from a repository of the site, by the host's own dnf.

use std::path::Path;
use std::process::Command;

use crate::lab::{Lab, Output};
use crate::site::Site;

use super::HOSTS;

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
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["kubelet", "kubeadm", "kubectl", "containerd.io", "etcd", "ethtool"] {
        newer(name, folder.path());
    }
    Output::of(Command::new("createrepo_c").arg("-q").arg(folder.path())).expect_ok();
    let archive = site.path("updates.tar");
    let mut tar = Command::new("tar");
    Output::of(tar.arg("-C").arg(folder.path()).arg("-cf").arg(&archive).arg(".")).expect_ok();
    let archive = archive.to_string_lossy();
    site.run(lab, &["hosts", "push", "--host", HOSTS[1], "--file", &archive, "--to", "/root/updates.tar"]).expect_ok();
    let update = "mkdir /root/updates && tar -C /root/updates -xf /root/updates.tar &&
        dnf -y -q --disablerepo='*' --repofrompath=site,file:///root/updates --setopt=site.gpgcheck=0 update &&
        rm -r /root/updates /root/updates.tar";
    lab.host(1).sh(update);
    let versions = lab.host(1).sh("rpm -q --qf '%{NAME}-%{VERSION}\\n' kubelet kubeadm kubectl containerd.io ethtool");
    assert!(versions.contains("ethtool-99.0") && versions.matches("-99.0").count() == 1, "{versions}");
}
