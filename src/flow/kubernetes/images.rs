//! Container images of the bundle, brought to the hosts that need them, only if missing.

use std::collections::BTreeSet;
use std::io::Read;

use payload::oci::{self, Document, Saved};
use payload::{Bundle, Member, MemberKind, Reference};

use crate::flow::disk_space::DiskSpace;
use crate::flow::error::FlowError;
use crate::plan::{Owned, Step};
use crate::resource::{Contents, Image, Images, space_for};

use super::component::{Component, On};
use super::state::Cluster;

/// The images in a bundle, with their names.
///
/// # Errors
/// When the layout or a member is damaged, or no archive of an image.
pub(super) fn in_bundle(bundle: Option<&Bundle>) -> Result<Vec<Image>, FlowError> {
    let Some(bundle) = bundle else { return Ok(Vec::new()) };
    let blobs = bundle.images()?.into_iter().map(|image| {
        let names = image.names.iter().map(ToString::to_string).collect();
        Ok(Image { names, contents: Contents::Blobs(image) })
    });
    let archives = bundle.manifest().members.iter().filter(|m| m.kind == MemberKind::Image).map(|member| {
        let full = |name: String| name.parse::<Reference>().map(|name| name.to_string());
        let names = tags(bundle, member)?.into_iter().map(full).collect::<Result<_, _>>();
        let names = names.map_err(|e| FlowError::request(format!("{}: {e}", member.name)))?;
        Ok(Image { names, contents: Contents::Archive(member.clone()) })
    });
    blobs.chain(archives).collect()
}

/// The names in an archive, as a bundle of format 1 has it: of `manifest.json`, else of `index.json` as the OCI image layout has it.
fn tags(bundle: &Bundle, member: &Member) -> Result<Vec<String>, FlowError> {
    let bytes = bundle.bytes(member)?;
    let bad = |why: String| FlowError::request(format!("image {} in the bundle cannot be read: {why}", member.name));
    let mut archive = tar::Archive::new(bytes.as_ref());
    let mut of_index = None;
    for entry in archive.entries().map_err(|e| bad(e.to_string()))? {
        let mut entry = entry.map_err(|e| bad(e.to_string()))?;
        let name = entry.path().map(std::borrow::Cow::into_owned).unwrap_or_default();
        if !["manifest.json", "index.json"].iter().any(|file| name.as_os_str() == *file) {
            continue;
        }
        let mut text = String::new();
        entry.read_to_string(&mut text).map_err(|e| bad(e.to_string()))?;
        if name.as_os_str() == "manifest.json" {
            let images: Vec<Saved> = serde_json::from_str(&text).map_err(|e| bad(e.to_string()))?;
            return Ok(images.into_iter().flat_map(|i| i.repo_tags.unwrap_or_default()).collect());
        }
        of_index = Some(serde_json::from_str::<Document>(&text).map_err(|e| bad(e.to_string()))?);
    }
    let index = of_index.ok_or_else(|| bad("it has neither manifest.json nor index.json".to_owned()))?;
    Ok(index.manifests.into_iter().filter_map(|mut m| m.annotations.remove(oci::FULL_NAME)).collect())
}

/// The names of all of them.
pub(super) fn names(images: &[Image]) -> BTreeSet<String> {
    images.iter().flat_map(|image| image.names.iter().cloned()).collect()
}

/// What kubeadm starts on control plane nodes, and nowhere else.
const CONTROL_PLANE: [&str; 3] = ["kube-apiserver", "kube-controller-manager", "kube-scheduler"];

/// Whether an image is the cluster's own control plane.
pub(super) fn is_control_plane(name: &str, cluster: &Cluster) -> bool {
    let tag = format!(":v{}", cluster.version);
    let path = name.strip_suffix(&tag).filter(|_| cluster.distribution.rules().runs_control_plane());
    path.and_then(|path| path.rsplit('/').next()).is_some_and(|last| CONTROL_PLANE.contains(&last))
}

