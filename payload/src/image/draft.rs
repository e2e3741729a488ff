//! An image as it was found in an input, before its layers have been read.

use camino::Utf8PathBuf;

use crate::digest::Sha256;
use crate::error::BundleError;
use crate::output::Spool;
use crate::write::Source;

use super::archive::{self, MANIFEST_JSON};
use super::document::{Config, Descriptor, FULL_NAME, Index, MANIFEST, Manifest, Platform, REF_NAME, sum_of};
use super::layers::Raw;
use super::layout::INDEX;
use super::name::Reference;
use super::tree::Tree;

/// An image that is to be packed.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) names: Vec<Reference>,
    /// Its manifest and the manifest's media type; none in an archive of `docker save`.
    pub(super) manifest: Option<(Vec<u8>, String)>,
    pub(super) config: Vec<u8>,
    pub(super) layers: Vec<Raw>,
    /// What the user named.
    pub(super) input: Utf8PathBuf,
}

/// The images of an archive or folder.
pub(super) fn read(
    source: &Source,
    name: Option<&Reference>,
    architecture: &str,
    spool: &Spool,
) -> Result<Vec<Draft>, BundleError> {
    let tree = Tree::open(source, spool)?;
    let mut drafts = if tree.get(INDEX).is_some() {
        layout(&tree, architecture)?
    } else if tree.get(MANIFEST_JSON).is_some() {
        archive::read(&tree, architecture)?
    } else {
        return Err(
            tree.unfit(format!("it has neither {INDEX} (an OCI image layout) nor {MANIFEST_JSON} (docker save)"))
        );
    };
    match (name, drafts.as_mut_slice()) {
        (Some(name), [only]) => only.names = vec![name.clone()],
        (Some(name), several) => {
            let what = format!("it holds {} images, so that the name {name} says nothing", several.len());
            return Err(tree.unfit(what));
        }
        (None, _) => {}
    }
    if drafts.is_empty() {
        return Err(tree.unfit("it holds no image"));
    }
    if drafts.iter().any(|draft| draft.names.is_empty()) {
        return Err(tree.unfit("it holds an image without a name: give it one, `--image NAME=FILE`"));
    }
    Ok(drafts)
}

/// Checked names.
pub(super) fn names<'a>(
    tree: &Tree,
    names: impl IntoIterator<Item = &'a String>,
) -> Result<Vec<Reference>, BundleError> {
    names.into_iter().map(|name| name.parse().map_err(|e: super::NameProblem| tree.unfit(e.to_string()))).collect()
}

/// An image for other hosts than the bundle's is refused.
pub(super) fn check_platform(tree: &Tree, found: &Platform, architecture: &str) -> Result<(), BundleError> {
    if found.os == "linux" && found.architecture == architecture {
        return Ok(());
    }
    let what = format!("an image is for {}/{}, the bundle is for linux/{architecture}", found.os, found.architecture);
    Err(tree.unfit(what))
}

/// The images of an OCI image layout.
fn layout(tree: &Tree, architecture: &str) -> Result<Vec<Draft>, BundleError> {
    let index: Index = parse(tree, INDEX, &tree.document(INDEX)?)?;
    let mut drafts: Vec<Draft> = Vec::new();
    let mut manifests: Vec<String> = Vec::new();
    for descriptor in &index.manifests {
        let name = named(tree, descriptor)?;
        let chosen = platform(tree, descriptor, architecture)?;
        // An image that has two names has two entries.
        if let Some(at) = manifests.iter().position(|digest| *digest == chosen.digest) {
            drafts[at].names.extend(name);
            continue;
        }
        if let Some(draft) = one(tree, &chosen, architecture)? {
            manifests.push(chosen.digest);
            drafts.push(Draft { names: name.into_iter().collect(), ..draft });
        }
    }
    Ok(drafts)
}

