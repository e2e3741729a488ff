//! The file systems that folders of a host lie on, and how much is free there.

use std::collections::BTreeMap;

use super::error::HostError;
use super::session::Host;
use super::shell::Command;

/// A file system of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// What tells it from others, also where it is mounted twice.
    pub device: String,
    /// Where it is mounted.
    pub at: String,
    /// Free bytes.
    pub free: u64,
}

/// A line for each folder: `is FOLDER<TAB>PATH`, the nearest path above it that is there; then for each such path `on PATH<TAB>DEVICE<TAB>MOUNT`
/// and `free PATH<TAB>BLOCKS<TAB>SIZE`. Folders come on standard input, since they are many.
const LOOK: &str = r#"
pairs=$(while IFS= read -r folder; do
    path=$folder
    until [ -e "$path" ]; do path=${path%/*}; done
    printf 'is %s\t%s\n' "$folder" "${path:-/}"
done)
printf '%s\n' "$pairs"
paths=$(printf '%s\n' "$pairs" | cut -f 2 | sort -u)
printf '%s\n' "$paths" | xargs -d '\n' stat -L --printf 'on %n\t%d\t%m\n' --
printf '%s\n' "$paths" | xargs -d '\n' stat -L -f --printf 'free %n\t%a\t%S\n' --
"#;

impl Host {
    /// The file system of each of these folders, also of those that are not there yet.
    ///
    /// # Errors
    /// When the host does not answer.
    pub fn mounts<'a>(&self, folders: impl Iterator<Item = &'a str>) -> Result<BTreeMap<String, Mount>, HostError> {
        let folders: Vec<&str> = folders.filter(|folder| folder.starts_with('/') && !folder.contains('\n')).collect();
        if folders.is_empty() {
            return Ok(BTreeMap::new());
        }
        let list = format!("{}\n", folders.join("\n"));
        let command = Command::script(LOOK).stdin(list.into_bytes()).label("look at the file systems");
        Ok(read(&self.run_ok(&command)?.text()))
    }
}

fn read(said: &str) -> BTreeMap<String, Mount> {
    let (mut folders, mut mounts) = (Vec::new(), BTreeMap::new());
    for line in said.lines() {
        let Some((kind, rest)) = line.split_once(' ') else { continue };
        match (kind, rest.split('\t').collect::<Vec<_>>().as_slice()) {
            ("is", [folder, path]) => folders.push((*folder, *path)),
            ("on", [path, device, at]) => {
                let (device, at) = ((*device).to_owned(), (*at).to_owned());
                mounts.insert(*path, Mount { device, at, free: u64::MAX });
            }
            ("free", [path, blocks, size]) => {
                let free = blocks.parse::<u64>().ok().zip(size.parse::<u64>().ok());
                if let (Some(mount), Some((blocks, size))) = (mounts.get_mut(path), free) {
                    mount.free = blocks.saturating_mul(size);
                }
            }
            _ => {}
        }
    }
    folders.into_iter().filter_map(|(folder, path)| Some((folder.to_owned(), mounts.get(path)?.clone()))).collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn folders_are_found_on_their_file_systems_also_before_they_are_there() {
        let said = "is /opt/x/\t/opt\nis /var/lib/etcd\t/var/lib\non /opt\t40\t/opt\non /var/lib\t41\t/\nfree /opt\t10\t4096\nfree /var/lib\tx\t4096\n";
        let found = read(said);
        assert_eq!(found["/opt/x/"], Mount { device: "40".into(), at: "/opt".into(), free: 40960 });
        assert_eq!((found["/var/lib/etcd"].at.as_str(), found["/var/lib/etcd"].free), ("/", u64::MAX));
    }

    #[test]
    fn the_script_answers_for_every_folder() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a b/c").display().to_string();
        let input = dir.path().join("folders");
        std::fs::write(&input, format!("/\n{folder}\n/proc/self\n")).unwrap();
        let mut sh = Command::new("sh");
        let output = sh.args(["-c", LOOK]).stdin(std::fs::File::open(input).unwrap()).output().unwrap();
        let found = read(&String::from_utf8_lossy(&output.stdout));
        assert_eq!((found.len(), found["/"].at.as_str(), found["/proc/self"].at.as_str()), (3, "/", "/proc"));
        assert!(found[&folder].free < u64::MAX && folder.starts_with(&found[&folder].at), "{found:?}");
    }
}
