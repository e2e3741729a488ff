//! Files of an image, read from its layers: a later layer's file stands for that of an earlier one.

use std::collections::BTreeMap;
use std::io::Read;

use crate::digest::Hasher;
use crate::error::BundleError;

use super::draft::Draft;
use super::layers::Raw;
use super::tree::{packing, unpacker};

/// A file that is larger is not read into memory.
const LIMIT: u64 = 512 << 20;

/// The regular files of an image at these paths (`usr/local/bin/etcd`), those that it has. Every layer is checked against the sum that
/// the image's configuration states.
pub(super) fn files(draft: &Draft, paths: &[&str]) -> Result<BTreeMap<String, Vec<u8>>, BundleError> {
    let mut found = BTreeMap::new();
    for layer in &draft.layers {
        read(layer, paths, &mut found)?;
    }
    Ok(found)
}

fn read(layer: &Raw, paths: &[&str], found: &mut BTreeMap<String, Vec<u8>>) -> Result<(), BundleError> {
    let unreadable = |e: std::io::Error| unfit(layer, format!("a layer is damaged: it cannot be unpacked: {e}"));
    let plain = unpacker(Box::new(layer.source.open()?), packing(&layer.source)?).map_err(unreadable)?;
    let mut plain = Hashing { inner: plain, hasher: Hasher::new() };
    let mut archive = tar::Archive::new(&mut plain);
    for entry in archive.entries().map_err(unreadable)? {
        let mut entry = entry.map_err(unreadable)?;
        let path = entry.path().map_err(unreadable)?.to_string_lossy().trim_start_matches("./").to_owned();
        if !paths.contains(&path.as_str()) || !entry.header().entry_type().is_file() {
            continue;
        }
        if entry.size() > LIMIT {
            return Err(unfit(layer, format!("{path} in it has {} bytes, more than {LIMIT}", entry.size())));
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(unreadable)?;
        found.insert(path, bytes);
    }
    std::io::copy(&mut plain, &mut std::io::sink()).map_err(unreadable)?;
    let sum = plain.hasher.finish();
    if sum == layer.diff_id {
        return Ok(());
    }
    let stated = layer.diff_id;
    Err(unfit(
        layer,
        format!("a layer is damaged: unpacked its sha256 is {sum}, the image's configuration says {stated}"),
    ))
}

fn unfit(layer: &Raw, what: String) -> BundleError {
    BundleError::Unfit { path: layer.input.clone(), what }
}

/// A reader that hashes what passes.
struct Hashing<R> {
    inner: R,
    hasher: Hasher,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let got = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..got]);
        Ok(got)
    }
}
