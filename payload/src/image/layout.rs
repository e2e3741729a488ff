//! From inputs to the members of a bundle: an OCI image layout in which every blob lies once.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};

use crate::bundle::Bundle;
use crate::digest::Sha256;
use crate::error::BundleError;
use crate::member::MemberKind;
use crate::output::Spool;
use crate::write::{NewMember, Source};

use super::document::{self, CONFIG, Descriptor, FULL_NAME, Index, MANIFEST, Manifest, REF_NAME, UNPACKED};
use super::draft::{self, Draft};
use super::held::{Image, blob_member};
use super::layers::{self, Prepared};
use super::name::Reference;

/// The file that makes a folder a layout, and what is in it.
const LAYOUT: &str = "oci-layout";
const LAYOUT_TEXT: &[u8] = b"{\"imageLayoutVersion\":\"1.0.0\"}";
/// The layout's list of images.
pub(super) const INDEX: &str = "index.json";

/// Where images come from.
#[derive(Clone, Debug)]
pub(crate) enum ImageInput {
    /// An archive or a folder; with a name, that of the only image in it.
    Archive { source: Source, name: Option<Reference> },
    /// An image of another bundle.
    Held { bundle: Bundle, image: Image },
}

/// The members for these images, and their names.
#[derive(Debug, Default)]
pub(crate) struct Packed {
    pub(crate) members: Vec<NewMember>,
    pub(crate) names: Vec<String>,
}

/// Reads and checks all inputs. Every input that cannot be packed is in the error's list. `progress` hears bytes read. Images of
/// archives that are named in `left_out` are not packed.
pub(crate) fn pack(
    inputs: &[ImageInput],
    left_out: &[Reference],
    architecture: &str,
    mtime: u64,
    spool: &Spool,
    progress: &mut dyn FnMut(u64),
) -> Result<Packed, Vec<BundleError>> {
    if inputs.is_empty() {
        return Ok(Packed::default());
    }
    let mut drafts = drafts(inputs, architecture, spool)?;
    drafts.iter_mut().for_each(|draft| draft.names.retain(|name| !left_out.contains(name)));
    drafts.retain(|draft| !draft.names.is_empty());
    let all: Vec<_> = drafts.iter().flat_map(|draft| &draft.layers).collect();
    let prepared = layers::prepare(&all, spool, progress)?;
    let mut refused = Vec::new();
    let mut making = Making { mtime, ..Making::default() };
    for draft in &drafts {
        if let Err(error) = making.draft(draft, &prepared) {
            refused.push(error);
        }
    }
    for input in inputs {
        if let ImageInput::Held { bundle, image } = input
            && let Err(error) = making.held(bundle, image)
        {
            refused.push(error);
        }
    }
    if refused.is_empty() { making.finish().map_err(|e| vec![e]) } else { Err(refused) }
}

/// The names of all images.
pub(crate) fn names(
    inputs: &[ImageInput],
    architecture: &str,
    spool: &Spool,
) -> Result<Vec<Reference>, Vec<BundleError>> {
    let held = inputs.iter().filter_map(|input| match input {
        ImageInput::Held { image, .. } => Some(image.names.clone()),
        ImageInput::Archive { .. } => None,
    });
    let drafts = drafts(inputs, architecture, spool)?;
    Ok(held.flatten().chain(drafts.into_iter().flat_map(|draft| draft.names)).collect())
}

/// The files at these paths in the image of this name; those that it has.
pub(crate) fn files(
    inputs: &[ImageInput],
    image: &Reference,
    paths: &[&str],
    architecture: &str,
    spool: &Spool,
) -> Result<BTreeMap<String, Vec<u8>>, Vec<BundleError>> {
    let drafts = drafts(inputs, architecture, spool)?;
    let of_image = drafts.iter().find(|draft| draft.names.contains(image));
    of_image.map_or(Ok(BTreeMap::new()), |draft| super::files::files(draft, paths)).map_err(|e| vec![e])
}

/// The names in one archive.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn read_images(source: &Source, architecture: &str, spool: &Spool) -> Result<Vec<Reference>, BundleError> {
    let drafts = super::draft::read(source, None, architecture, spool)?;
    Ok(drafts.into_iter().flat_map(|draft| draft.names).collect())
}

fn drafts(inputs: &[ImageInput], architecture: &str, spool: &Spool) -> Result<Vec<Draft>, Vec<BundleError>> {
    let (mut drafts, mut refused) = (Vec::new(), Vec::new());
    for input in inputs {
        let ImageInput::Archive { source, name } = input else { continue };
        match draft::read(source, name.as_ref(), architecture, spool) {
            Ok(more) => drafts.extend(more),
            Err(error) => refused.push(error),
        }
    }
    if refused.is_empty() { Ok(drafts) } else { Err(refused) }
}

