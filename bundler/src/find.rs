//! From the paths that --rpms names to package files, and the platform that each is for.

use camino::{Utf8Path, Utf8PathBuf};
use payload::{BundleError, Platform};

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Package files, each with its platform; without one it is for all hosts.
    pub(crate) rpms: Vec<(Option<Platform>, Utf8PathBuf)>,
    /// Folders whose names look like a platform's and are none.
    pub(crate) notes: Vec<String>,
}

/// Files as they are named, for all hosts. Of folders, every `*.rpm` below them in the order of their names: those in a folder
/// directly below that is named like a platform are for its hosts.
pub(crate) fn rpms(paths: &[Utf8PathBuf]) -> Result<Found, BundleError> {
    let mut found = Found::default();
    for path in paths {
        if !path.is_dir() {
            found.rpms.push((None, path.clone()));
            continue;
        }
        for entry in list(path)? {
            let mut below = Vec::new();
            search(&entry, &mut below)?;
            let name = entry.file_name().unwrap_or_default();
            let platform = name.parse::<Platform>().ok().filter(|_| entry.is_dir());
            if platform.is_none() && entry.is_dir() && !below.is_empty() && looks_like_a_platform(name) {
                found.notes.push(format!(
                    "{entry} is for all hosts, as its name is no platform's: those are el9, f41, al2023, suse15 and the like"
                ));
            }
            found.rpms.extend(below.into_iter().map(|path| (platform.clone(), path)));
        }
    }
    Ok(found)
}

/// A word and a number, such as `centos8` or `fc41`: probably meant for hosts of one platform.
fn looks_like_a_platform(name: &str) -> bool {
    let version = name.trim_start_matches(|c: char| c.is_ascii_alphabetic());
    !version.is_empty() && version.len() < name.len() && version.bytes().all(|b| b.is_ascii_digit())
}

/// Every `*.rpm` in the folder itself.
pub(crate) fn rpms_beside(dir: &Utf8Path) -> Result<Vec<Utf8PathBuf>, BundleError> {
    Ok(list(dir)?.into_iter().filter(|path| is_rpm(path) && !path.is_dir()).collect())
}

/// A package, or every one below a folder.
fn search(path: &Utf8Path, found: &mut Vec<Utf8PathBuf>) -> Result<(), BundleError> {
    if path.is_dir() {
        return list(path)?.iter().try_for_each(|entry| search(entry, found));
    }
    if is_rpm(path) {
        found.push(path.to_owned());
    }
    Ok(())
}

fn is_rpm(path: &Utf8Path) -> bool {
    path.extension() == Some("rpm")
}

fn list(dir: &Utf8Path) -> Result<Vec<Utf8PathBuf>, BundleError> {
    let io = |source| BundleError::Io { action: "list", path: dir.to_owned(), source };
    let entries = dir.read_dir_utf8().map_err(io)?.collect::<Result<Vec<_>, _>>().map_err(io)?;
    let mut paths: Vec<Utf8PathBuf> = entries.iter().map(|entry| entry.path().to_owned()).collect();
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_directly_below_is_a_platform_s_when_it_is_named_so() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        let files = [
            "a.rpm",
            "a.txt",
            "centos8/b.rpm",
            "el8/b.rpm",
            "el9/more/c.rpm",
            "extras/el9/d.rpm",
            "fc41/notes",
            "x/e.rpm",
        ];
        for file in files.map(|file| folder.join(file)) {
            fs_err::create_dir_all(file.parent().unwrap()).unwrap();
            fs_err::write(file, "").unwrap();
        }
        let el9_itself = folder.join("el9");
        let found = rpms(&[folder.to_owned(), el9_itself]).unwrap();
        let shown = |(platform, path): &(Option<Platform>, Utf8PathBuf)| {
            let platform = platform.as_ref().map_or("-", Platform::as_str);
            format!("{platform} {}", path.strip_prefix(folder).unwrap())
        };
        let shown: Vec<String> = found.rpms.iter().map(shown).collect();
        let expected = [
            "- a.rpm",
            "- centos8/b.rpm",
            "el8 el8/b.rpm",
            "el9 el9/more/c.rpm",
            "- extras/el9/d.rpm",
            "- x/e.rpm",
            // Named itself, it is a folder like any other.
            "- el9/more/c.rpm",
        ];
        assert_eq!(shown, expected);
        // `fc41` holds no package, and is not mentioned.
        assert_eq!(found.notes.len(), 1);
        assert!(found.notes[0].starts_with(folder.join("centos8").as_str()), "{:?}", found.notes);
    }
}
