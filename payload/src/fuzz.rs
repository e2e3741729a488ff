//! What the targets of `fuzz/` call: each function takes any bytes for the input of one parser, and asserts what must hold of
//! whatever comes out. Compiled with the feature `fuzz`, and for the test below, which gives them the seeds.

#![allow(
    clippy::expect_used,
    reason = "harnesses of the fuzzer: a panic is how they fail, and no part of the product calls them"
)]

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsRawFd;

use camino::{Utf8Path, Utf8PathBuf};

use crate::bundle::Bundle;
use crate::digest::{FileSlice, Sha256};
use crate::footer::{FOOTER_SIZE, FORMAT, Footer, FooterError, Span};
use crate::image::{Reference, images_named, read_images};
use crate::manifest::Manifest;
use crate::output::Spool;
use crate::write::Source;
use crate::yum::{Assumed, Check, RpmFile, unmet};

const HALF: usize = 512;

/// A footer, as it is and with its own sum put right: else no change of it would come past that.
pub fn footer(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let covered = text.trim_end_matches('\n');
    let Ok(size) = usize::try_from(FOOTER_SIZE) else { return };
    let room = size - 79;
    let mut sealed = format!("{covered:\n<room$}");
    sealed.push_str(&format!("footer-sha256 {}\n", Sha256::of(sealed.as_bytes())));
    for bytes in [bytes, sealed.as_bytes()] {
        match Footer::decode(bytes) {
            Ok(footer) => {
                assert_eq!(footer.encode().as_deref(), Some(bytes));
                if footer.fits(1 << 40) {
                    assert!(footer.manifest.end() < Some(1 << 40));
                }
            }
            Err(FooterError::Newer(format)) => assert!(format > FORMAT),
            Err(FooterError::Magic | FooterError::Damaged(_)) => {}
        }
    }
}

/// A manifest in a bundle whose sums are right.
pub fn manifest(bytes: &[u8]) {
    let span = |offset: usize, size: usize| Span { offset: offset as u64, size: size as u64 };
    let footer = Footer {
        format: FORMAT,
        deployer: span(0, HALF),
        archive: span(HALF, HALF),
        manifest: span(2 * HALF, bytes.len()),
        manifest_sha256: Sha256::of(bytes),
        signature: String::new(),
    };
    let Ok(manifest) = Manifest::decode(bytes, &footer) else { return };
    let again = manifest.encode().map(|bytes| Manifest::decode(&bytes, &footer));
    assert!(matches!(again, Ok(Ok(again)) if again == manifest));
    let Some(end) = footer.encode() else { return };
    let file = file(&[&[b'x'; HALF], &archive(), bytes, &end]);
    let bundle = Bundle::open(&path_of(&file)).expect("a manifest that was read is a bundle's");
    let _ = manifest.members_size();
    for member in &manifest.members {
        assert!(bundle.bytes(member).map_or(true, |bytes| bytes.len() as u64 == member.size));
        let _ = (bundle.check(member), bundle.chunk(member, member.size / 2, HALF));
    }
}

/// Begins with 64 KiB of zeros, packed.
fn archive() -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    // Writing to memory does not fail.
    let _ = packed.write_all(&[0; 64 << 10]);
    let mut archive = packed.finish().unwrap_or_default();
    archive.resize(HALF, b'y');
    archive
}

/// An rpm file, its header at most.
pub fn rpm_header(bytes: &[u8]) {
    let file = file(&[bytes]);
    let slice = FileSlice { file: &file, base: 0, len: bytes.len() as u64 };
    if let Ok(rpm) = RpmFile::read_slice(slice, Utf8Path::new("fuzz.rpm"), "fuzz.rpm", Check::Header) {
        assert_eq!((rpm.size, rpm.sha256), (bytes.len() as u64, Sha256::of(bytes)));
        let _ = unmet(&[&rpm], &Assumed::default());
    }
}

/// What a package requires, on a system that has what the first lines say.
pub fn rpm_requirement(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (has, requires) = text.rsplit_once('\n').unwrap_or(("", &text));
    crate::yum::met(&Assumed::parse(has), requires);
}

/// An archive of images: a tar, plain or packed.
pub fn image_archive(bytes: &[u8]) {
    let file = file(&[bytes]);
    let spool = Spool::beside(&Utf8PathBuf::from_path_buf(std::env::temp_dir()).unwrap_or_default().join("fuzz.bin"));
    if let Ok(names) = read_images(&Source::File(path_of(&file)), "amd64", &spool) {
        names.iter().for_each(|name| assert_eq!(name.to_string().parse().as_ref(), Ok(name)));
    }
}

/// The documents of an image layout, between lines of `---`: `index.json` (or docker's `manifest.json`, where it is a list), then
/// blobs. `@N` is the digest of the Nth of them, from 1, in those before it.
#[must_use]
pub fn image_layout(bytes: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes);
    let mut documents: Vec<String> = text.split("\n---\n").take(9).map(str::to_owned).collect();
    for at in (1..documents.len()).rev() {
        let digest = format!("sha256:{}", Sha256::of(documents[at].as_bytes()));
        let (before, _) = documents.split_at_mut(at);
        before.iter_mut().for_each(|document| *document = document.replace(&format!("@{at}"), &digest));
    }
    let mut tar = tar::Builder::new(Vec::new());
    for (at, document) in documents.iter().enumerate() {
        let name = match at {
            0 if document.trim_start().starts_with('[') => "manifest.json".to_owned(),
            0 => "index.json".to_owned(),
            _ => format!("blobs/sha256/{}", Sha256::of(document.as_bytes())),
        };
        let mut header = tar::Header::new_gnu();
        header.set_size(document.len() as u64);
        // Writing to memory does not fail.
        let _ = tar.append_data(&mut header, name, document.as_bytes());
    }
    tar.into_inner().unwrap_or_default()
}

/// Names of images, and the list that a file may hold of them.
pub fn image_name(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for name in Reference::list(&text).unwrap_or_default() {
        let full = name.to_string();
        assert_eq!(full.parse().as_ref(), Ok(&name));
        assert!(full.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/:".contains(&b)), "{full:?}");
    }
}

/// A manifest of Kubernetes that names images.
pub fn kubernetes_manifest(bytes: &[u8]) {
    let _ = images_named(&String::from_utf8_lossy(bytes));
}

/// A file without a name that holds this.
fn file(pieces: &[&[u8]]) -> File {
    let mut file = tempfile::tempfile().expect("a file in TMPDIR");
    pieces.iter().for_each(|piece| file.write_all(piece).expect("space in TMPDIR"));
    file
}

fn path_of(file: &File) -> Utf8PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Target = (&'static str, fn(&[u8]));

    #[test]
    fn the_seeds_pass() {
        // Tests run in their package's folder, wherever they were compiled.
        let seeds = Utf8Path::new("../fuzz/corpus");
        let targets: [Target; 7] = [
            ("footer", footer),
            ("manifest", manifest),
            ("rpm_header", rpm_header),
            ("rpm_requirement", rpm_requirement),
            ("image_archive", |bytes| image_archive(&image_layout(bytes))),
            ("image_name", image_name),
            ("kubernetes_manifest", kubernetes_manifest),
        ];
        for (name, target) in targets {
            let all: Vec<_> = seeds.join(name).read_dir_utf8().unwrap().map(|entry| entry.unwrap()).collect();
            assert!(!all.is_empty(), "{name}");
            all.iter().for_each(|seed| target(&std::fs::read(seed.path()).unwrap()));
        }
    }
}