/// An image's manifest, the bytes of its layers unpacked, and where it came from.
type Listed = (Descriptor, u64, Utf8PathBuf);

/// A layout in the making.
#[derive(Default)]
struct Making {
    mtime: u64,
    blobs: BTreeMap<Sha256, Source>,
    images: BTreeMap<Reference, Listed>,
}

impl Making {
    fn draft(&mut self, draft: &Draft, prepared: &Prepared) -> Result<(), BundleError> {
        let config = Sha256::of(&draft.config);
        self.blobs.insert(config, Source::Bytes(draft.config.clone()));
        let (mut layers, mut unpacked) = (Vec::new(), 0);
        for raw in &draft.layers {
            let ready = prepared.get(&(raw.diff_id, raw.digest)).ok_or_else(|| BundleError::Unfit {
                path: draft.input.clone(),
                what: format!("its layer {} was not read to its end", raw.diff_id),
            })?;
            self.blobs.insert(ready.digest, ready.source.clone());
            unpacked += ready.unpacked;
            layers.push(Descriptor::new(ready.media_type, &ready.digest, ready.size));
        }
        let (bytes, media_type) = match &draft.manifest {
            Some((bytes, media_type)) => (bytes.clone(), media_type.as_str()),
            None => {
                let manifest = Manifest {
                    schema_version: 2,
                    media_type: Some(MANIFEST.to_owned()),
                    config: Descriptor::new(CONFIG, &config, draft.config.len() as u64),
                    layers,
                };
                (encoded(&manifest)?, MANIFEST)
            }
        };
        let digest = Sha256::of(&bytes);
        let descriptor = Descriptor::new(media_type, &digest, bytes.len() as u64);
        self.blobs.insert(digest, Source::Bytes(bytes));
        draft.names.iter().try_for_each(|name| self.name(name, &descriptor, unpacked, &draft.input))
    }

    fn held(&mut self, bundle: &Bundle, image: &Image) -> Result<(), BundleError> {
        for digest in image.blobs().map(|blob| blob.digest) {
            let name = blob_member(&digest);
            let member = bundle.member(&name).ok_or_else(|| bundle.no_member(&name))?;
            self.blobs.insert(digest, Source::Member(bundle.clone(), Box::new(member.clone())));
        }
        let manifest = &image.manifest;
        let descriptor = Descriptor::new(&manifest.media_type, &manifest.digest, manifest.size);
        image.names.iter().try_for_each(|name| self.name(name, &descriptor, image.unpacked, bundle.path()))
    }

    /// One name means one image.
    fn name(
        &mut self,
        name: &Reference,
        descriptor: &Descriptor,
        unpacked: u64,
        input: &Utf8Path,
    ) -> Result<(), BundleError> {
        match self.images.get(name) {
            Some((known, _, other)) if known.digest != descriptor.digest => Err(BundleError::Unfit {
                path: input.to_owned(),
                what: format!("its image {name} is another one than that of {other}"),
            }),
            Some(_) => Ok(()),
            None => {
                self.images.insert(name.clone(), (descriptor.clone(), unpacked, input.to_owned()));
                Ok(())
            }
        }
    }

    fn finish(self) -> Result<Packed, BundleError> {
        let mtime = self.mtime;
        let member = |name: String, kind, source, sha256| NewMember { name, kind, source, rpm: None, mtime, sha256 };
        let mut manifests = Vec::new();
        let mut names = Vec::new();
        for (name, (descriptor, unpacked, _)) in self.images {
            let name = name.to_string();
            let mut annotations = BTreeMap::from([FULL_NAME, REF_NAME].map(|key| (key.to_owned(), name.clone())));
            annotations.insert(UNPACKED.to_owned(), unpacked.to_string());
            manifests.push(Descriptor { annotations, ..descriptor });
            names.push(name);
        }
        let index = Index { schema_version: 2, media_type: Some(document::INDEX.to_owned()), manifests };
        let index = encoded(&index)?;
        let mut members: Vec<NewMember> = self
            .blobs
            .into_iter()
            .map(|(digest, source)| member(blob_member(&digest), MemberKind::Blob, source, Some(digest)))
            .collect();
        members.push(member(INDEX.to_owned(), MemberKind::Layout, Source::Bytes(index), None));
        members.push(member(LAYOUT.to_owned(), MemberKind::Layout, Source::Bytes(LAYOUT_TEXT.to_vec()), None));
        Ok(Packed { members, names })
    }
}

fn encoded(document: &impl serde::Serialize) -> Result<Vec<u8>, BundleError> {
    serde_json::to_vec(document)
        .map_err(|e| BundleError::Unfit { path: "the images' documents".into(), what: e.to_string() })
}
