//! The images in one uncompressed tar archive, as `ctr images export` writes it: an OCI image layout (OCI image specification
//! 1.1, "Image Layout"). An archive flows in, each name's manifest and the place of every blob flow out; layers are not read.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::fs::FileExt;

use payload::oci::{self, Descriptor, Document};
use payload::{Reference, Sha256};

/// No manifest is larger (OCI distribution specification, "Pushing Manifests"), nor is an index of thousands of images.
const LARGEST_DOCUMENT: u64 = 4 * 1024 * 1024;

/// An index of images, which are indexes of platforms, is what tools write.
const INDEX_DEPTH: usize = 8;

/// What an archive holds.
#[derive(Debug, Default)]
pub(super) struct Layout {
    /// Where each blob begins in the archive, and its size.
    pub(super) blobs: HashMap<Sha256, (u64, u64)>,
    /// Each name's manifest, or index.
    pub(super) names: Vec<(Reference, Sha256)>,
    pub(super) manifests: Vec<Held>,
}

/// A manifest, or an index, that is in the archive.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) digest: Sha256,
    pub(super) media_type: String,
    /// The blobs that it names, of those that are in the archive.
    pub(super) blobs: Vec<Sha256>,
}

/// The sum that a descriptor names.
fn sum(descriptor: &Descriptor) -> Result<Sha256, String> {
    descriptor.sum().ok_or_else(|| format!("the digest {:?} is no sha256", descriptor.digest))
}

impl Layout {
    /// Reads the archive's headers and its documents.
    pub(super) fn read(file: &File) -> Result<Layout, String> {
        let mut layout = Layout::default();
        let index = layout.headers(file)?.ok_or("it has no index.json: it is no OCI image layout, or not whole")?;
        let index: Document =
            serde_json::from_slice(&index).map_err(|e| format!("its index.json cannot be read: {e}"))?;
        for entry in &index.manifests {
            let digest = sum(entry)?;
            let there = layout.hold(file, entry, 0)?;
            let Some(name) = entry.annotations.get(oci::FULL_NAME) else { continue };
            if !there {
                return Err(format!("it lacks the manifest of {name}: it is not whole"));
            }
            let name = name.parse::<Reference>().map_err(|e| e.to_string())?;
            layout.names.push((name, digest));
        }
        if layout.names.is_empty() {
            return Err("it holds no image with a name".to_owned());
        }
        Ok(layout)
    }

    /// Notes where the blobs are; returns `index.json`.
    fn headers(&mut self, file: &File) -> Result<Option<Vec<u8>>, String> {
        let size = file.metadata().map_err(|e| e.to_string())?.len();
        let mut from = file;
        from.rewind().map_err(|e| e.to_string())?;
        let mut archive = tar::Archive::new(from);
        let mut index = None;
        for entry in archive.entries_with_seek().map_err(|e| e.to_string())? {
            let entry = entry.map_err(|e| e.to_string())?;
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let (at, length) = (entry.raw_file_position(), entry.size());
            let name = entry.path().map_err(|e| e.to_string())?.to_string_lossy().into_owned();
            if at.checked_add(length).is_none_or(|end| end > size) {
                return Err(format!("it ends within {name}: it is not whole"));
            }
            if name == "index.json" {
                let mut text = Vec::new();
                entry.take(LARGEST_DOCUMENT).read_to_end(&mut text).map_err(|e| e.to_string())?;
                index = Some(text);
            } else if let Some(Ok(digest)) = name.strip_prefix("blobs/sha256/").map(str::parse::<Sha256>) {
                self.blobs.insert(digest, (at, length));
            }
        }
        Ok(index)
    }

    /// Takes in what a descriptor names, and what an index names of other platforms where it is there; false: it is not.
    fn hold(&mut self, file: &File, descriptor: &Descriptor, depth: usize) -> Result<bool, String> {
        let digest = sum(descriptor)?;
        if depth > INDEX_DEPTH {
            return Err(format!("its indexes are nested more than {INDEX_DEPTH} deep"));
        }
        let Some(place) = self.blobs.get(&digest).copied() else { return Ok(false) };
        if self.manifests.iter().any(|held| held.digest == digest) {
            return Ok(true);
        }
        let document = document(file, &digest, place)?;
        let media_type = [Some(descriptor.media_type.clone()), document.media_type.clone()].into_iter().flatten();
        let media_type = media_type.into_iter().find(|t| !t.is_empty()).unwrap_or_else(|| oci::MANIFEST.to_owned());
        let mut blobs = Vec::new();
        for blob in document.blobs() {
            blobs.push(sum(blob)?);
        }
        blobs.retain(|blob| self.blobs.contains_key(blob));
        // Known before what is below it, so that an index that names itself has an end.
        self.manifests.push(Held { digest, media_type, blobs });
        for below in &document.manifests {
            self.hold(file, below, depth + 1)?;
        }
        Ok(true)
    }
}

