//! Files on a host: read, written, uploaded. A file appears under its name only when it is whole, with its owner and
//! mode, its sha256 checked on the host; what is there already is not sent again.

use std::io::Read;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::error::HostError;
use super::session::Host;
use super::shell::{Command, Output};

/// Owner and mode of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileMeta {
    pub mode: u32,
    /// The user that the command runs as (root) when not given.
    pub owner: Option<String>,
    pub group: Option<String>,
}

impl FileMeta {
    pub fn mode(mode: u32) -> Self {
        Self { mode, owner: None, group: None }
    }

    /// For chown: `owner:group`, either may be empty.
    fn owner_group(&self) -> String {
        match (&self.owner, &self.group) {
            (None, None) => String::new(),
            (owner, group) => {
                format!("{}:{}", owner.as_deref().unwrap_or_default(), group.as_deref().unwrap_or_default())
            }
        }
    }
}

/// A file to write, whole.
#[derive(Debug, Clone, Copy)]
pub struct NewFile<'a> {
    pub path: &'a str,
    pub content: &'a [u8],
    pub meta: &'a FileMeta,
}

/// Five arguments a file: path, sha256, mode, owner:group or nothing, size; their contents one behind the other on standard
/// input. Exit status 66: what arrived is not what was sent; standard output says of which file.
///
/// All arrive before the first gets its name. The arguments of a file that has arrived turn into two at the end: its
/// passing name and its own. chown comes before chmod because it clears set-user-ID bits. `sync FILE…` is coreutils
/// 8.24's fsync; an older one takes no file and syncs all.
const RECEIVE: &str = r#"set -eu
umask 077
clean() { for t; do case $t in */.sunshine-new.??????) rm -f -- "$t";; esac; done; }
trap 'clean "$@"' EXIT
trap 'exit 143' HUP INT TERM
left=$(($# / 5))
while [ $left -gt 0 ]; do
  d=${1%/*}
  [ -d "$d/" ] || { umask 022; mkdir -p -- "$d"; umask 077; }
  t=$(mktemp -- "$d/.sunshine-new.XXXXXX")
  set -- "$@" "$t" "$1"
  if [ $left -gt 1 ]; then head -c "$5" >"$t"; else cat >"$t"; fi
  case $(sha256sum <"$t") in "$2 "*) ;; *) printf '%s\n' "$1"; exit 66;; esac
  [ -z "$4" ] || chown -- "$4" "$t"
  chmod -- "$3" "$t"
  shift 5
  left=$((left - 1))
done
to_disk() {
  n=$#
  while [ $n -gt 0 ]; do set -- "$@" "$1"; shift 2; n=$((n - 2)); done
  sync -- "$@" 2>/dev/null || sync
}
in_place() {
  n=$#
  while [ $n -gt 0 ]; do mv -fT -- "$1" "$2"; set -- "$@" "$2"; shift 2; n=$((n - 2)); done
  if command -v restorecon >/dev/null 2>&1; then restorecon -F -- "$@" 2>/dev/null || :; fi
}
to_disk "$@"
in_place "$@""#;

/// `$1` path, `$2` sha256, `$3` mode, `$4` owner:group. Exit status 0: it is there, and now has this owner and mode.
const IS_THERE: &str = r#"[ -f "$1" ] && [ "$(sha256sum <"$1" | cut -d' ' -f1)" = "$2" ] || exit 1
{ [ -z "$4" ] || chown -- "$4" "$1"; } && chmod -- "$3" "$1""#;

/// Status 67: it is not there. A folder that may not be looked into, by a dry run without root, is another matter.
const READ: &str = r#"[ -e "$1" ] || { [ -d "${1%/*}" ] && [ ! -x "${1%/*}" ]; } || exit 67
cat -- "$1""#;

/// Slower than this, in bytes per second, an upload is given up.
const SLOWEST: u64 = 64 * 1024;
/// A host that takes nothing for this long is gone: frozen, or its disk is.
const STALL: Duration = Duration::from_secs(45);

impl Host {
    /// A file's content; `None` when it is not there.
    ///
    /// # Errors
    /// When it cannot be read, or the host does not answer.
    pub fn read_file(&self, path: &str) -> Result<Option<Vec<u8>>, HostError> {
        let command = Command::script(READ).arg(path).label("cat");
        let output = self.run(&command)?;
        if output.status == 67 {
            return Ok(None);
        }
        Ok(Some(self.succeeded(&command, output)?.stdout))
    }

    /// Writes a small file; its folder is made when it is not there.
    ///
    /// # Errors
    /// When the host's disk is full, the owner unknown, or the host does not answer. The file is then as it was.
    pub fn write_file(&self, path: &str, content: &[u8], meta: &FileMeta) -> Result<(), HostError> {
        self.write_files(&[NewFile { path, content, meta }])
    }

    /// Writes small files by one command.
    ///
    /// # Errors
    /// As [`Host::write_file`]: when one of them cannot arrive, all are as they were.
    pub fn write_files(&self, files: &[NewFile<'_>]) -> Result<(), HostError> {
        let mut arguments = Vec::new();
        let mut content = Vec::new();
        for file in files {
            let sha256 = hex::encode(Sha256::digest(file.content));
            arguments.extend(receive_arguments(file.path, &sha256, file.meta, file.content.len() as u64));
            content.extend_from_slice(file.content);
        }
        if files.is_empty() {
            return Ok(());
        }
        self.receive(&mut content.as_slice(), content.len() as u64, arguments, "write")
    }

    /// Uploads `size` bytes of `src`, unless the host has them at `path` already. `progress` is told how many bytes have
    /// been sent so far.
    ///
    /// # Errors
    /// As [`Host::write_file`]; [`HostError::Damaged`] when what arrived has another sha256.
    pub fn upload(
        &self,
        src: &mut dyn Read,
        size: u64,
        sha256: &str,
        path: &str,
        meta: &FileMeta,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), HostError> {
        let there = Command::script(IS_THERE)
            .args([path.to_owned(), sha256.to_owned(), format!("{:o}", meta.mode), meta.owner_group()])
            .timeout(patience(size))
            .label("sha256sum");
        if self.run(&there)?.ok() {
            progress(size);
            return Ok(());
        }
        let mut counted = Counted { inner: src, sent: 0, progress };
        self.receive(&mut counted, size, receive_arguments(path, sha256, meta, size).to_vec(), "upload")
    }

    /// Runs a command with what `src` gives as its standard input, for as long as the host takes it.
    ///
    /// # Errors
    /// As [`Host::run`], and when the host takes nothing for a while.
    pub fn feed(&self, command: &Command, src: &mut dyn Read) -> Result<Output, HostError> {
        let mut stdout = Vec::new();
        let mut output = self.stream_lively(command, src, &mut |bytes| stdout.extend_from_slice(bytes), Some(STALL))?;
        output.stdout = stdout;
        Ok(output)
    }

    fn receive(&self, src: &mut dyn Read, size: u64, arguments: Vec<String>, label: &str) -> Result<(), HostError> {
        let command = Command::script(RECEIVE).args(arguments).timeout(patience(size)).label(label);
        let output = self.stream_lively(&command, src, &mut |_| {}, Some(STALL))?;
        if output.status == 66 {
            let path = output.text().trim_end().to_owned();
            return Err(HostError::Damaged { host: self.name().to_owned(), path });
        }
        self.succeeded(&command, output)?;
        Ok(())
    }
}

/// What [`RECEIVE`] wants to know of a file.
fn receive_arguments(path: &str, sha256: &str, meta: &FileMeta, size: u64) -> [String; 5] {
    [path.to_owned(), sha256.to_owned(), format!("{:o}", meta.mode), meta.owner_group(), size.to_string()]
}

fn patience(size: u64) -> Duration {
    Duration::from_secs(60 + size / SLOWEST)
}

struct Counted<'a> {
    inner: &'a mut dyn Read,
    sent: u64,
    progress: &'a mut dyn FnMut(u64),
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.sent += n as u64;
        (self.progress)(self.sent);
        Ok(n)
    }
}