/// An image's name in a layout. The specification's own annotation is a name, or its tag alone.
fn named(tree: &Tree, descriptor: &Descriptor) -> Result<Option<Reference>, BundleError> {
    let annotation = |key: &str| descriptor.annotations.get(key);
    let name = annotation(FULL_NAME).or_else(|| annotation(REF_NAME).filter(|name| name.contains(['/', ':'])));
    Ok(names(tree, name)?.pop())
}

/// The manifest that an entry means on this platform.
fn platform(tree: &Tree, descriptor: &Descriptor, architecture: &str) -> Result<Descriptor, BundleError> {
    if !descriptor.is_index() {
        return Ok(descriptor.clone());
    }
    let index: Index = parse(tree, &descriptor.digest, &blob(tree, descriptor)?)?;
    let fits = |d: &&Descriptor| d.is_for(architecture);
    if let Some(found) = index.manifests.iter().find(fits) {
        return Ok(found.clone());
    }
    let platforms = index.manifests.iter().filter_map(|d| d.platform.as_ref());
    let there: Vec<String> = platforms.map(|p| format!("{}/{}", p.os, p.architecture)).collect();
    Err(tree.unfit(format!("an image is for {}, the bundle is for linux/{architecture}", there.join(", "))))
}

/// One image; none where the manifest is of something else.
fn one(tree: &Tree, descriptor: &Descriptor, architecture: &str) -> Result<Option<Draft>, BundleError> {
    let bytes = blob(tree, descriptor)?;
    let manifest: Manifest = parse(tree, &descriptor.digest, &bytes)?;
    if !manifest.is_image() {
        return Ok(None);
    }
    let config = blob(tree, &manifest.config)?;
    let parsed: Config = parse(tree, &manifest.config.digest, &config)?;
    check_platform(tree, &parsed.platform, architecture)?;
    let diff_ids = &parsed.rootfs.diff_ids;
    if diff_ids.len() != manifest.layers.len() {
        let (there, named) = (manifest.layers.len(), diff_ids.len());
        return Err(tree.unfit(format!("an image has {there} layers, its configuration names {named}")));
    }
    let layer = |(layer, diff_id): (&Descriptor, &String)| {
        let no_sum = |what: &str| tree.unfit(format!("the digest {what} of a layer is no sha256"));
        let diff_id = sum_of(diff_id).ok_or_else(|| no_sum(diff_id))?;
        let digest = sum_of(&layer.digest).ok_or_else(|| no_sum(&layer.digest))?;
        let source = tree.need(&format!("blobs/sha256/{digest}"))?;
        Ok(Raw { source, diff_id, digest: Some(digest), input: tree.path.clone() })
    };
    let layers = manifest.layers.iter().zip(diff_ids).map(layer).collect::<Result<_, BundleError>>()?;
    let media_type = [Some(descriptor.media_type.clone()), manifest.media_type].into_iter().flatten();
    let media_type = media_type.into_iter().find(|t| !t.is_empty()).unwrap_or_else(|| MANIFEST.to_owned());
    let manifest = Some((bytes, media_type));
    Ok(Some(Draft { names: Vec::new(), manifest, config, layers, input: tree.path.clone() }))
}

/// A document among the blobs, checked against its digest.
fn blob(tree: &Tree, descriptor: &Descriptor) -> Result<Vec<u8>, BundleError> {
    let stated = sum_of(&descriptor.digest);
    let stated = stated.ok_or_else(|| tree.unfit(format!("the digest {} is no sha256", descriptor.digest)))?;
    let bytes = tree.document(&format!("blobs/sha256/{stated}"))?;
    let found = Sha256::of(&bytes);
    if found == stated {
        return Ok(bytes);
    }
    Err(tree.unfit(format!("the blob {} is damaged: its sha256 is {found}", descriptor.digest)))
}

fn parse<T: serde::de::DeserializeOwned>(tree: &Tree, name: &str, bytes: &[u8]) -> Result<T, BundleError> {
    serde_json::from_slice(bytes).map_err(|e| tree.unfit(format!("{name} cannot be read: {e}")))
}
