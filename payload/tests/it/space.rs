//! A full disk: said before it is full where that can be known, and nothing half-written under the final name.
//! These tests mount small file systems, so they need root.

use std::process::Command;

use camino::Utf8PathBuf;
use payload::{Bundle, BundleError, MemberKind};

use crate::support::{Scratch, build, member, noise, recipe};

/// A tmpfs of a few megabytes, gone when dropped.
pub(crate) struct Small(pub(crate) Utf8PathBuf);

impl Small {
    pub(crate) fn mount(scratch: &Scratch, megabytes: u32) -> Self {
        let path = scratch.path("small");
        fs_err::create_dir(&path).unwrap();
        let size = format!("size={megabytes}m");
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs", path.as_str()]).status().unwrap();
        assert!(done.success(), "mounting a tmpfs needs root");
        Self(path)
    }

    pub(crate) fn names(&self) -> Vec<String> {
        fs_err::read_dir(&self.0).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

fn missing(error: &BundleError, file: &str) -> u64 {
    assert!(error.is_io() && !error.is_damage());
    match error {
        BundleError::DiskFull { path, needed, available } => {
            assert!(path.as_str().ends_with(file), "{error}");
            assert!(needed > available, "{error}");
            needed - available
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_bundle_that_does_not_fit_is_not_begun() {
    let scratch = Scratch::new();
    let small = Small::mount(&scratch, 2);
    let mut recipe = recipe();
    recipe.members.push(member("images/large.tar", MemberKind::Image, &noise(4 << 20, 9)));
    let error = payload::write(&recipe, &small.0.join("x.bin"), &mut |_| ()).unwrap_err();
    let missing = missing(&error, "x.bin");
    assert!((2 << 20..4 << 20).contains(&missing), "{error}");
    assert_eq!(small.names(), [""; 0]);
}

#[test]
fn a_disk_that_fills_while_the_bundle_is_written_leaves_nothing() {
    let scratch = Scratch::new();
    let small = Small::mount(&scratch, 6);
    let mut recipe = recipe();
    recipe.members.push(member("images/large.tar", MemberKind::Image, &noise(4 << 20, 9)));
    // Somebody else takes the rest as soon as writing has begun.
    let mut taken = false;
    let error = payload::write(&recipe, &small.0.join("x.bin"), &mut |_| {
        if !std::mem::replace(&mut taken, true) {
            let _ = fs_err::write(small.0.join("other"), noise(6 << 20, 1));
        }
    });
    missing(&error.unwrap_err(), "x.bin");
    assert_eq!(small.names(), ["other"]);
}

#[test]
fn a_folder_that_does_not_fit_is_not_begun() {
    let scratch = Scratch::new();
    let bundle = Bundle::open(&build(&scratch, &recipe())).unwrap();
    let small = Small::mount(&scratch, 1);
    fs_err::write(small.0.join("other"), noise(300_000, 1)).unwrap();
    let error = payload::extract(&bundle, &small.0.join("dir"), None, &mut |_| ()).unwrap_err();
    missing(&error, "dir");
    assert_eq!(small.names(), ["other"]);
}

#[test]
fn a_disk_that_fills_while_extracting_leaves_nothing() {
    let scratch = Scratch::new();
    let mut recipe = recipe();
    recipe.members.push(member("images/large.tar", MemberKind::Image, &noise(1 << 20, 9).repeat(150)));
    let bundle = Bundle::open(&build(&scratch, &recipe)).unwrap();
    let small = Small::mount(&scratch, 160);
    let mut taken = false;
    let error = payload::extract(&bundle, &small.0.join("dir"), None, &mut |_| {
        if !std::mem::replace(&mut taken, true) {
            let _ = fs_err::write(small.0.join("other"), noise(1 << 20, 1).repeat(160));
        }
    });
    let error = error.unwrap_err();
    assert!(matches!(error, BundleError::DiskFull { .. }), "{error}");
    assert_eq!(small.names(), ["other"]);
}
