//! The images of a bundle, read from its layout.

use crate::bundle::Bundle;
use crate::digest::Sha256;
use crate::error::{BundleError, Part};
use crate::member::{Member, MemberKind};

use super::document::{Descriptor, FULL_NAME, Index, Manifest, UNPACKED, sum_of};
use super::layout::INDEX;
use super::name::Reference;

/// An image of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its names, in order; at least one.
    pub names: Vec<Reference>,
    /// Its manifest.
    pub manifest: Blob,
    /// Its configuration.
    pub config: Blob,
    /// Its layers, the lowest first.
    pub layers: Vec<Blob>,
    /// Bytes of its layers, unpacked.
    pub unpacked: u64,
}

/// A blob of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Its sum.
    pub digest: Sha256,
    /// Its bytes.
    pub size: u64,
    /// What it is, as its image says.
    pub media_type: String,
}

impl Image {
    /// All its blobs: manifest, configuration, layers.
    pub fn blobs(&self) -> impl Iterator<Item = &Blob> {
        [&self.manifest, &self.config].into_iter().chain(&self.layers)
    }

    /// Bytes of all its blobs.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.blobs().map(|blob| blob.size).sum()
    }
}

/// The member's name of a blob.
#[must_use]
pub fn blob_member(digest: &Sha256) -> String {
    format!("blobs/sha256/{digest}")
}

impl Bundle {
    /// The images of the layout, by manifest, in the order of their first names.
    ///
    /// # Errors
    /// When the layout is damaged: a document that cannot be read, a blob that is not there.
    pub fn images(&self) -> Result<Vec<Image>, BundleError> {
        let Some(member) = self.member(INDEX).filter(|m| m.kind == MemberKind::Layout) else { return Ok(Vec::new()) };
        let index: Index = self.parse(member)?;
        let mut images: Vec<Image> = Vec::new();
        for descriptor in &index.manifests {
            let manifest = self.blob(member, descriptor)?;
            let name = descriptor.annotations.get(FULL_NAME).map(|name| name.parse::<Reference>());
            let Some(Ok(name)) = name else {
                return Err(self.damaged_layout(member, format!("the image {} has no name", descriptor.digest)));
            };
            match images.iter_mut().find(|image| image.manifest.digest == manifest.digest) {
                Some(image) => image.names.push(name),
                None => {
                    let unpacked = descriptor.annotations.get(UNPACKED).and_then(|bytes| bytes.parse().ok());
                    images.push(self.image(name, manifest, unpacked.unwrap_or_default())?);
                }
            }
        }
        Ok(images)
    }

    fn image(&self, name: Reference, manifest: Blob, unpacked: u64) -> Result<Image, BundleError> {
        let member = self.need(&manifest)?;
        let document: Manifest = self.parse(member)?;
        let config = self.blob(member, &document.config)?;
        let layers = document.layers.iter().map(|layer| self.blob(member, layer)).collect::<Result<Vec<_>, _>>()?;
        Ok(Image { names: vec![name], manifest, config, layers, unpacked })
    }

    /// A blob that a document names, which must be in the bundle.
    fn blob(&self, by: &Member, descriptor: &Descriptor) -> Result<Blob, BundleError> {
        let digest = sum_of(&descriptor.digest);
        let digest = digest.ok_or_else(|| self.damaged_layout(by, format!("{} is no sha256", descriptor.digest)))?;
        let blob = Blob { digest, size: descriptor.size, media_type: descriptor.media_type.clone() };
        if self.need(&blob)?.size != blob.size {
            return Err(self.damaged_layout(by, format!("it states another size of {}", descriptor.digest)));
        }
        Ok(blob)
    }

    fn need(&self, blob: &Blob) -> Result<&Member, BundleError> {
        let name = blob_member(&blob.digest);
        self.member(&name).ok_or_else(|| self.no_member(&name))
    }

    fn parse<T: serde::de::DeserializeOwned>(&self, member: &Member) -> Result<T, BundleError> {
        let bytes = self.bytes(member)?;
        serde_json::from_slice(&bytes).map_err(|e| self.damaged_layout(member, format!("it cannot be read: {e}")))
    }

    fn damaged_layout(&self, member: &Member, what: String) -> BundleError {
        BundleError::damaged(self.path(), Part::Member(member.name.clone()), what)
    }
}
