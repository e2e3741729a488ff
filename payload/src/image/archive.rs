//! What `docker save` and `podman save` write: `manifest.json`, configurations, layers
//! (Docker image specification 1.2, "Combined Image JSON + Filesystem Changeset Format").

use crate::digest::Sha256;
use crate::error::BundleError;

use super::document::{Config, Saved, sum_of};
use super::draft::{Draft, check_platform, names};
use super::layers::Raw;
use super::tree::Tree;

/// The file that such an archive has.
pub(super) const MANIFEST_JSON: &str = "manifest.json";

/// The images of an archive.
pub(super) fn read(tree: &Tree, architecture: &str) -> Result<Vec<Draft>, BundleError> {
    let text = tree.document(MANIFEST_JSON)?;
    let saved: Vec<Saved> =
        serde_json::from_slice(&text).map_err(|e| tree.unfit(format!("its {MANIFEST_JSON} cannot be read: {e}")))?;
    saved.iter().map(|image| one(tree, image, architecture)).collect()
}

fn one(tree: &Tree, saved: &Saved, architecture: &str) -> Result<Draft, BundleError> {
    let names = names(tree, saved.repo_tags.iter().flatten())?;
    let config = tree.document(&saved.config)?;
    let parsed: Config = serde_json::from_slice(&config)
        .map_err(|e| tree.unfit(format!("the configuration {} cannot be read: {e}", saved.config)))?;
    check_platform(tree, &parsed.platform, architecture)?;
    check_config_name(tree, &saved.config, &config)?;
    let diff_ids = &parsed.rootfs.diff_ids;
    if diff_ids.len() != saved.layers.len() {
        let what = format!("an image has {} layers, its configuration names {}", saved.layers.len(), diff_ids.len());
        return Err(tree.unfit(what));
    }
    let layer = |(name, diff_id): (&String, &String)| {
        let sum = sum_of(diff_id);
        let diff_id = sum.ok_or_else(|| tree.unfit(format!("the diff_id {diff_id} of a layer is no sha256")))?;
        Ok(Raw { source: tree.need(name)?, diff_id, digest: None, input: tree.path.clone() })
    };
    let layers = saved.layers.iter().zip(diff_ids).map(layer).collect::<Result<_, BundleError>>()?;
    Ok(Draft { names, manifest: None, config, layers, input: tree.path.clone() })
}

/// A configuration is named by its sum: `HEX.json`, later `blobs/sha256/HEX`.
fn check_config_name(tree: &Tree, name: &str, config: &[u8]) -> Result<(), BundleError> {
    let stem = name.rsplit('/').next().unwrap_or(name);
    let stated: Option<Sha256> = stem.strip_suffix(".json").unwrap_or(stem).parse().ok();
    let found = Sha256::of(config);
    match stated {
        Some(stated) if stated != found => {
            Err(tree.unfit(format!("the configuration {name} is damaged: its sha256 is {found}")))
        }
        _ => Ok(()),
    }
}
