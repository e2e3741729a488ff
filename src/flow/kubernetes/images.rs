//! Container images of the bundle, loaded on the hosts that need them, only if missing.

use std::collections::BTreeMap;
use std::io::Read;

use payload::{Bundle, Member, MemberKind};
use serde::Deserialize;

use crate::flow::error::FlowError;
use crate::plan::{Owned, Step};
use crate::resource::{Image, Images};

use super::component::{Component, On};

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
        let name = entry.path().map(std::borrow::Cow::into_owned).unwrap_or_default();
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

/// The component: the bundle's images on a node.
pub(super) struct NodeImages;

impl Component for NodeImages {
    fn is_on(&self, on: &On<'_>) -> bool {
        on.runs_pods()
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let Some(bundle) = on.supply.bundle.filter(|_| !on.supply.images.is_empty()) else { return Vec::new() };
        let load = Images { bundle: bundle.clone(), images: on.supply.images.to_vec(), store: on.runtime().images() };
        vec![on.step("images.load", "load the bundle's container images", load).weight(4)]
    }

    /// Also without a bundle at hand: an earlier run may have had one.
    fn owns(&self, on: &On<'_>) -> Vec<Owned> {
        vec![on.runtime().images().loaded()]
    }
}
