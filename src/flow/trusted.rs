//! Files of the control host that count before those of the signed bundle: whoever could write them decides what is installed, and
//! where.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use camino::{Utf8Path, Utf8PathBuf};
use nix::unistd::{getegid, geteuid};

use super::error::FlowError;

const OF_OTHERS: u32 = 0o002;
const OF_GROUP: u32 = 0o020;
const STICKY: u32 = 0o1000;

/// Who may own such files beside root.
#[derive(Debug, Clone, Copy)]
struct Owners {
    user: u32,
    group: u32,
    /// Who became root by sudo.
    before_sudo: Option<u32>,
}

impl Owners {
    fn of_this_process() -> Self {
        let user = geteuid();
        let sudo = || std::env::var("SUDO_UID").ok()?.parse().ok();
        Self { user: user.as_raw(), group: getegid().as_raw(), before_sudo: if user.is_root() { sudo() } else { None } }
    }

    /// Why somebody else could have written this, or put something else in its place.
    fn distrust(self, meta: &Metadata) -> Option<String> {
        let (uid, gid, mode) = (meta.uid(), meta.gid(), meta.mode());
        if uid != 0 && uid != self.user && self.before_sudo != Some(uid) {
            return Some(format!("belongs to user {uid}"));
        }
        // In a folder such as /tmp nobody replaces what is another's.
        if meta.is_dir() && mode & STICKY != 0 {
            return None;
        }
        // A group with the number of the owner is the owner's own, as RHEL makes them.
        let is_own_group = gid == 0 || gid == self.group || gid == uid;
        if mode & OF_OTHERS != 0 || mode & OF_GROUP != 0 && !is_own_group {
            return Some(format!("can be written by others (mode {:04o})", mode & 0o7777));
        }
        None
    }
}

/// Refuses a file that somebody else than root or the user who runs this could have written, or put there: by its own owner and mode
/// and those of the folders that it lies in.
///
/// # Errors
/// Names what can be written by whom.
pub fn trusted(file: &Utf8Path) -> Result<(), FlowError> {
    match distrust(file, Owners::of_this_process()) {
        None => Ok(()),
        Some((path, why)) => Err(FlowError::request_with_help(
            format!("{file} would count before what is in the bundle, but {path} {why}"),
            format!(
                "remove it, or give it to root: chown root {path}; chmod go-w {path}. A file that is named by its path is used as it is"
            ),
        )),
    }
}

fn distrust(file: &Utf8Path, owners: Owners) -> Option<(Utf8PathBuf, String)> {
    // The folders of the file itself, not those of a link to it; a link that others may change lies in a folder of theirs.
    let real = file.canonicalize_utf8();
    let named = std::path::absolute(file).ok().and_then(|path| Utf8PathBuf::from_path_buf(path).ok());
    let places = [real.ok(), named.and_then(|path| path.parent().map(Utf8Path::to_owned))];
    for path in places.iter().flatten().flat_map(|place| place.ancestors()) {
        let why = match std::fs::metadata(path) {
            Ok(meta) => owners.distrust(&meta),
            Err(error) => Some(format!("cannot be looked at: {error}")),
        };
        if let Some(why) = why {
            return Some((path.to_owned(), why));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_what_no_other_could_have_written_is_trusted() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap();
        let (folder, file) = (root.join("install_rpm"), root.join("install_rpm/install.ini"));
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(&file, "").unwrap();
        let own = Owners { user: geteuid().as_raw(), group: getegid().as_raw(), before_sudo: None };
        let with = |path: &Utf8Path, mode: u32, owners| {
            let before = std::fs::metadata(path).unwrap().permissions();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
            let found = distrust(&file, owners);
            std::fs::set_permissions(path, before).unwrap();
            found.map(|(path, why)| format!("{} {why}", path.file_name().unwrap_or_default()))
        };
        assert_eq!(with(&file, 0o644, own), None);
        assert_eq!(with(&file, 0o664, own), None, "the user's own group");
        assert_eq!(with(&file, 0o646, own).unwrap(), "install.ini can be written by others (mode 0646)");
        assert_eq!(with(&folder, 0o777, own).unwrap(), "install_rpm can be written by others (mode 0777)");
        assert_eq!(with(&folder, 0o1777, own), None, "nobody replaces another's file there");
        let link = root.join("link.ini");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        std::fs::set_permissions(root, std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(distrust(&link, own).is_some());
    }

    #[test]
    fn a_file_of_another_user_is_none_and_one_of_whoever_used_sudo_is() {
        let dir = tempfile::tempdir().unwrap();
        let file = Utf8Path::from_path(dir.path()).unwrap().join("conf.ini");
        std::fs::write(&file, "").unwrap();
        // Root's are everybody's to trust.
        if geteuid().is_root() {
            std::os::unix::fs::chown(&file, Some(4321), None).unwrap();
        }
        let meta = std::fs::metadata(&file).unwrap();
        let other = Owners { user: meta.uid() + 1, group: 1, before_sudo: None };
        assert_eq!(other.distrust(&meta).unwrap(), format!("belongs to user {}", meta.uid()));
        assert_eq!(Owners { before_sudo: Some(meta.uid()), ..other }.distrust(&meta), None);
    }
}
