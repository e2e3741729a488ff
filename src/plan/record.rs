//! What was changed on a host, kept on that host, so that it can be given back as it was.
//!
//! `/var/lib/sunshine-installer/record` has a line for every object that a run made or altered, written *before* the
//! object is touched: `KIND<TAB>NAME<TAB>BEFORE`. An altered file's first version lies in `backup/`. A line is written
//! once; what a second run does to the same object does not matter to how it was before the first.
//!
//! | kind | name | before |
//! | --- | --- | --- |
//! | `file` | path | `-` it was not there, `kept` its first version is in `backup/` |
//! | `dir` | path | `-` |
//! | `unit` | unit | `ENABLED/ACTIVE` as systemctl says |
//! | `package` | NAME.ARCH | `-` |
//! | `sysctl` | key | the value |
//! | `module` | name | `-` it was not loaded |
//! | `swap` | device | `on` |
//! | `image` | name | `-` Docker did not know it |
//! | `ctr-image` | name | `-` containerd did not know it |
//! | `sebool` | SELinux boolean | `off` |
//! | `firewall` | zone and port | `-` it was closed |

use crate::host::{Command, Host, HostError};

/// The folder on a host that holds its record.
pub const RECORD_DIR: &str = "/var/lib/sunshine-installer";

/// A host's record, oldest line first.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Record {
    pub lines: Vec<RecordLine>,
}

/// One object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordLine {
    pub kind: String,
    pub name: String,
    pub before: String,
}

impl Record {
    /// Reads a host's record; empty when this product never changed anything there.
    ///
    /// # Errors
    /// When the host cannot be asked.
    pub fn read(host: &Host) -> Result<Self, HostError> {
        let bytes = host.read_file(&format!("{RECORD_DIR}/record"))?.unwrap_or_default();
        Ok(Self::parse(&String::from_utf8_lossy(&bytes)))
    }

    // A last line without its end was being written when the power went: its object was not touched yet.
    fn parse(text: &str) -> Self {
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let lines = whole.lines().filter_map(|line| {
            let mut parts = line.splitn(3, '\t');
            Some(RecordLine {
                kind: parts.next()?.to_owned(),
                name: parts.next()?.to_owned(),
                before: parts.next()?.to_owned(),
            })
        });
        Self { lines: lines.collect() }
    }

    /// The names recorded of one kind, newest first: the order to undo them in.
    pub fn names<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a RecordLine> {
        self.lines.iter().rev().filter(move |l| l.kind == kind)
    }
}

const KEEP_FILES: &str = r#"set -eu
umask 077
d=/var/lib/sunshine-installer
t=$(printf '\t')
mkdir -p "$d/backup"; touch "$d/record"
note() { grep -qF -- "$1$t$2$t" "$d/record" || printf '%s\t%s\t%s\n' "$1" "$2" "$3" >>"$d/record"; }
dirs() { case $1 in ''|"$d") return 0;; esac; [ -d "$1" ] || { dirs "${1%/*}"; note dir "$1" -; }; }
for p; do
  shift
  grep -qF -- "file$t$p$t" "$d/record" && continue
  dirs "${p%/*}"
  if [ -e "$p" ]; then
    b=$d/backup/$(printf %s "$p" | sha256sum | cut -d' ' -f1)
    cp -a "$p" "$b.new"; mv -f "$b.new" "$b"; set -- "$@" "$b"; note file "$p" kept
  else
    note file "$p" -
  fi
done
# These files alone, where coreutils can (8.24 on); flushing the whole file system may mean some hundred MB of packages.
sync -- "$d/record" "$@" 2>/dev/null || sync
"#;

/// Records these files as about to be written, keeping the first version of those that exist.
///
/// # Errors
/// When the host cannot be asked, or its disk is full.
pub fn keep_files(host: &Host, paths: &[&str]) -> Result<(), HostError> {
    if paths.is_empty() {
        return Ok(());
    }
    host.run_ok(&Command::script(KEEP_FILES).args(paths.iter().copied()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_cut_short_does_not_count() {
        let record = Record::parse("file\t/etc/a\t-\nfile\t/etc/b\tkept\nunit\tetcd");
        assert_eq!(record.lines.len(), 2);
        let names: Vec<_> = record.names("file").map(|l| l.name.as_str()).collect();
        assert_eq!(names, ["/etc/b", "/etc/a"]);
    }

    #[test]
    fn an_empty_record_is_empty() {
        assert_eq!(Record::parse(""), Record::default());
    }
}
