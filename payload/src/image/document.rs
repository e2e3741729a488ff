//! The JSON documents of images (OCI image specification 1.1; Docker image manifest version 2, schema 2), as far as the
//! product's programs read and write them.
//!
//! Structures of our own rather than a crate's: few fields are needed, documents of any age must be read, and what is
//! written must be the same bytes on every build.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Sha256;

/// A manifest that is made here.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// An image's configuration.
pub(super) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// A layer, packed with gzip.
pub(super) const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// A layer, packed with zstd.
pub(super) const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// The index of a layout.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Docker's manifest, of an image that `docker push` has brought.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's index.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// Where containerd keeps, and finds, an image's whole name.
pub const FULL_NAME: &str = "io.containerd.image.name";
/// The specification's own annotation for a name; in some layouts it is the tag alone.
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Our own: bytes of an image's layers, unpacked, for checking the free space of a disk.
pub(super) const UNPACKED: &str = "io.sunshine-installer.image.unpacked-bytes";

/// One blob, named by its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    /// `sha256:HEX`, or another algorithm's: see [`Self::sum`].
    pub digest: String,
    /// Bytes.
    pub size: u64,
    /// In an index of one image for several platforms: which this one is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    pub(super) fn new(media_type: &str, digest: &Sha256, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest: format!("sha256:{digest}"),
            size,
            platform: None,
            annotations: BTreeMap::new(),
        }
    }

    pub(super) fn is_index(&self) -> bool {
        self.media_type == INDEX || self.media_type == DOCKER_LIST
    }

    /// The sum in its digest; None for another algorithm than sha256.
    pub fn sum(&self) -> Option<Sha256> {
        sum_of(&self.digest)
    }

    /// Whether it states to be for Linux on this architecture, in Go's words.
    pub fn is_for(&self, architecture: &str) -> bool {
        self.platform.as_ref().is_some_and(|p| p.os == "linux" && p.architecture == architecture)
    }
}

/// What an image runs on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// In Go's words: `amd64`.
    pub architecture: String,
    /// `linux`.
    pub os: String,
}

/// An index or a manifest, whichever it is: a manifest has a configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    #[serde(default)]
    pub media_type: Option<String>,
    /// Of an index.
    #[serde(default)]
    pub manifests: Vec<Descriptor>,
    /// Of a manifest.
    pub config: Option<Descriptor>,
    #[serde(default)]
    pub layers: Vec<Descriptor>,
}

impl Document {
    /// The blobs of a manifest: its configuration, then its layers.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        self.config.iter().chain(&self.layers)
    }
}

/// An index: of a layout, or of one image for several platforms.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Index {
    pub(super) schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) media_type: Option<String>,
    pub(super) manifests: Vec<Descriptor>,
}

/// A manifest: configuration and layers of one image for one platform.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    pub(super) schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) media_type: Option<String>,
    pub(super) config: Descriptor,
    pub(super) layers: Vec<Descriptor>,
}

impl Manifest {
    /// False for what is kept in registries beside images: charts, signatures, attestations.
    pub(super) fn is_image(&self) -> bool {
        self.config.media_type == CONFIG || self.config.media_type == DOCKER_CONFIG
    }
}

/// An image's configuration.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Config {
    #[serde(flatten)]
    pub(super) platform: Platform,
    pub(super) rootfs: RootFs,
}

/// Its layers, unpacked.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct RootFs {
    #[serde(default)]
    pub(super) diff_ids: Vec<String>,
}

/// One image in `manifest.json` of `docker save` (Docker image specification 1.2, "Combined Image JSON + Filesystem
/// Changeset Format").
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Saved {
    /// Its configuration's member.
    #[serde(default)]
    pub config: String,
    /// Its names.
    #[serde(default)]
    pub repo_tags: Option<Vec<String>>,
    /// Its layers' members.
    #[serde(default)]
    pub layers: Vec<String>,
}

/// The sum in a digest; None for another algorithm than sha256.
pub(super) fn sum_of(digest: &str) -> Option<Sha256> {
    digest.strip_prefix("sha256:").filter(|hex| hex.len() == 64)?.parse().ok()
}

/// An rpm's architecture in the words of images, which are Go's.
pub(crate) fn oci_architecture(rpm: &'static str) -> &'static str {
    match rpm {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "i686" => "386",
        "armv7hl" => "arm",
        other => other,
    }
}
