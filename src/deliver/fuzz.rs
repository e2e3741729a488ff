//! What clients of a run's repository and registry send, and an archive of images that a host sends. See [`crate::fuzz`].

#![allow(
    clippy::expect_used,
    reason = "a harness of the fuzzer: a panic is how it fails, and no part of the product calls it"
)]

use std::io::Write as _;

use super::layout_tar::Layout;
use super::path::member_name;
use super::range::{self, Wanted};

/// The path of a request to a run's repository, and its `Range` header.
pub(crate) fn request(path: &str, header: &str) {
    if let Some(name) = member_name(path, "token") {
        assert!(!name.starts_with('/') && !name.split('/').any(|part| matches!(part, "" | "." | "..")), "{name:?}");
        assert!(!name.contains(char::is_control));
    }
    for size in [0, 1, 1000, 1 << 50] {
        if let Wanted::Parts(parts) = range::parse(header, size) {
            assert!(parts.iter().all(|part| part.start < part.end && part.end <= size));
            let asked: u128 = parts.iter().map(|part| u128::from(part.end - part.start)).sum();
            assert!(asked <= u128::from(size), "{header:?} asks for more than the whole");
        }
    }
}

/// A tar as `ctr images export` writes it: blobs lie within it, and what is named is there.
pub fn image_archive(bytes: &[u8]) {
    let mut file = tempfile::tempfile().expect("a file in TMPDIR");
    file.write_all(bytes).expect("space in TMPDIR");
    let Ok(layout) = Layout::read(&file) else { return };
    assert!(layout.blobs.values().all(|(at, size)| at.checked_add(*size).is_some_and(|end| end <= bytes.len() as u64)));
    let is_there = |digest: &payload::Sha256| layout.manifests.iter().any(|held| held.digest == *digest);
    assert!(layout.names.iter().all(|(_, digest)| is_there(digest)));
}
