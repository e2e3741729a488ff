//! An image as one archive, put together from the bundle's blobs while it is sent: what `docker load` reads (Docker image
//! specification 1.2), or an OCI image layout with only those blobs that a host lacks. Nothing is unpacked or kept.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use payload::{Blob, Image, Sha256, blob_member};
use serde_json::json;

use super::content::{Content, Entry};
use super::error::DeliverError;

const BLOCK: u64 = 512;

/// Under which name an image is served for Docker.
pub(super) fn docker_name(image: &Image) -> String {
    format!("docker/{}.tar", image.manifest.digest)
}

/// For `docker load`: without names, since who sends it proves nothing; it is known by its configuration's digest.
pub(super) fn docker(content: &Content, image: &Image) -> Result<Entry, DeliverError> {
    let layers: Vec<String> = image.layers.iter().map(|layer| blob_member(&layer.digest)).collect();
    let manifest = json!([{"Config": blob_member(&image.config.digest), "RepoTags": null, "Layers": layers}]);
    let mut archive = Archive::new(content);
    archive.text("manifest.json", manifest.to_string())?;
    archive.blob(&image.config)?;
    for (at, layer) in image.layers.iter().enumerate() {
        // The same layer twice in one image is one file.
        if !image.layers[..at].contains(layer) {
            archive.blob(layer)?;
        }
    }
    Ok(archive.end(format!("docker-{}", image.manifest.digest)))
}

/// An OCI image layout with one image, and with those of its blobs that are `missing`.
pub(crate) fn layout(
    content: &Content,
    image: &Image,
    missing: &dyn Fn(&Sha256) -> bool,
) -> Result<Entry, DeliverError> {
    let descriptor = |name: &String| {
        json!({
            "mediaType": image.manifest.media_type, "digest": format!("sha256:{}", image.manifest.digest),
            "size": image.manifest.size,
            "annotations": {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name},
        })
    };
    let names: Vec<String> = image.names.iter().map(ToString::to_string).collect();
    let index = json!({"schemaVersion": 2, "manifests": names.iter().map(descriptor).collect::<Vec<_>>()});
    let mut archive = Archive::new(content);
    archive.text("oci-layout", json!({"imageLayoutVersion": "1.0.0"}).to_string())?;
    archive.text("index.json", index.to_string())?;
    for (at, blob) in image.blobs().enumerate() {
        if missing(&blob.digest) && !image.blobs().take(at).any(|earlier| earlier == blob) {
            archive.blob(blob)?;
        }
    }
    Ok(archive.end(format!("oci-{}", image.manifest.digest)))
}

/// A tar in the making.
struct Archive<'a> {
    content: &'a Content,
    parts: Vec<Arc<Entry>>,
}

impl<'a> Archive<'a> {
    fn new(content: &'a Content) -> Archive<'a> {
        Archive { content, parts: Vec::new() }
    }

    fn text(&mut self, name: &str, text: String) -> Result<(), DeliverError> {
        let size = text.len() as u64;
        self.file(name, size, Arc::new(bytes(text.into_bytes())))
    }

    fn blob(&mut self, blob: &Blob) -> Result<(), DeliverError> {
        let name = blob_member(&blob.digest);
        let missing = || DeliverError::Metadata { why: format!("{name}: it is not in the bundle") };
        let entry = self.content.get(&name).ok_or_else(missing)?;
        self.file(&name, blob.size, entry)
    }

    fn file(&mut self, name: &str, size: u64, contents: Arc<Entry>) -> Result<(), DeliverError> {
        let mut header = tar::Header::new_gnu();
        header.set_path(name).map_err(|error| DeliverError::Metadata { why: format!("{name}: {error}") })?;
        header.set_size(size);
        header.set_mode(0o644);
        header.set_cksum();
        self.parts.push(Arc::new(bytes(header.as_bytes().to_vec())));
        self.parts.push(contents);
        self.zeros(size.next_multiple_of(BLOCK) - size);
        Ok(())
    }

    fn zeros(&mut self, count: u64) {
        self.parts.push(Arc::new(bytes(vec![0; usize::try_from(count).unwrap_or_default()])));
    }

    fn end(mut self, tag: String) -> Entry {
        self.zeros(2 * BLOCK);
        Entry::chain(self.parts, tag, SystemTime::UNIX_EPOCH)
    }
}

fn bytes(bytes: Vec<u8>) -> Entry {
    Entry::bytes(Bytes::from(bytes), String::new(), SystemTime::UNIX_EPOCH)
}