/// Whether an image is of the cluster's own programs in another version, which a bundle may have beside it.
pub(super) fn is_of_another_version(name: &str, cluster: &Cluster) -> bool {
    let Some((path, tag)) = name.rsplit_once(":v").filter(|_| cluster.distribution.rules().runs_control_plane()) else {
        return false;
    };
    let program = path.rsplit('/').next().unwrap_or_default();
    let known = CONTROL_PLANE.contains(&program) || program == "kube-proxy";
    known && !cluster.version.is_empty() && tag != cluster.version
}

/// From this minor version on Kubernetes' own images are named `registry.k8s.io/…`, before `k8s.gcr.io/…`.
const REGISTRY_K8S_IO: u32 = 25;

/// The image that holds a pod's namespaces: of several, as a bundle with several versions of Kubernetes has them, the newest of those
/// that this version names.
pub(super) fn pause(images: &[Image], minor: u32) -> Option<&str> {
    pause_of(images.iter().flat_map(|image| &image.names).map(String::as_str), minor)
}

fn pause_of<'a>(names: impl Iterator<Item = &'a str>, minor: u32) -> Option<&'a str> {
    let registry = if minor < REGISTRY_K8S_IO { "k8s.gcr.io/" } else { "registry.k8s.io/" };
    let numbers = |tag: &str| -> Vec<u32> { tag.split('.').map(|part| part.parse().unwrap_or(0)).collect() };
    let rank = |name: &str| {
        let (path, tag) = name.rsplit_once(':').unwrap_or((name, ""));
        let is_pause = matches!(path.rsplit('/').next(), Some("pause" | "pod-infrastructure"));
        is_pause.then(|| (path.starts_with(registry), numbers(tag)))
    };
    names.filter_map(|name| Some((rank(name)?, name))).max().map(|(_, name)| name)
}

/// What all of these images take in a store that has none of them.
pub(super) fn disk_space(folder: &str, images: &[Image]) -> DiskSpace {
    DiskSpace::new(folder, space_for(images), "images")
}

/// The component: the bundle's images on a node.
pub(super) struct NodeImages;

impl Component for NodeImages {
    fn is_on(&self, on: &On<'_>) -> bool {
        on.runs_pods()
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let on_masters_only = |image: &Image| image.names.iter().all(|name| is_control_plane(name, on.cluster));
        let of_another = |image: &Image| image.names.iter().all(|name| is_of_another_version(name, on.cluster));
        let needed = |image: &&Image| (on.control_plane().is_some() || !on_masters_only(image)) && !of_another(image);
        let images: Vec<Image> = on.supply.images.iter().filter(needed).cloned().collect();
        if images.is_empty() {
            return Vec::new();
        }
        let images = Images {
            images,
            store: on.runtime().images(),
            folder: on.cluster.settings.data_root.clone(),
            delivery: on.supply.delivery.clone(),
        };
        vec![on.step("images.load", "pull the bundle's container images", images).weight(4)]
    }

    /// Also without a bundle at hand: an earlier run may have had one.
    fn owns(&self, on: &On<'_>) -> Vec<Owned> {
        vec![on.runtime().images().loaded()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_pause_images_the_one_of_the_version_is_chosen() {
        let names =
            ["k8s.gcr.io/pause:3.2", "registry.k8s.io/pause:3.9", "registry.k8s.io/pause:3.10.2", "x.io/paused:4"];
        let of = |minor| pause_of(names.into_iter(), minor);
        assert_eq!(of(36), Some("registry.k8s.io/pause:3.10.2"));
        assert_eq!(of(20), Some("k8s.gcr.io/pause:3.2"));
        let own = ["site.example/rhel7/pod-infrastructure:latest"];
        assert_eq!(pause_of(own.into_iter(), 5), Some(own[0]));
        assert_eq!(pause_of(["x.io/busybox:1"].into_iter(), 36), None);
    }
}
