//! Container images of the bundle, loaded on the hosts that need them, only if missing.

use std::collections::BTreeMap;
use std::io::Read;
use std::time::Duration;

use payload::{Bundle, Member, MemberKind};
use serde::Deserialize;

use crate::flow::error::FlowError;
use crate::host::{Command, FileMeta};
use crate::plan::{Check, Cx, Step, StepError, Work};

use super::component::{Component, On};

/// An image of the bundle.
#[derive(Debug, Clone)]
pub(super) struct Image {
    member: Member,
    /// Its names, such as `k8s.gcr.io/pause:3.2`.
    pub tags: Vec<String>,
}

/// `manifest.json` of `docker save` (Docker image specification 1.2).
#[derive(Deserialize)]
struct SavedImage {
    #[serde(rename = "RepoTags")]
    repo_tags: Option<Vec<String>>,
}

/// `index.json` of an OCI image layout (OCI image specification 1.1), as far as it is read.
#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// The annotation under which containerd keeps, and finds, an image's whole name.
const IMAGE_NAME: &str = "io.containerd.image.name";

/// The images in a bundle, with the names inside their archives.
///
/// # Errors
/// When a member is damaged, or no archive of an image.
pub(super) fn in_bundle(bundle: Option<&Bundle>) -> Result<Vec<Image>, FlowError> {
    let Some(bundle) = bundle else { return Ok(Vec::new()) };
    let members = bundle.manifest().members.iter().filter(|m| m.kind == MemberKind::Image);
    members.map(|m| Ok(Image { member: m.clone(), tags: tags(bundle, m)? })).collect()
}

/// The names of an image: of `manifest.json`, else of `index.json` as the OCI image layout has it.
fn tags(bundle: &Bundle, member: &Member) -> Result<Vec<String>, FlowError> {
    let bytes = bundle.bytes(member)?;
    let bad = |why: String| FlowError::request(format!("image {} in the bundle cannot be read: {why}", member.name));
    let mut archive = tar::Archive::new(bytes.as_ref());
    let mut of_index = None;
    for entry in archive.entries().map_err(|e| bad(e.to_string()))? {
        let mut entry = entry.map_err(|e| bad(e.to_string()))?;
        let name = entry.path().map(|p| p.into_owned()).unwrap_or_default();
        if !["manifest.json", "index.json"].iter().any(|file| name.as_os_str() == *file) {
            continue;
        }
        let mut text = String::new();
        entry.read_to_string(&mut text).map_err(|e| bad(e.to_string()))?;
        if name.as_os_str() == "manifest.json" {
            let images: Vec<SavedImage> = serde_json::from_str(&text).map_err(|e| bad(e.to_string()))?;
            return Ok(images.into_iter().flat_map(|i| i.repo_tags.unwrap_or_default()).collect());
        }
        of_index = Some(serde_json::from_str::<Index>(&text).map_err(|e| bad(e.to_string()))?);
    }
    let index = of_index.ok_or_else(|| bad("it has neither manifest.json nor index.json".to_owned()))?;
    Ok(index.manifests.into_iter().filter_map(|mut m| m.annotations.remove(IMAGE_NAME)).collect())
}

/// `$1` kind in the change record, `$2` the archive, then the names that the host did not have. They are recorded before they
/// are loaded: a run that is killed in between must not leave one that nobody knows of.
macro_rules! recorded {
    ($load:literal) => {
        concat!(
            r#"set -eu
kind=$1 file=$2; shift 2
for i in "$@"; do note "$kind" "$i" -; done
"#,
            $load,
            r#"
rm -f -- "$file""#
        )
    };
}

/// Where a container runtime keeps its images.
#[derive(Debug)]
pub(super) struct Store {
    /// Its kind in the change record.
    kind: &'static str,
    /// `IMAGE…`: prints those that are not there.
    missing: &'static str,
    /// `KIND FILE IMAGE…`: records the images and loads the archive.
    load: &'static str,
    /// The name that it keeps an image under.
    name: fn(&str) -> String,
    look_label: &'static str,
    load_label: &'static str,
}

