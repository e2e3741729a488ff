//! What tests of the bundler have in common: a folder, the lab's files, the program.

use std::process::Command;

use assert_cmd::cargo::cargo_bin;
use camino::{Utf8Path, Utf8PathBuf};

pub(crate) struct Scratch(tempfile::TempDir);

impl Scratch {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8Path::from_path(self.0.path()).unwrap().join(name)
    }

    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> Utf8PathBuf {
        let path = self.path(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(&path, bytes).unwrap();
        path
    }
}

/// The lab's packages of these groups, built on first use.
pub(crate) fn lab_rpms(groups: &[&str]) -> Vec<String> {
    lab_files(groups).into_iter().filter(|line| line.ends_with(".rpm")).collect()
}

/// The lab's packages and images of these groups.
pub(crate) fn lab_files(groups: &[&str]) -> Vec<String> {
    // Asked when it runs: build output outlives a checkout, and is not made anew for another one.
    let here = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    let lab = Utf8Path::new(&here).join("../tests/lab/lab");
    let output = Command::new(lab).arg("rpms").args(groups).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// An executable of this machine's architecture stands in for the deployer.
pub(crate) const DEPLOYER: &str = "/bin/true";

/// Runs the bundler; returns its exit code, standard output and standard error.
pub(crate) fn bundler(args: &[&str]) -> (i32, String, String) {
    let output = Command::new(cargo_bin!("sunshine-bundler")).args(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}
