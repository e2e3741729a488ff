//! Files with given content, owner and mode; one round trip to check all of them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use similar::TextDiff;

use crate::host::{Command, FileMeta, Host, HostError, NewFile};
use crate::plan::{Check, Cx, Made, Owned, StepError, Work};

use super::fapolicy;
use super::kept::{FILE, keep};
use super::program::program;

/// What a file holds.
#[derive(Clone)]
pub enum Content {
    /// Shared: many hosts may get the same file.
    Bytes(Arc<[u8]>),
    /// Made on the control host by a step before the one that writes the file.
    Made(Arc<dyn Made>),
    /// This program without its bundle.
    Program,
}

/// One file as it should be.
#[derive(Clone)]
pub struct FileSpec {
    pub path: String,
    pub content: Content,
    pub meta: FileMeta,
    /// Never shown in a diff: keys, kubeconfigs.
    pub secret: bool,
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::Made(made) => f.write_str(&made.name()),
            Self::Program => f.write_str("this program"),
        }
    }
}

impl std::fmt::Debug for FileSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileSpec").field("path", &self.path).field("meta", &self.meta).finish_non_exhaustive()
    }
}

impl FileSpec {
    pub fn text(path: impl Into<String>, content: impl Into<String>) -> Self {
        Self::shared(path, content.into().into_bytes().into())
    }

    /// The same bytes on several hosts, once in memory.
    pub fn shared(path: impl Into<String>, content: Arc<[u8]>) -> Self {
        Self { path: path.into(), content: Content::Bytes(content), meta: FileMeta::mode(0o644), secret: false }
    }

    /// A certificate or the like, which everybody may read.
    pub fn made(path: impl Into<String>, content: Arc<dyn Made>) -> Self {
        Self { path: path.into(), content: Content::Made(content), meta: FileMeta::mode(0o644), secret: false }
    }

    /// A private key or the like: 0600, owned by `owner`, never printed.
    pub fn secret(path: impl Into<String>, content: Arc<dyn Made>, owner: &str) -> Self {
        let meta = FileMeta { mode: 0o600, owner: Some(owner.to_owned()), group: Some(owner.to_owned()) };
        Self { path: path.into(), content: Content::Made(content), meta, secret: true }
    }

    /// This program, to be run.
    pub fn program(path: impl Into<String>) -> Self {
        Self { path: path.into(), content: Content::Program, meta: FileMeta::mode(0o755), secret: false }
    }

    /// Its bytes; `None` while they have not been made.
    fn bytes(&self) -> Result<Option<Cow<'_, [u8]>>, StepError> {
        Ok(match &self.content {
            Content::Bytes(bytes) => Some(Cow::Borrowed(&**bytes)),
            Content::Made(made) => made.content()?.map(|made| Cow::Owned(made.expose().as_bytes().to_vec())),
            Content::Program => Some(Cow::Borrowed(program()?)),
        })
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
    /// `None` while something of it has not been made.
    ///
    /// # Errors
    /// When what is kept of them on the control host cannot be read.
    pub fn digest(&self) -> Result<Option<String>, StepError> {
        let mut sha = Sha256::new();
        for file in &self.0 {
            let Some(bytes) = file.bytes()? else { return Ok(None) };
            sha.update(format!("{}\n{}\n{:o}\n", file.path, sha256(&bytes), file.meta.mode));
        }
        Ok(Some(hex::encode(sha.finalize())))
    }

    /// Whatever of them is made on the control host.
    pub fn needs(&self) -> impl Iterator<Item = &Arc<dyn Made>> {
        self.0.iter().filter_map(|file| match &file.content {
            Content::Made(made) => Some(made),
            Content::Bytes(_) | Content::Program => None,
        })
    }

    /// The files that are not yet as they should be, with their bytes and why.
    fn differing(&self, host: &Host) -> Result<Vec<Differing<'_>>, StepError> {
        let output = host.run_ok(&Command::script(LOOK).args(self.0.iter().map(|f| f.path.clone())))?;
        let text = output.text();
        let seen = read_look(&text);
        let mut differing = Vec::new();
        for (index, file) in self.0.iter().enumerate() {
            let bytes = file.bytes()?;
            if let Some(why) = difference(file, bytes.as_deref(), seen.get(&(index + 1)).unwrap_or(&Seen::Missing)) {
                differing.push(Differing { file, bytes, why });
            }
        }
        Ok(differing)
    }
}

/// A file that is not yet as it should be.
struct Differing<'a> {
    file: &'a FileSpec,
    bytes: Option<Cow<'a, [u8]>>,
    why: String,
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
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

fn difference(file: &FileSpec, bytes: Option<&[u8]>, seen: &Seen<'_>) -> Option<String> {
    let (sha, stat) = match seen {
        Seen::Missing => return Some(format!("create {}", file.path)),
        Seen::Shut => return Some(format!("maybe change {}, which only root can read", file.path)),
        Seen::There(sha, stat) => (sha, stat),
    };
    let mut words = stat.split_whitespace();
    // What has not been made cannot be what is there.
    if bytes.is_none_or(|bytes| *sha != sha256(bytes)) {
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
    let Content::Bytes(bytes) = &file.content else { return Ok(None) };
    let Ok(new) = std::str::from_utf8(bytes) else { return Ok(None) };
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
        for differing in self.differing(host)? {
            changes.push(differing.why);
            if cx.wants_detail() {
                changes.extend(diff(host, differing.file)?);
            }
        }
        changes.extend(fapolicy::distrusted(host, &cx.run_host()?.facts, &self.0)?);
        Ok(Check::from_changes(changes))
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let host = cx.host()?;
        let differing = self.differing(host)?;
        let paths: Vec<_> = differing.iter().map(|d| d.file.path.as_str()).collect();
        keep(host, cx.owner()?, &paths)?;
        let mut new = Vec::new();
        for Differing { file, bytes, .. } in &differing {
            let not_made = || StepError::failed(format!("the content of {} has not been made", file.path));
            let content = bytes.as_deref().ok_or_else(not_made)?;
            new.push(NewFile { path: &file.path, content, meta: &file.meta });
        }
        host.write_files(&new)?;
        fapolicy::trust(host, &cx.run_host()?.facts, &self.0)
    }

    fn needs(&self) -> Vec<Arc<dyn Made>> {
        Files::needs(self).cloned().collect()
    }

    fn owns(&self) -> Vec<Owned> {
        self.0.iter().map(|file| FILE.owned(&file.path)).collect()
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
        let bytes = file.bytes().unwrap().unwrap();
        let sha = sha256(&bytes);
        let seen = |sha, stat| difference(&file, Some(&bytes), &Seen::There(sha, stat));
        assert_eq!(difference(&file, Some(&bytes), &Seen::Missing).unwrap(), "create /etc/a");
        assert_eq!(
            difference(&file, Some(&bytes), &Seen::Shut).unwrap(),
            "maybe change /etc/a, which only root can read"
        );
        assert_eq!(difference(&file, None, &Seen::There(&sha, "644 etcd etcd")).unwrap(), "change /etc/a");
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
        let file = FileSpec::text("/k", "PRIVATE");
        assert!(!format!("{file:?}").contains("PRIVATE"));
    }

    #[test]
    fn the_digest_follows_content_and_mode() {
        let one = Files(vec![file()]);
        let mut other = file();
        other.meta.mode = 0o600;
        let digest = |files: &Files| files.digest().unwrap().unwrap();
        assert_ne!(digest(&one), digest(&Files(vec![other])));
        assert_eq!(digest(&one), digest(&Files(vec![file()])));
    }
}