/// A document among the blobs, checked against its digest.
fn document(file: &File, digest: &Sha256, (at, size): (u64, u64)) -> Result<Document, String> {
    let length = usize::try_from(size).ok().filter(|_| size <= LARGEST_DOCUMENT);
    let mut bytes = vec![0; length.ok_or_else(|| format!("the manifest sha256:{digest} has {size} bytes"))?];
    file.read_exact_at(&mut bytes, at).map_err(|e| format!("sha256:{digest}: {e}"))?;
    let found = Sha256::of(&bytes);
    if found != *digest {
        return Err(format!("the manifest sha256:{digest} is damaged: its sha256 is {found}"));
    }
    serde_json::from_slice(&bytes).map_err(|e| format!("the manifest sha256:{digest} cannot be read: {e}"))
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    pub(in crate::deliver) const NAME: &str = "registry.k8s.io/pause:3.10";
    pub(in crate::deliver) const LAYER: &[u8] = b"a layer, as far as a test needs one";

    /// A member's name and content.
    pub(in crate::deliver) type Member = (String, Vec<u8>);

    /// Members of an archive with an image of one layer; the image's index names another platform that is not there.
    pub(in crate::deliver) fn members() -> Vec<Member> {
        let blob = |bytes: &[u8]| (format!("blobs/sha256/{}", Sha256::of(bytes)), bytes.to_vec());
        let of = |bytes: &[u8], media_type: &str| {
            json!({
                "mediaType": media_type, "digest": format!("sha256:{}", Sha256::of(bytes)), "size": bytes.len(),
            })
        };
        let config = b"{}";
        let manifest = json!({
            "schemaVersion": 2, "config": of(config, ""), "layers": [of(LAYER, "")],
        })
        .to_string();
        let image = json!({
            "schemaVersion": 2, "mediaType": oci::INDEX,
            "manifests": [of(manifest.as_bytes(), oci::MANIFEST), of(b"another platform", oci::MANIFEST)],
        })
        .to_string();
        let entry = |name: &str| {
            let mut entry = of(image.as_bytes(), oci::INDEX);
            entry["annotations"] = json!({oci::FULL_NAME: name});
            entry
        };
        let index = json!({"schemaVersion": 2, "manifests": [entry(NAME), entry("k8s.gcr.io/pause:3.10")]}).to_string();
        vec![
            blob(config),
            blob(LAYER),
            blob(manifest.as_bytes()),
            blob(image.as_bytes()),
            ("index.json".to_owned(), index.into_bytes()),
        ]
    }

    pub(in crate::deliver) fn archive(members: &[Member]) -> File {
        let mut archive = tar::Builder::new(tempfile::tempfile().unwrap());
        for (name, bytes) in members {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, name, bytes.as_slice()).unwrap();
        }
        archive.into_inner().unwrap()
    }

    fn read(members: &[Member]) -> Result<Layout, String> {
        Layout::read(&archive(members))
    }

    #[test]
    fn names_manifests_and_places_are_found() {
        let file = archive(&members());
        let layout = Layout::read(&file).unwrap();
        let names: Vec<String> = layout.names.iter().map(|(name, _)| name.to_string()).collect();
        assert_eq!(names, [NAME, "k8s.gcr.io/pause:3.10"]);
        assert_eq!((layout.manifests.len(), layout.blobs.len()), (2, 4));
        assert!(layout.manifests[0].media_type.ends_with("index.v1+json") && layout.manifests[1].blobs.len() == 2);
        let (at, size) = layout.blobs[&Sha256::of(LAYER)];
        let mut bytes = vec![0; usize::try_from(size).unwrap()];
        file.read_exact_at(&mut bytes, at).unwrap();
        assert_eq!(bytes, LAYER);
    }

    #[test]
    fn an_index_in_an_index_without_end_is_refused() {
        let mut all = Vec::new();
        let mut below = members()[2].1.clone();
        for _ in 0..20_000 {
            let digest = Sha256::of(&below);
            all.push((format!("blobs/sha256/{digest}"), below));
            let entry = json!({"mediaType": oci::INDEX, "digest": format!("sha256:{digest}"), "size": 1});
            below = json!({"schemaVersion": 2, "manifests": [entry]}).to_string().into_bytes();
        }
        all.push(("index.json".to_owned(), below));
        let error = read(&all).unwrap_err();
        assert!(error.contains("nested"), "{error}");
    }

    #[test]
    fn an_archive_that_is_not_whole_or_not_one_is_refused() {
        let whole = members();
        let error = |change: &dyn Fn(&mut Vec<Member>)| {
            let mut members = whole.clone();
            change(&mut members);
            read(&members).unwrap_err()
        };
        assert!(error(&|m| drop(m.pop())).contains("no index.json"));
        assert!(error(&|m| drop(m.remove(3))).contains(&format!("lacks the manifest of {NAME}")));
        assert!(error(&|m| m[2].1[0] = b' ').contains("is damaged"));
        assert!(error(&|m| m[4].1 = b"{".to_vec()).contains("index.json cannot be read"));
        assert!(error(&|m| m[4].1 = b"{\"manifests\": []}".to_vec()).contains("no image with a name"));
        let strange = json!({"manifests": [{"digest": "sha512:00", "size": 1}]}).to_string();
        assert!(error(&|m| m[4].1 = strange.clone().into_bytes()).contains("is no sha256"));
        let file = archive(&whole);
        let length = file.metadata().unwrap().len();
        for cut in [0, 100, 700, length / 2, length - 1600] {
            file.set_len(cut).unwrap();
            assert!(Layout::read(&file).is_err(), "{cut}");
        }
    }
}