/// Docker's.
pub(super) const DOCKER: Store = Store {
    kind: "image",
    missing: r#"for i in "$@"; do docker image inspect "$i" >/dev/null 2>&1 || printf '%s\n' "$i"; done"#,
    load: recorded!(r#"docker load -q -i "$file""#),
    name: str::to_owned,
    look_label: "docker image inspect",
    load_label: "docker load",
};

/// containerd's, in the namespace of Kubernetes.
pub(super) const CONTAINERD: Store = Store {
    kind: "ctr-image",
    missing: r#"there=$(ctr -n k8s.io images ls -q 2>/dev/null)
for i in "$@"; do printf '%s\n' "$there" | grep -qxF -- "$i" || printf '%s\n' "$i"; done"#,
    load: recorded!(r#"ctr -n k8s.io images import "$file" >/dev/null"#),
    name: in_full,
    look_label: "ctr images ls",
    load_label: "ctr images import",
};

/// The name that containerd keeps an image under: Docker's short names in full.
fn in_full(tag: &str) -> String {
    match tag.split_once('/') {
        None => format!("docker.io/library/{tag}"),
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => tag.to_owned(),
        Some(_) => format!("docker.io/{tag}"),
    }
}

/// The component: the bundle's images on a node.
pub(super) struct NodeImages;

impl Component for NodeImages {
    fn is_on(&self, on: &On<'_>) -> bool {
        on.runs_pods() && !on.supply.images.is_empty()
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let Some(bundle) = on.supply.bundle else { return Vec::new() };
        let store = on.runtime().images();
        let load = LoadImages { bundle: bundle.clone(), images: on.supply.images.to_vec(), store };
        vec![on.step("images.load", "load the bundle's container images", load).weight(4)]
    }
}

/// These images are in the store of the host's runtime.
#[derive(Debug)]
struct LoadImages {
    bundle: Bundle,
    images: Vec<Image>,
    store: &'static Store,
}

impl LoadImages {
    fn names(&self, image: &Image) -> Vec<String> {
        image.tags.iter().map(|tag| (self.store.name)(tag)).collect()
    }

    fn missing(&self, cx: &Cx<'_>) -> Result<Vec<String>, StepError> {
        let names = self.images.iter().flat_map(|i| self.names(i));
        let look = Command::script(self.store.missing).label(self.store.look_label);
        let output = cx.host()?.run(&look.args(names))?;
        Ok(output.text().lines().map(str::to_owned).collect())
    }
}

impl Work for LoadImages {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        Ok(Check::from_changes(self.missing(cx)?.into_iter().map(|tag| format!("load image {tag}")).collect()))
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let missing = self.missing(cx)?;
        for image in self.images.iter().filter(|i| self.names(i).iter().any(|t| missing.contains(t))) {
            let bytes = self.bundle.bytes(&image.member).map_err(|e| StepError::failed(e.to_string()))?;
            let sha256 = image.member.sha256.to_string();
            // The same name on every run, so that a killed upload is not sent again when it was whole.
            let path = format!("{}/{sha256}.image", crate::plan::RECORD_DIR);
            cx.note(format!("uploading {}", image.tags.join(", ")));
            let size = bytes.len() as u64;
            let host = cx.host()?;
            host.upload(&mut bytes.as_ref(), size, &sha256, &path, &FileMeta::mode(0o600), &mut |_| {})?;
            let new = self.names(image).into_iter().filter(|tag| missing.contains(tag));
            let load = cx.owner()?.script(self.store.load).args([self.store.kind, &path]).label(self.store.load_label);
            host.run_ok(&load.args(new).timeout(Duration::from_secs(600)))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a script with `ctr`, `docker` and the state folder of this test; the record it leaves.
    fn record_after(script: &str, kind: &str, names: &[&str], loads: bool) -> String {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
        for program in ["ctr", "docker"] {
            std::fs::write(at(program), format!("#!/bin/sh\nexit {}\n", u8::from(!loads))).unwrap();
            std::fs::set_permissions(at(program), std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        std::fs::write(at("file"), "archive").unwrap();
        let script = format!("{}{script}", crate::plan::RECORD_HEAD).replace(crate::plan::RECORD_DIR, &at(""));
        let path = format!("{}:{}", at(""), std::env::var("PATH").unwrap());
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &script, "sh", "e\t0", kind, &at("file")]).args(names).env("PATH", path);
        assert_eq!(command.status().unwrap().success(), loads);
        let record = std::fs::read_to_string(at("record")).unwrap();
        let objects = record.lines().filter(|l| !l.starts_with("format\t"));
        objects.map(|l| l.split('\t').take(3).collect::<Vec<_>>().join("\t") + "\n").collect()
    }

    #[test]
    fn images_are_recorded_before_they_are_loaded_into_docker_and_containerd() {
        let names = ["docker.io/library/a:1", "docker.io/library/a:12"];
        for loads in [true, false] {
            let record = record_after(CONTAINERD.load, CONTAINERD.kind, &names, loads);
            assert_eq!(record, "ctr-image\tdocker.io/library/a:1\t-\nctr-image\tdocker.io/library/a:12\t-\n");
            assert_eq!(record_after(DOCKER.load, DOCKER.kind, &["a:1", "a:1"], loads), "image\ta:1\t-\n");
        }
    }

    #[test]
    fn short_names_are_written_in_full() {
        assert_eq!(in_full("busybox:latest"), "docker.io/library/busybox:latest");
        assert_eq!(in_full("calico/node:v3"), "docker.io/calico/node:v3");
        assert_eq!(in_full("k8s.gcr.io/pause:3.2"), "k8s.gcr.io/pause:3.2");
        assert_eq!(in_full("localhost/x:1"), "localhost/x:1");
    }
}
