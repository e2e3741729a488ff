//! Bundles of the product under test and of the lab's packages, packed once for all tests: the same content gives the same
//! bundle, so it is kept beside the product under the hash of what goes in.

#![allow(clippy::expect_used, clippy::panic, reason = "a helper of tests: a panic is how a test fails")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::lab::{Lab, Output};

/// Puts a bundle of the product and these groups of the lab's rpms and images at `to`. It may be replaced there, and must
/// not be written into: other tests have the same file.
pub(crate) fn place(groups: &[&str], to: &Path) {
    let store = Store::open();
    let files = Lab::rpms(groups);
    let name = store.name("bin", &[&[bundler()], &files[..]].concat());
    store.place(&name, to, |new| {
        let mut command = Command::new(bundler());
        command.args(["build", "--quiet", "--deployer"]).arg(store.stripped()).arg("--output").arg(new);
        for file in &files {
            match file.extension().and_then(|e| e.to_str()) {
                Some("rpm") => command.arg("--rpms").arg(file),
                // A network's manifest, by its own name.
                Some("yaml") => {
                    let name = file.file_stem().unwrap_or_default().to_string_lossy();
                    command.arg("--manifest").arg(format!("{name}={}", file.display()))
                }
                _ => command.arg("--image").arg(file),
            };
        }
        Output::of(&mut command).expect_ok();
    });
}

/// The folder of what is packed of this build of the product.
struct Store {
    folder: PathBuf,
    /// The product's hash, with which every name begins.
    product: String,
}

impl Store {
    fn open() -> Self {
        let folder = product().with_file_name("it-bundles");
        fs::create_dir_all(&folder).expect("a folder for bundles");
        Self { folder, product: hash(product()) }
    }

    fn name(&self, kind: &str, files: &[PathBuf]) -> String {
        let parts: Vec<String> = files.iter().map(|f| format!("{} {}\n", f.display(), hash(f))).collect();
        format!("{}-{}.{kind}", self.product, payload::Sha256::of(parts.concat().as_bytes()))
    }

    /// Has `make` make the file unless it is there, and links it to `to`. One test at a time: who comes second finds it.
    fn place(&self, name: &str, to: &Path, make: impl FnOnce(&Path)) {
        let lock = File::create(self.folder.join("lock")).expect("a lock");
        lock.lock().expect("the lock");
        let kept = self.folder.join(name);
        if !kept.exists() {
            self.forget_other_builds();
            let new = self.folder.join("new");
            make(&new);
            fs::rename(new, &kept).expect("the new file in place");
        }
        // A copy where the test's folder is on another file system.
        if fs::hard_link(&kept, to).is_err() {
            fs::copy(&kept, to).expect("a copy");
        }
    }

    fn forget_other_builds(&self) {
        for entry in fs::read_dir(&self.folder).expect("the folder").flatten() {
            let name = entry.file_name();
            if name != "lock" && !name.to_string_lossy().starts_with(&self.product) {
                fs::remove_file(entry.path()).expect("removing a bundle of another build");
            }
        }
    }

    /// The product without debug symbols, which nothing here reads.
    fn stripped(&self) -> PathBuf {
        let stripped = self.folder.join(format!("{}.deployer", self.product));
        if !stripped.exists() {
            let new = stripped.with_extension("new");
            Output::of(Command::new("strip").arg("-o").arg(&new).arg(product())).expect_ok();
            fs::rename(new, &stripped).expect("the stripped product in place");
        }
        stripped
    }
}

fn hash(file: &Path) -> String {
    let opened = File::open(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    payload::hash_file(&opened).unwrap_or_else(|error| panic!("{}: {error}", file.display())).0.to_string()
}

fn product() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_sunshine-installer"))
}

/// The bundler lies beside the product when the whole workspace was built, as `make test` does.
pub(crate) fn bundler() -> PathBuf {
    let path = product().with_file_name("sunshine-bundler");
    assert!(path.exists(), "{} is missing: cargo build --workspace", path.display());
    path
}
