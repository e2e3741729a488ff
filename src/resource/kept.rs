//! Files and folders in the change record: what was there before a file is written is kept, and restored.

use crate::host::{Host, HostError};
use crate::plan::Owner;

use super::fapolicy::untrusts;
use super::kind::Kind;
use super::record::recording;

/// A file: `-` it was not there, `kept` its first version lies in the record's `backup/`.
pub(super) const FILE: Kind = Kind {
    name: "file",
    plural: "file(s)",
    undo: concat!(
        untrusts!(),
        r#"unrestored=
undo_file() {
  untrust "$1"
  if [ "$2" = kept ]; then
    b=$d/backup/$(printf %s "$1" | sha256sum | cut -d' ' -f1)
    # Without it the file is restored already.
    [ -e "$b" ] || return 0
    { cp -a "$b" "$1.sunshine-back" && mv -fT "$1.sunshine-back" "$1"; } || {
      failed "$1: its first version cannot be restored"
      unrestored=yes
      return 1
    }
    rm -f "$b"
  else
    rm -f -- "$1" || { failed "$1 cannot be deleted"; return 1; }
  fi
}
# Units' own files may be among them.
end_file() { systemctl daemon-reload; untrusted; }
"#
    ),
    alone: Some(|path| format!("restore {path}")),
};

/// A folder made for a file: `-`. It goes when nothing is left in it.
pub(super) const DIR: Kind = Kind {
    name: "dir",
    plural: "folder(s)",
    undo: r#"undo_dir() { [ ! -d "$1" ] || rmdir -- "$1" 2>/dev/null; }
# What was in it may have been a package's.
last_dir() { for_each dir dir; }
"#,
    alone: None,
};

/// `note_dirs PATH` records the folders up to there that are missing.
macro_rules! dirs {
    ($body:literal) => {
        concat!(
            r#"set -eu
note_dirs() { case $1 in ''|"$d") return 0;; esac; [ -d "$1" ] || { note_dirs "${1%/*}"; note dir "$1" -; }; }
"#,
            $body
        )
    };
}
pub(super) use dirs;

const KEEP: &str = dirs!(
    r#"mkdir -p "$d/backup"
for p; do
  shift
  ! recorded file "$p" || { note file "$p" -; continue; }
  note_dirs "${p%/*}"
  if [ -e "$p" ]; then
    b=$d/backup/$(printf %s "$p" | sha256sum | cut -d' ' -f1)
    cp -a "$p" "$b.new.$$"; mv -fT "$b.new.$$" "$b"; set -- "$@" "$b"; note file "$p" kept
  else
    note file "$p" -
  fi
done
# These files alone, where coreutils can (8.24 on); flushing the whole file system may mean some hundred MB of packages.
sync -- "$d/record" "$@" 2>/dev/null || sync
"#
);

/// Records these files as about to be written, keeping the first version of those that exist.
pub(super) fn keep(host: &Host, owner: &Owner, paths: &[&str]) -> Result<(), HostError> {
    if paths.is_empty() {
        return Ok(());
    }
    host.run_ok(&recording(owner, KEEP).args(paths.iter().copied()).label("record the files that will change"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::trial::Trial;

    #[test]
    fn a_file_is_kept_before_it_is_changed_and_restored_with_its_owner_and_mode() {
        use std::os::unix::fs::PermissionsExt;
        Trial::each(|trial| {
            let (there, new, full) = (trial.at("root/there"), trial.at("root/a/b/new"), trial.at("root/full/new"));
            std::fs::write(&there, "first").unwrap();
            std::fs::set_permissions(&there, std::fs::Permissions::from_mode(0o640)).unwrap();
            assert!(trial.change(KEEP, &[&there, &new, &full]).ok);
            for path in [&new, &full] {
                std::fs::create_dir_all(path.rsplit_once('/').unwrap().0).unwrap();
                std::fs::write(path, "ours").unwrap();
            }
            std::fs::write(&there, "ours").unwrap();
            // What is there when a later run looks is not how it was.
            assert!(trial.change(KEEP, &[&there, &new]).ok);
            std::fs::write(trial.at("root/full/theirs"), "").unwrap();
            let ran = trial.undo(&["some", "file", &there, "file", &new, "file", &full, "dir", "*"]);
            assert!(ran.ok && ran.said.is_empty(), "{ran:?}");
            assert_eq!(trial.read("root/there"), "first");
            assert_eq!(std::fs::metadata(&there).unwrap().permissions().mode() & 0o777, 0o640);
            assert!(!trial.there("root/a") && !trial.there("root/full/new") && trial.there("root/full/theirs"));
            assert_eq!(trial.recorded(), [format!("dir {} -", trial.at("root/full"))]);
            assert!(trial.calls().contains("systemctl daemon-reload"));
        });
    }

    #[test]
    fn a_file_that_cannot_be_restored_is_named_and_stays_in_the_record() {
        Trial::each(|trial| {
            let path = trial.at("root/a/file");
            std::fs::create_dir(trial.at("root/a")).unwrap();
            std::fs::write(&path, "first").unwrap();
            assert!(trial.change(KEEP, &[&path]).ok && trial.change("note package p.noarch -", &[]).ok);
            std::fs::remove_dir_all(trial.at("root/a")).unwrap();
            let ran = trial.undo(&["all"]);
            assert!(!ran.ok && ran.said.contains(&format!("{path}: its first version cannot be restored")), "{ran:?}");
            assert_eq!(trial.recorded(), [format!("file {path} kept"), "package p.noarch -".to_owned()]);
            assert!(ran.said.contains("packages stay") && !trial.calls().contains("rpm -e"), "{ran:?}");
            std::fs::create_dir(trial.at("root/a")).unwrap();
            trial.program(
                "rpm",
                r#"[ "$1" != -e ] || { touch "${at}gone"; exit 0; }
[ ! -e "${at}gone" ]"#,
            );
            assert!(trial.undo(&["all"]).ok && trial.calls().contains("rpm -e -- p.noarch"));
            assert_eq!((trial.read("root/a/file").as_str(), trial.there("state")), ("first", false));
        });
    }
}
