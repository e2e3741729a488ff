//! Files with given content, owner and mode; one round trip to check all of them.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use similar::TextDiff;

use crate::host::{Command, FileMeta, Host, HostError, NewFile};
use crate::plan::{Check, Cx, StepError, Work, keep_files};

/// One file as it should be.
#[derive(Clone)]
pub struct FileSpec {
    pub path: String,
    pub content: Vec<u8>,
    pub meta: FileMeta,
    /// Never shown in a diff: keys, kubeconfigs.
    pub secret: bool,
}

impl std::fmt::Debug for FileSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileSpec").field("path", &self.path).field("meta", &self.meta).finish_non_exhaustive()
    }
}

impl FileSpec {
    pub fn text(path: impl Into<String>, content: impl Into<String>) -> Self {
        Self { path: path.into(), content: content.into().into_bytes(), meta: FileMeta::mode(0o644), secret: false }
    }

    /// A private key or the like: 0600, owned by `owner` when given, never printed.
    pub fn secret(path: impl Into<String>, content: impl Into<Vec<u8>>, owner: Option<&str>) -> Self {
        let meta = FileMeta { mode: 0o600, owner: owner.map(str::to_owned), group: owner.map(str::to_owned) };
        Self { path: path.into(), content: content.into(), meta, secret: true }
    }

    pub fn sha256(&self) -> String {
        hex::encode(Sha256::digest(&self.content))
    }
}

/// Files to be on a host.
#[derive(Debug, Clone)]
pub struct Files(pub Vec<FileSpec>);

/// Of each file that is there, its number among the arguments, `SHA256`, and `MODE OWNER GROUP`: two programs for all of
/// them, since starting one takes longer than reading a small file. In the second line the numbers of those that may not be read.
const LOOK: &str = r#"n=0 there= shut=
for p; do
  n=$((n + 1))
  if [ -f "$p" ] && [ -r "$p" ]; then there="$there $n"; set -- "$@" "$p"
  elif [ -f "$p" ] || { [ -d "${p%/*}" ] && [ ! -x "${p%/*}" ]; }; then shut="$shut $n"; fi
  shift
done
printf '%s\n' "$there" "$shut"
[ $# -gt 0 ] || exit 0
sha256sum -- "$@" | sed 's/^\\//; s/ .*//'
stat -Lc '%a %U %G' -- "$@""#;

impl Files {
    /// A digest over content, place and mode of all files: changes whenever a service that reads them must be restarted.
    pub fn digest(&self) -> String {
        let mut sha = Sha256::new();
        for file in &self.0 {
            sha.update(format!("{}\n{}\n{:o}\n", file.path, file.sha256(), file.meta.mode));
        }
        hex::encode(sha.finalize())
    }

    /// The files that are not yet as they should be, with why.
    fn differing(&self, host: &Host) -> Result<Vec<(&FileSpec, String)>, StepError> {
        let output = host.run_ok(&Command::script(LOOK).args(self.0.iter().map(|f| f.path.clone())))?;
        let text = output.text();
        let seen = read_look(&text);
        let differing = self.0.iter().enumerate().filter_map(|(index, file)| {
            let why = difference(file, seen.get(&(index + 1)).unwrap_or(&Seen::Missing))?;
            Some((file, why))
        });
        Ok(differing.collect())
    }
}

/// What [`LOOK`] found of a file.
#[derive(Debug, PartialEq, Eq)]
enum Seen<'a> {
    Missing,
    /// It is there, and only root can read it. Everything is root's but a dry run.
    Shut,
    /// Its sha256, and its mode, owner and group.
    There(&'a str, &'a str),
}

/// What was found of each file, by its number; of those that are not there, nothing.
fn read_look(text: &str) -> BTreeMap<usize, Seen<'_>> {
    let mut lines = text.lines();
    let mut numbers = || -> Vec<usize> {
        lines.next().unwrap_or_default().split_whitespace().filter_map(|n| n.parse().ok()).collect()
    };
    let (there, shut) = (numbers(), numbers());
    let rest: Vec<&str> = lines.collect();
    let (sums, stats) = rest.split_at(there.len().min(rest.len()));
    let there = there.into_iter().zip(sums).zip(stats).map(|((n, sum), stat)| (n, Seen::There(sum, stat)));
    there.chain(shut.into_iter().map(|n| (n, Seen::Shut))).collect()
}

