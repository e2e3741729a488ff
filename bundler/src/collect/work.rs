//! The work folder: what was downloaded stays there, so that the same line continues where it was stopped.
//!
//! ```text
//! collect.lock           held while a run works here
//! images/                an OCI image layout
//! el9/repos/             repository files as dnf reads them
//! el9/dnf/               all that dnf keeps
//! el9/dnf.log            what dnf printed
//! el9/packages/          packages that are complete
//! install_rpm/[el9/]     the packages of this run, as `build --rpms` takes them
//! ```

use std::fs::{File, TryLockError};

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use payload::Platform;

use super::distro::Distro;
use super::problem::Problem;

/// The file that says whose folder this is.
const LOCK: &str = "collect.lock";

/// A work folder that is ours alone.
pub(super) struct Work {
    folder: Utf8PathBuf,
    _held: File,
}

/// The packages of one distribution.
pub(super) struct PackageSet {
    /// Whose hosts they are for; none: all.
    pub(super) platform: Option<Platform>,
    pub(super) files: Vec<Utf8PathBuf>,
}

impl Work {
    /// Makes it where it is not there.
    pub(super) fn open(folder: &Utf8Path) -> Result<Self, Problem> {
        let broken = |e: std::io::Error| Problem::machine(format!("the work folder {folder}: {e}"), ANOTHER);
        fs::create_dir_all(folder).map_err(broken)?;
        let folder = folder.canonicalize_utf8().map_err(broken)?;
        let empty = fs::read_dir(&folder).map_err(broken)?.next().is_none();
        if !empty && !folder.join(LOCK).exists() {
            return Err(Problem::input(format!("{folder} is no work folder: other files lie in it"), ANOTHER));
        }
        let held = File::create(folder.join(LOCK)).map_err(broken)?;
        match held.try_lock() {
            Ok(()) => Ok(Self { folder, _held: held }),
            Err(TryLockError::WouldBlock) => Err(Problem::machine(
                format!("another collect works in {folder}"),
                "wait for it, or name another folder with --work",
            )),
            Err(TryLockError::Error(e)) => Err(broken(e)),
        }
    }

    pub(super) fn folder(&self) -> &Utf8Path {
        &self.folder
    }

    /// What is one distribution's.
    pub(super) fn of(&self, distro: &Distro) -> Utf8PathBuf {
        self.folder.join(distro.to_string())
    }

    pub(super) fn images(&self) -> Utf8PathBuf {
        self.folder.join("images")
    }

    /// The packages of this run and no others, as links.
    pub(super) fn stage(&self, sets: &[PackageSet]) -> Result<Utf8PathBuf, Problem> {
        let staged = self.folder.join("install_rpm");
        let made = empty(&staged).and_then(|()| {
            sets.iter().try_for_each(|set| {
                let folder = set.platform.as_ref().map_or(staged.clone(), |platform| staged.join(platform.as_str()));
                fs::create_dir_all(&folder)?;
                set.files.iter().try_for_each(|file| link(file, &folder.join(file.file_name().unwrap_or_default())))
            })
        });
        made.map_err(|e| broken_disk(&e))?;
        Ok(staged)
    }
}

const ANOTHER: &str = "name another folder with --work";

pub(super) fn broken_disk(error: &std::io::Error) -> Problem {
    Problem::machine(error.to_string(), "see to the disk of the work folder, or name another folder with --work")
}

/// Makes the folder, empty.
pub(super) fn empty(folder: &Utf8Path) -> std::io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    fs::create_dir_all(folder)
}

/// The same file under another name; a copy where the disk has no links.
pub(super) fn link(from: &Utf8Path, to: &Utf8Path) -> std::io::Result<()> {
    match fs::remove_file(to) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    fs::hard_link(from, to).or_else(|_| fs::copy(from, to).map(|_| ()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_other_files_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        fs::create_dir_all(folder.join("install_rpm/el9")).unwrap();
        let refused = Work::open(folder).err().unwrap();
        assert!(refused.to_string().contains("no work folder") && !refused.is_machine(), "{refused}");
    }

    #[test]
    fn a_folder_is_one_run_s_and_has_only_its_packages() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        let package = folder.join("a.rpm");
        let folder = folder.join("work");
        let work = Work::open(&folder).unwrap();
        assert!(Work::open(&folder).err().unwrap().to_string().contains("another collect"));
        fs::write(&package, "a").unwrap();
        let set = |platform: &str| PackageSet { platform: platform.parse().ok(), files: vec![package.clone()] };
        work.stage(&[set("el8"), set("el9")]).unwrap();
        let staged = work.stage(&[set("el9"), set("")]).unwrap();
        assert!(staged.join("el9/a.rpm").exists() && staged.join("a.rpm").exists() && !staged.join("el8").exists());
    }
}
