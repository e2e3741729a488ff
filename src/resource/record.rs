//! What was changed on a host, kept on that host, so that it can be undone.
//!
//! `/var/lib/sunshine-installer/record` has a line for every object that a run made or altered, written *before* the
//! object is touched; an altered file's first version lies in `backup/`. A line is written once by each environment: what a
//! second run does to the same object does not matter to how it was before the first. `record/write.sh` is the only writer,
//! `record/forget.sh` takes out what is undone, and `record/read.sh` is what other scripts read it with.
//!
//! Several environments may have objects on one host. What one of them undoes are the objects of its own lines; where another
//! has a line of the same object, with the same BEFORE, only the line goes, and whoever is last restores the object.
//!
//! Format 2: a line `format<TAB>2<TAB>-`, then `KIND<TAB>NAME<TAB>BEFORE<TAB>ENVIRONMENT<TAB>VERSION<TAB>DIGEST`, where DIGEST is the
//! first 16 hex digits of the sha256 of everything before its tab. Lines above the first are of format 1, which had
//! `KIND<TAB>NAME<TAB>BEFORE` alone.
//!
//! What kinds there are, and what is recorded of each, [`super::kind`] says.

use sha2::{Digest, Sha256};

use crate::host::{Command, Host, HostError};
use crate::plan::Owner;

macro_rules! folder {
    () => {
        "/var/lib/sunshine-installer"
    };
}

/// The folder on a host that holds its record.
pub const RECORD_DIR: &str = folder!();

/// The head of a script that reads the record: it knows the folder as `$d`, `names KIND`, `before KIND NAME` and
/// `is_ours PACKAGE`.
pub const READS_RECORD: &str = concat!("d=", folder!(), "\n", include_str!("record/read.sh"));

/// The head of a script that writes it.
pub(super) const WRITES: &str =
    concat!("d=", folder!(), "\n", include_str!("record/read.sh"), include_str!("record/write.sh"));

/// What a script that undoes knows beside [`WRITES`].
pub(super) const UNDOES: &str =
    concat!(include_str!("record/forget.sh"), include_str!("delete.sh"), include_str!("rewrite.sh"));

/// Gives a script `delete_tree PATH…`, which leaves alone what is mounted below.
pub const DELETES: &str = include_str!("delete.sh");

/// Stands for the lines of format 1 among the environments whose lines are meant.
pub const NOBODYS: &str = "-";

/// A script that changes the host: it may call `note KIND NAME BEFORE`, knows the record's folder as `$d`, and its
/// arguments begin behind the owner's.
pub(super) fn recording(owner: &Owner, text: &'static str) -> Command {
    Command::script_with(WRITES, text).arg(line_of(owner))
}

/// The first argument of such a script.
pub(super) fn line_of(owner: &Owner) -> String {
    format!("{}\t{}", owner.environment, owner.version)
}

const DIGEST_DIGITS: usize = 16;

/// A host's record, oldest line first.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Record {
    pub lines: Vec<RecordLine>,
    /// Numbers of the lines that are not what was written; they are ignored.
    pub damaged: Vec<usize>,
}

/// One object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordLine {
    pub kind: String,
    pub name: String,
    pub before: String,
    /// `None` where format 1 did not say.
    pub owner: Option<Owner>,
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
    pub(super) fn parse(text: &str) -> Self {
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let mut record = Self::default();
        let mut format = 1;
        for (index, line) in whole.lines().enumerate() {
            if line.starts_with("format\t") {
                format = 2;
                continue;
            }
            match if format == 1 { read_first_format(line) } else { read_line(line) } {
                Some(line) => record.lines.push(line),
                None => record.damaged.push(index + 1),
            }
        }
        record
    }

    /// The lines of these environments, [`NOBODYS`] among them.
    #[must_use]
    pub fn of(mut self, environments: &[String]) -> Self {
        self.lines.retain(|line| {
            let environment = line.owner.as_ref().map_or(NOBODYS, |owner| &owner.environment);
            environments.iter().any(|e| e == environment)
        });
        self
    }

    /// The names recorded of one kind, newest first: the order to undo them in.
    pub fn names<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a RecordLine> {
        self.lines.iter().rev().filter(move |l| l.kind == kind)
    }
}

fn read_first_format(line: &str) -> Option<RecordLine> {
    let mut parts = line.splitn(3, '\t').map(str::to_owned);
    Some(RecordLine { kind: parts.next()?, name: parts.next()?, before: parts.next()?, owner: None })
}

