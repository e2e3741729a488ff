//! A bundle in parts, and the script that joins them, run by a real shell.

use std::process::Command;

use camino::Utf8PathBuf;
use payload::{Bundle, BundleError, MemberKind, Parts};

use crate::space::Small;
use crate::support::{Scratch, build, member, noise, recipe};

const MIB: u64 = 1 << 20;
/// A name that a careless script would fall over.
const NAME: &str = "it's $HOME `id`; \"5 %d\".bin";

/// A bundle of some three MiB and a bit, its bytes, and its parts in a folder of their own.
fn parts(scratch: &Scratch) -> (Vec<u8>, Parts) {
    let mut recipe = recipe();
    recipe.members.push(member("images/large.tar", MemberKind::Image, &noise(2_500_000, 9)));
    let bundle = scratch.path(NAME);
    fs_err::rename(build(scratch, &recipe), &bundle).unwrap();
    let dir = scratch.path("usb");
    fs_err::create_dir(&dir).unwrap();
    let mut seen = 0;
    let parts = payload::split(&Bundle::open(&bundle).unwrap(), &dir, MIB, &mut |done| seen = done).unwrap();
    let bytes = fs_err::read(&bundle).unwrap();
    assert_eq!(seen, bytes.len() as u64, "progress ends at the whole");
    fs_err::remove_file(&bundle).unwrap();
    (bytes, parts)
}

/// Runs the script; its exit code, and what it printed.
fn join(shell: &str, parts: &Parts, more: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(shell).arg(&parts.script).args(more).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

fn names(parts: &Parts) -> Vec<String> {
    let dir = parts.script.parent().unwrap();
    let mut names: Vec<String> =
        fs_err::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn parts_are_smaller_than_the_limit_and_make_the_same_bundle() {
    let scratch = Scratch::new();
    let (bytes, parts) = parts(&scratch);
    assert_eq!(parts.parts.len(), 4);
    for part in &parts.parts {
        let size = fs_err::metadata(part).unwrap().len();
        assert!((1..MIB).contains(&size), "{part}: {size}");
    }
    let whole = |dir: &str| scratch.path(dir).join(NAME);
    for (shell, dir) in [("sh", "usb"), ("bash", "elsewhere")] {
        fs_err::create_dir_all(scratch.path(dir)).unwrap();
        let (code, text) = join(shell, &parts, &[scratch.path(dir).as_str()]);
        assert_eq!(code, Some(0), "{text}");
        assert!(fs_err::read(whole(dir)).unwrap() == bytes, "the joined bundle is another");
        let bundle = Bundle::open(&whole(dir)).unwrap();
        bundle.verify(&mut |_| ()).unwrap();
        fs_err::remove_file(whole(dir)).unwrap();
    }
    // Without a folder: beside the parts.
    assert_eq!(join("sh", &parts, &[]).0, Some(0));
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs_err::metadata(whole("usb")).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o755);
}

#[test]
fn parts_that_are_missing_or_damaged_are_named_and_nothing_is_joined() {
    let scratch = Scratch::new();
    let (_, parts) = parts(&scratch);
    let first = fs_err::read(&parts.parts[0]).unwrap();
    let mut flipped = first.clone();
    flipped[1 << 19] ^= 1;
    fs_err::write(&parts.parts[0], &flipped).unwrap();
    let second = fs_err::read(&parts.parts[1]).unwrap();
    fs_err::write(&parts.parts[1], &second[..second.len() - 1]).unwrap();
    fs_err::remove_file(&parts.parts[2]).unwrap();
    let before = names(&parts);
    let (code, text) = join("sh", &parts, &[]);
    assert_eq!(code, Some(3), "{text}");
    for (number, word) in [(1, "damaged"), (2, "damaged"), (3, "missing")] {
        assert!(text.contains(&format!("{word}: {NAME}.00{number}")), "{text}");
    }
    assert!(text.contains(&format!("{NAME}.004: good")), "{text}");
    assert_eq!(names(&parts), before);
}

#[test]
fn a_split_that_cannot_be_is_refused_and_leaves_nothing() {
    let scratch = Scratch::new();
    let bundle = Bundle::open(&build(&scratch, &recipe())).unwrap();
    let dir = scratch.path("usb");
    fs_err::create_dir(&dir).unwrap();
    let refused =
        |bundle: &Bundle, dir: Utf8PathBuf, limit: u64| payload::split(bundle, &dir, limit, &mut |_| ()).unwrap_err();
    assert!(matches!(refused(&bundle, dir.clone(), MIB - 1), BundleError::Split { .. }));
    let folder = scratch.path("folder");
    payload::extract(&bundle, &folder, None, &mut |_| ()).unwrap();
    let folder = Bundle::open(&folder).unwrap();
    assert!(refused(&folder, dir.clone(), MIB).to_string().contains("extracted folder"));
    // A folder is in the place of the script.
    fs_err::create_dir(dir.join("test.bin.join.sh")).unwrap();
    assert!(refused(&bundle, dir.clone(), MIB).is_io());
    assert_eq!(fs_err::read_dir(&dir).unwrap().count(), 1);
}

#[test]
fn a_split_again_replaces_what_an_earlier_or_a_killed_one_left() {
    let scratch = Scratch::new();
    let mut recipe = recipe();
    recipe.members.push(member("images/large.tar", MemberKind::Image, &noise(2_500_000, 9)));
    let bundle = Bundle::open(&build(&scratch, &recipe)).unwrap();
    // Room for one bundle, not for two.
    let small = Small::mount(&scratch, 5);
    payload::split(&bundle, &small.0, MIB, &mut |_| ()).unwrap();
    // As kill -9 leaves it: no script yet, a part cut off.
    fs_err::remove_file(small.0.join("test.bin.join.sh")).unwrap();
    fs_err::write(small.0.join("test.bin.002"), b"cut off").unwrap();
    let parts = payload::split(&bundle, &small.0, 2 * MIB, &mut |_| ()).unwrap();
    let mut names = small.names();
    names.sort();
    assert_eq!(names, ["test.bin.001", "test.bin.002", "test.bin.join.sh"]);
    let elsewhere = scratch.path("elsewhere");
    fs_err::create_dir(&elsewhere).unwrap();
    let (code, text) = join("sh", &parts, &[elsewhere.as_str()]);
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn a_disk_that_fills_while_parts_are_written_leaves_none() {
    let scratch = Scratch::new();
    let mut recipe = recipe();
    recipe.members.push(member("images/large.tar", MemberKind::Image, &noise(4 << 20, 9)));
    let bundle = Bundle::open(&build(&scratch, &recipe)).unwrap();
    let small = Small::mount(&scratch, 7);
    let mut taken = false;
    let error = payload::split(&bundle, &small.0, 2 * MIB, &mut |_| {
        if !std::mem::replace(&mut taken, true) {
            let _ = fs_err::write(small.0.join("other"), noise(7 << 20, 1));
        }
    });
    let error = error.unwrap_err();
    assert!(matches!(error, BundleError::DiskFull { .. }), "{error}");
    assert_eq!(small.names(), ["other"]);
}
