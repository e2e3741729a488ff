//! The documents are put into a tar, as the digests are put right: else no change of them would come past these.
#![no_main]

use payload::fuzz::{image_archive, image_layout};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let tar = image_layout(bytes);
    for archive in [bytes, &tar] {
        image_archive(archive);
        sunshine_installer::fuzz::image_archive(archive);
    }
});