fn read_line(line: &str) -> Option<RecordLine> {
    let (content, digest) = line.rsplit_once('\t')?;
    if !hex::encode(Sha256::digest(content)).starts_with(digest) || digest.len() != DIGEST_DIGITS {
        return None;
    }
    let (content, version) = content.rsplit_once('\t')?;
    let (content, environment) = content.rsplit_once('\t')?;
    let owner = Owner { environment: environment.to_owned(), version: version.to_owned() };
    Some(RecordLine { owner: Some(owner), ..read_first_format(content)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the head and a script on this machine, with the record's folder in `dir`.
    fn run(dir: &std::path::Path, owner: &Owner, text: &str, arguments: &[&str]) {
        let script = format!("{WRITES}{text}").replace(RECORD_DIR, dir.to_str().unwrap());
        let mut command = std::process::Command::new("/bin/sh");
        command.args(["-c", &script, "sh", &format!("{}\t{}", owner.environment, owner.version)]).args(arguments);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    fn read(dir: &std::path::Path) -> Record {
        Record::parse(&std::fs::read_to_string(dir.join("record")).unwrap())
    }

    #[test]
    fn what_the_shell_writes_is_read_with_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let owner = Owner::of("default-1a2b");
        run(
            dir.path(),
            &owner,
            r#"for u; do note unit "$u" disabled/inactive; done"#,
            &["etcd.service", "etcd.service", "-n a"],
        );
        let record = read(dir.path());
        assert!(record.damaged.is_empty());
        assert_eq!(record.lines.len(), 2, "a line is written once: {record:?}");
        assert_eq!(
            (record.lines[0].before.as_str(), record.lines[0].owner.as_ref()),
            ("disabled/inactive", Some(&owner))
        );
        assert_eq!(record.lines[1].name, "-n a");
        // A kind that ends like another is another.
        run(dir.path(), &owner, "note ctr-image a -; note image a -; note image a/b -", &[]);
        assert_eq!(read(dir.path()).names("image").count(), 2);
    }

    #[test]
    fn a_value_with_tabs_is_kept_whole() {
        let dir = tempfile::tempdir().unwrap();
        run(dir.path(), &Owner::of("e"), r#"note sysctl net.ipv4.tcp_rmem "$1""#, &["4096\t131072\t6291456"]);
        assert_eq!(read(dir.path()).lines[0].before, "4096\t131072\t6291456");
    }

    #[test]
    fn a_record_of_the_first_format_is_read_and_continued() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("record"), "file\t/etc/a\t-\nfile\t/etc/b\tkept\nunit\tetcd").unwrap();
        run(dir.path(), &Owner::of("e"), "note file /etc/b kept; note file /etc/c -", &[]);
        let record = read(dir.path());
        let names: Vec<_> = record.names("file").map(|l| (l.name.as_str(), l.owner.is_some())).collect();
        assert_eq!(names, [("/etc/c", true), ("/etc/b", true), ("/etc/b", false), ("/etc/a", false)]);
        assert!(
            record.damaged.is_empty()
                && record.names("file").all(|line| line.name != "/etc/b" || line.before == "kept")
        );
    }

    #[test]
    fn each_environment_has_a_line_of_its_own_with_what_was_before_all() {
        let dir = tempfile::tempdir().unwrap();
        run(dir.path(), &Owner::of("a-1"), r#"note sysctl rmem "$1"; note unit x disabled/inactive"#, &["1\t2\t3"]);
        for _ in 0..2 {
            run(dir.path(), &Owner::of("b-2"), "note sysctl rmem 9; note file /etc/b -", &[]);
        }
        let record = read(dir.path());
        let sysctl: Vec<_> = record.names("sysctl").map(|l| (l.before.as_str(), l.owner.clone().unwrap())).collect();
        assert_eq!(sysctl, [("1\t2\t3", Owner::of("b-2")), ("1\t2\t3", Owner::of("a-1"))]);
        let of = |environments: &[&str]| {
            let environments: Vec<String> = environments.iter().map(|e| (*e).to_owned()).collect();
            record.clone().of(&environments).lines.iter().map(|l| l.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(
            (of(&["a-1"]), of(&["b-2", NOBODYS])),
            (vec!["rmem".into(), "x".into()], vec!["rmem".into(), "/etc/b".into()])
        );
    }

    #[test]
    fn a_torn_last_line_is_dropped_wherever_it_was_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record");
        run(dir.path(), &Owner::of("e"), "note file /etc/a -; note file /etc/b kept", &[]);
        let whole = std::fs::read_to_string(&path).unwrap();
        let last = whole.trim_end().rfind('\n').unwrap() + 1;
        for cut in last + 1..whole.len() {
            for end in ["", "\n"] {
                // A cut behind the last digit with an end is the line itself.
                let torn = format!("{}{end}", &whole[..cut]);
                if torn == whole {
                    continue;
                }
                std::fs::write(&path, &torn).unwrap();
                assert!(read(dir.path()).names("file").all(|l| l.name == "/etc/a"), "{torn:?}");
                run(dir.path(), &Owner::of("e"), "note file /etc/c -", &[]);
                let record = read(dir.path());
                let names: Vec<_> = record.names("file").map(|l| l.name.as_str()).collect();
                assert!(
                    names == ["/etc/c", "/etc/a"] || names == ["/etc/c", "/etc/b", "/etc/a"],
                    "{torn:?}: {names:?}"
                );
                assert!(record.damaged.is_empty(), "{torn:?}: {record:?}");
            }
        }
    }

    #[test]
    fn a_changed_line_is_known() {
        let dir = tempfile::tempdir().unwrap();
        run(dir.path(), &Owner::of("e"), "note file /etc/a kept; note file /etc/b -", &[]);
        let path = dir.path().join("record");
        let changed = std::fs::read_to_string(&path).unwrap().replace("/etc/a", "/etc/x");
        std::fs::write(&path, changed).unwrap();
        let record = read(dir.path());
        assert_eq!((record.damaged.as_slice(), record.lines.len()), ([2].as_slice(), 1));
    }

    #[test]
    fn an_empty_record_is_empty() {
        assert_eq!(Record::parse(""), Record::default());
    }
}
