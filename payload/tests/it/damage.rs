//! One changed byte, a cut, or something appended: found, and named.

use camino::Utf8Path;
use payload::{Bundle, BundleError, Part};
use proptest::prelude::*;

use crate::support::{Scratch, build, noise, recipe};

/// Opens and verifies these bytes as a bundle file.
fn verdict(path: &Utf8Path, bytes: &[u8]) -> Result<(), BundleError> {
    fs_err::write(path, bytes).unwrap();
    Bundle::open(path)?.verify(&mut |_| ())
}

fn part_of(error: &BundleError) -> Part {
    assert!(error.is_damage(), "{error}");
    match error {
        BundleError::Damaged { part, .. } => part.clone(),
        other => panic!("{other}"),
    }
}

/// The part that a byte belongs to, worked out from the intact bundle.
fn owner(bundle: &Bundle, at: u64) -> Part {
    let footer = bundle.footer();
    if at < footer.deployer.size {
        return Part::Deployer;
    }
    if at >= footer.manifest.end().unwrap() {
        return Part::Footer;
    }
    if at >= footer.manifest.offset {
        return Part::Manifest;
    }
    let inside = |m: &&payload::Member| (m.offset..m.offset + m.stored_size()).contains(&at);
    bundle.manifest().members.iter().find(inside).map_or(Part::Archive, |m| Part::Member(m.name.clone()))
}

#[test]
fn a_flipped_byte_in_each_part_is_named() {
    let scratch = Scratch::new();
    let path = build(&scratch, &recipe());
    let intact = fs_err::read(&path).unwrap();
    let bundle = Bundle::open(&path).unwrap();
    let copy = scratch.path("copy.bin");
    let mut positions: Vec<u64> = vec![0, 4999, 5000, 8191, 8192];
    for member in &bundle.manifest().members {
        positions.extend([member.offset - 1, member.offset, member.offset + member.stored_size()]);
    }
    let footer = bundle.footer();
    positions.extend([footer.manifest.offset - 1, footer.manifest.offset, footer.manifest.offset + 50]);
    let size = intact.len() as u64;
    positions.extend([size - 1024, size - 990, size - 500, size - 40, size - 1]);
    for at in positions {
        let mut bytes = intact.clone();
        bytes[usize::try_from(at).unwrap()] ^= 1;
        assert_eq!(part_of(&verdict(&copy, &bytes).unwrap_err()), owner(&bundle, at), "byte {at}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_flipped_byte_is_found_and_named(place in 0.0..1.0_f64, section in 0..4_u8, flip in 1..=255_u8) {
        let scratch = Scratch::new();
        let path = build(&scratch, &recipe());
        let mut bytes = fs_err::read(&path).unwrap();
        let bundle = Bundle::open(&path).unwrap();
        let footer = bundle.footer();
        // The archive is by far the largest: each section is drawn as often as the others.
        let (start, len) = match section {
            0 => (0, footer.deployer.size),
            1 => (footer.deployer.size, footer.manifest.offset - footer.deployer.size),
            2 => (footer.manifest.offset, footer.manifest.size),
            _ => (footer.manifest.offset + footer.manifest.size, 1024),
        };
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let at = start + (place * len as f64) as u64;
        bytes[usize::try_from(at).unwrap()] ^= flip;
        let error = verdict(&scratch.path("copy.bin"), &bytes).unwrap_err();
        prop_assert_eq!(part_of(&error), owner(&bundle, at));
    }

    #[test]
    fn any_truncation_is_found(place in 0.0..1.0_f64) {
        let scratch = Scratch::new();
        let bytes = fs_err::read(build(&scratch, &recipe())).unwrap();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let len = (place * bytes.len() as f64) as usize;
        let error = verdict(&scratch.path("copy.bin"), &bytes[..len]).unwrap_err();
        prop_assert_eq!(part_of(&error), Part::Footer);
    }

    #[test]
    fn anything_appended_is_found(len in 1..5000_usize, seed: u64) {
        let scratch = Scratch::new();
        let mut bytes = fs_err::read(build(&scratch, &recipe())).unwrap();
        bytes.extend(noise(len, seed));
        let error = verdict(&scratch.path("copy.bin"), &bytes).unwrap_err();
        prop_assert_eq!(part_of(&error), Part::Footer);
    }
}

#[test]
fn a_footer_behind_a_bundle_does_not_pass_for_one() {
    let scratch = Scratch::new();
    let bytes = fs_err::read(build(&scratch, &recipe())).unwrap();
    let footer = bytes[bytes.len() - 1024..].to_vec();
    let error = verdict(&scratch.path("copy.bin"), &[bytes, footer].concat()).unwrap_err();
    assert_eq!(part_of(&error), Part::Footer);
}
