//! Which images a bundle will need: those that its manifests name, and those that its kubeadm lists.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};
use payload::yum::{RpmFile, file_in};
use payload::{BundleError, Platform, Reference, images_named};

use crate::cli::BuildArgs;
use crate::etcd;

/// kubeadm's package, and where its program lies in it.
pub(crate) const KUBEADM: &str = "kubeadm";
const PROGRAM: &str = "/usr/bin/kubeadm";
/// etcd runs outside of kubeadm's cluster, from its own package; its image is good for making that.
const ETCD: &str = "/etcd:";

/// An image that is named and not in the bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) name: String,
    /// Who names it.
    pub(crate) by: String,
}

/// What was found out about the images that are needed.
#[derive(Debug, Default)]
pub(crate) struct Required {
    /// By name: who names it.
    named: BTreeMap<String, String>,
    /// The image of etcd that kubeadm lists, where no package is etcd's.
    pub(crate) etcd: Option<String>,
    /// What could not be found out.
    pub(crate) notes: Vec<String>,
}

impl Required {
    /// Those that are not among `there`, in full names.
    pub(crate) fn missing(&self, there: &[String]) -> Vec<Missing> {
        let missing = self.named.iter().filter(|(name, _)| !there.contains(name));
        missing.map(|(name, by)| Missing { name: name.clone(), by: by.clone() }).collect()
    }

    /// The names, each with who names it.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&str, &str)> {
        self.named.iter().map(|(name, by)| (name.as_str(), by.as_str()))
    }

    fn add(&mut self, name: &str, by: &str) {
        // Another manifest may well name what is no image's name here: a template, or a digest.
        if let Ok(name) = name.parse::<Reference>() {
            self.named.entry(name.to_string()).or_insert_with(|| by.to_owned());
        }
    }
}

/// Reads the manifests of networks and addons, and asks the kubeadm that is among the packages.
pub(crate) fn required(args: &BuildArgs, rpms: &[(Option<Platform>, Utf8PathBuf)]) -> Result<Required, BundleError> {
    let mut required = Required::default();
    for (name, path) in args.manifests.iter().chain(&args.addons) {
        let text = crate::build::read_text(path)?;
        match images_named(&text) {
            Ok(images) => images.iter().for_each(|image| required.add(image, name)),
            Err(why) => required.notes.push(format!("the images that {path} names are not known: {why}")),
        }
    }
    let file = |path: &&Utf8PathBuf| path.file_name().is_some_and(|f| f.starts_with("kubeadm-"));
    for path in rpms.iter().map(|(_, path)| path).filter(file) {
        match listed_by(path) {
            Ok(images) => {
                let (etcd, images): (Vec<_>, Vec<_>) = images.into_iter().partition(|image| image.contains(ETCD));
                images.iter().for_each(|image| required.add(image, KUBEADM));
                required.etcd = etcd.into_iter().next().filter(|_| !etcd::is_among(rpms));
            }
            Err(why) => required.notes.push(format!("the images that {path} needs are not known: {why}")),
        }
    }
    Ok(required)
}

/// The images that the kubeadm of a package lists.
fn listed_by(rpm: &Utf8Path) -> Result<Vec<String>, String> {
    let package = RpmFile::read(rpm, "").map_err(|e| e.to_string())?;
    let bytes = std::fs::read(rpm).map_err(|e| e.to_string())?;
    let content = file_in(&bytes, rpm, PROGRAM).map_err(|e| e.to_string())?;
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let program = folder.path().join(KUBEADM);
    let written = std::fs::File::create_new(&program).and_then(|mut to| {
        to.write_all(&content)?;
        to.set_permissions(std::fs::Permissions::from_mode(0o700))
    });
    written.map_err(|e| e.to_string())?;
    // Told the version, it does not ask the internet for the newest.
    let output = Command::new(&program)
        .args(["config", "images", "list", "--kubernetes-version", &format!("v{}", package.id.version)])
        .env_clear()
        .output()
        .map_err(|e| format!("its program does not run here: {e}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("`kubeadm config images list` failed: {}", said.lines().last().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_in_full() {
        let mut required = Required::default();
        required.add("busybox", "x");
        required.add("registry.k8s.io/pause:3.10", "kubeadm");
        required.add("{{ image }}", "x");
        let missing = required.missing(&["docker.io/library/busybox:latest".to_owned()]);
        assert_eq!(missing, [Missing { name: "registry.k8s.io/pause:3.10".into(), by: "kubeadm".into() }]);
    }
}