fn difference(file: &FileSpec, seen: &Seen<'_>) -> Option<String> {
    let (sha, stat) = match seen {
        Seen::Missing => return Some(format!("create {}", file.path)),
        Seen::Shut => return Some(format!("maybe change {}, which only root can read", file.path)),
        Seen::There(sha, stat) => (sha, stat),
    };
    let mut words = stat.split_whitespace();
    if *sha != file.sha256() {
        return Some(format!("change {}", file.path));
    }
    let mode = words.next().unwrap_or_default();
    if u32::from_str_radix(mode, 8) != Ok(file.meta.mode) {
        return Some(format!("chmod {:o} {} (is {mode})", file.meta.mode, file.path));
    }
    for (wanted, is) in [(&file.meta.owner, words.next()), (&file.meta.group, words.next())] {
        if let Some(wanted) = wanted
            && is != Some(wanted)
        {
            return Some(format!("chown {wanted} {} (is {})", file.path, is.unwrap_or("unknown")));
        }
    }
    None
}

/// The change of a text file as a unified diff; secrets, certificates, binaries and what only root can read by name alone.
fn diff(host: &Host, file: &FileSpec) -> Result<Option<String>, StepError> {
    let Ok(new) = std::str::from_utf8(&file.content) else { return Ok(None) };
    if file.secret || new.starts_with("-----BEGIN ") {
        return Ok(None);
    }
    let old = match host.read_file(&file.path) {
        Err(HostError::Failed { .. }) => return Ok(None),
        read => read?.unwrap_or_default(),
    };
    let old = String::from_utf8_lossy(&old);
    Ok(Some(TextDiff::from_lines(old.as_ref(), new).unified_diff().context_radius(2).to_string()))
}

impl Work for Files {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let host = cx.host()?;
        let mut changes = Vec::new();
        for (file, why) in self.differing(host)? {
            changes.push(why);
            if cx.wants_detail() {
                changes.extend(diff(host, file)?);
            }
        }
        Ok(Check::from_changes(changes))
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let host = cx.host()?;
        let differing = self.differing(host)?;
        let paths: Vec<_> = differing.iter().map(|(f, _)| f.path.as_str()).collect();
        keep_files(host, cx.owner()?, &paths)?;
        let new = differing.iter().map(|(f, _)| NewFile { path: &f.path, content: &f.content, meta: &f.meta });
        let new: Vec<_> = new.collect();
        Ok(host.write_files(&new)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> FileSpec {
        let mut file = FileSpec::text("/etc/a", "x\n");
        file.meta.owner = Some("etcd".into());
        file
    }

    #[test]
    fn differences_are_named() {
        let file = file();
        let sha = file.sha256();
        let seen = |sha, stat| difference(&file, &Seen::There(sha, stat));
        assert_eq!(difference(&file, &Seen::Missing).unwrap(), "create /etc/a");
        assert_eq!(difference(&file, &Seen::Shut).unwrap(), "maybe change /etc/a, which only root can read");
        assert_eq!(seen("00", "644 etcd etcd").unwrap(), "change /etc/a");
        assert_eq!(seen(&sha, "600 etcd etcd").unwrap(), "chmod 644 /etc/a (is 600)");
        assert_eq!(seen(&sha, "644 root etcd").unwrap(), "chown etcd /etc/a (is root)");
        assert_eq!(seen(&sha, "644 etcd root"), None);
    }

    #[test]
    fn the_look_tells_files_apart_whatever_they_are_called() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let names = ["missing", "plain", "-n", "with space", "back\\slash", "new\nline", "also missing"].map(path);
        for name in &names[1..6] {
            std::fs::write(name, name).unwrap();
        }
        let output = std::process::Command::new("/bin/sh").args(["-c", LOOK, "sh"]).args(&names).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let seen = read_look(&text);
        assert_eq!(seen.keys().copied().collect::<Vec<_>>(), [2, 3, 4, 5, 6]);
        for (number, seen) in seen {
            let Seen::There(sha, stat) = seen else { panic!("{number}: {seen:?}") };
            assert_eq!(sha, hex::encode(Sha256::digest(&names[number - 1])), "{number}");
            assert!(stat.starts_with("644 "), "{stat}");
        }
        let none = std::process::Command::new("/bin/sh").args(["-c", LOOK, "sh", &names[0]]).output().unwrap();
        assert!(none.status.success() && none.stdout == b"\n\n", "{none:?}");
    }

    #[test]
    fn a_secret_never_reaches_debug_output() {
        let file = FileSpec::secret("/k", "PRIVATE", None);
        assert!(!format!("{file:?}").contains("PRIVATE"));
    }

    #[test]
    fn the_digest_follows_content_and_mode() {
        let one = Files(vec![file()]);
        let mut other = file();
        other.meta.mode = 0o600;
        assert_ne!(one.digest(), Files(vec![other]).digest());
        assert_eq!(one.digest(), Files(vec![file()]).digest());
    }
}
