//! The kinds of objects in a host's change record, and the one script that undoes them.
//!
//! A kind stands in the file of the resource that it belongs to: what it is called, and how one object is undone. Here is the
//! order in which they are undone. `undo.sh` goes through it; it is all that is sent to a host, behind the record's own
//! functions and those of the kinds.

use std::sync::LazyLock;

use crate::plan::Owned;

use super::record::UNDOES;
use super::{entries, firewall, hold, image_store, kept, kernel, packages, selinux, unit};

/// A kind of objects.
#[derive(Debug)]
pub struct Kind {
    /// As the record says it.
    pub name: &'static str,
    /// As an operator reads it behind a number.
    pub plural: &'static str,
    /// Shell functions, `NAME` being [`Kind::function`]: `undo_NAME OBJECT BEFORE`, and those that are needed of `begin_NAME`,
    /// `end_NAME` and `last_NAME` (see `undo.sh`). They may call `failed TEXT` and the record's functions.
    pub undo: &'static str,
    /// What an operator reads when one object is undone by itself, as where a host loses a role; nothing where it cannot be.
    pub alone: Option<fn(&str) -> String>,
}

/// All of them, in the order in which they are undone.
pub const KINDS: [&Kind; 14] = [
    // A runtime that was there before is stopped with the units, and only one that runs removes an image.
    &image_store::DOCKER_IMAGE,
    &image_store::CONTAINERD_IMAGE,
    // A unit is stopped while its files and its program are there.
    &unit::UNIT,
    // Files of ours among them are restored behind it.
    &entries::ENTRIES,
    // Before the packages: rpm leaves a file that was changed and a folder that is not empty.
    &kept::FILE,
    &kept::DIR,
    &firewall::PORT,
    &hold::HOLD,
    &packages::PACKAGE,
    // Nothing of ours needs it any more. A module brings sysctls with it.
    &kernel::SYSCTL,
    &selinux::BOOLEAN,
    &kernel::MODULE,
    &kernel::SWAP,
    &kernel::SWAP_UNIT,
];

impl Kind {
    /// The kind of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        KINDS.into_iter().find(|kind| kind.name == name)
    }

    /// An object of this kind, as a step owns it.
    pub fn owned(&self, name: &str) -> Owned {
        Owned { kind: self.name, name: name.to_owned() }
    }

    /// Every object of this kind that a host's record holds.
    pub fn every(&self) -> Owned {
        self.owned(Owned::EVERY)
    }

    /// Its name in those of its shell functions.
    fn function(&self) -> String {
        self.name.replace('-', "_")
    }
}

/// The script that undoes, to be sent behind the record's head; `undo.sh` says what its arguments are.
pub(super) fn undo_script() -> &'static str {
    static SCRIPT: LazyLock<String> = LazyLock::new(|| {
        let functions: String = KINDS.iter().map(|kind| kind.undo).collect();
        let order: Vec<String> = KINDS.iter().map(|kind| format!("{}:{}", kind.name, kind.function())).collect();
        [UNDOES, &functions, "kinds='", &order.join(" "), "'\n", include_str!("undo.sh")].concat()
    });
    &SCRIPT
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// The text of every source file below a folder.
    fn sources(dir: &Path, all: &mut Vec<String>) {
        for entry in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                sources(&entry, all);
            } else if entry.extension().is_some_and(|end| end == "rs" || end == "sh") {
                all.push(std::fs::read_to_string(&entry).unwrap());
            }
        }
    }

    #[test]
    fn every_kind_that_a_script_records_can_be_undone_and_no_other_is_listed() {
        let mut all = Vec::new();
        sources(&Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("src"), &mut all);
        let mut written = BTreeSet::new();
        for text in all.iter().map(|text| text.split("#[cfg(test)]").next().unwrap_or_default()) {
            // `note KIND NAME`, the name being a value or a path.
            for behind in text.split("note ").skip(1) {
                let Some((kind, name)) = behind.split_once(' ') else { continue };
                if !kind.is_empty()
                    && kind.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
                    && name.trim_start_matches('\\').starts_with(['"', '$', '/'])
                {
                    written.insert(kind.to_owned());
                }
            }
            // The images' stores name theirs where they are made.
            for behind in text.split("recorded!(\"").skip(1) {
                written.extend(behind.split('"').next().map(str::to_owned));
            }
        }
        assert_eq!(written, KINDS.iter().map(|kind| kind.name.to_owned()).collect());
    }

    #[test]
    fn every_kind_has_the_function_that_undoes_one() {
        for kind in KINDS {
            assert!(kind.undo.contains(&format!("undo_{}() {{", kind.function())), "{}", kind.name);
            assert_eq!(Kind::find(kind.name).map(|found| found.name), Some(kind.name));
            assert!(!kind.name.contains(|c: char| c == ':' || c.is_whitespace()));
        }
    }
}
