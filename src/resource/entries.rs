//! Folders that others write to while the cluster runs, such as those of CNI, where the pods of a network put their files.
//! What is in them is recorded before, and what came later goes with a reset.

use crate::host::Command;
use crate::plan::{Check, Cx, Owned, StepError, Work};

use super::kept::dirs;
use super::kind::Kind;
use super::record::{READS_RECORD, recording};

/// Such a folder: what was in it, each name between two slashes. Files of packages stay.
pub(super) const ENTRIES: Kind = Kind {
    name: "entries",
    plural: "shared folder(s)",
    undo: r#"undo_entries() {
  # A link leads to a folder that is another's.
  if [ -h "$1" ] || [ ! -d "$1" ]; then return 0; fi
  ls -A -- "$1" | while IFS= read -r e; do
    case $2 in */"$e"/*) continue;; esac
    rpm -qf -- "$1/$e" >/dev/null 2>&1 || delete_tree "$1/$e" || echo "$e" >"$d/undeleted"
  done
  [ -e "$d/undeleted" ] || return 0
  rm -f "$d/undeleted"
  failed "$1 holds what cannot be deleted"
  return 1
}
"#,
    alone: Some(|path| format!("remove from {path} what came since the cluster was made")),
};

/// What is in these folders has been recorded.
#[derive(Debug)]
pub struct Entries(pub &'static [&'static str]);

/// `FOLDER…`: prints those that are not recorded.
const LOOK: &str = r#"there=$(names entries)
for p; do printf '%s\n' "$there" | grep -qxF -- "$p" || printf '%s\n' "$p"; done"#;

const NOTE: &str = dirs!(
    r#"for p; do
  note_dirs "$p"
  there=/
  [ ! -d "$p" ] || there=/$(ls -A -- "$p" | tr '\n' /)
  note entries "$p" "$there"
done"#
);

impl Work for Entries {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let look = Command::script_with(READS_RECORD, LOOK).args(self.0.iter().copied());
        let missing = cx.host()?.run_ok(&look.label("read the change record"))?.text();
        Ok(Check::from_changes(missing.lines().map(|path| format!("record what is in {path}")).collect()))
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let note = recording(cx.owner()?, NOTE).args(self.0.iter().copied());
        cx.host()?.run_ok(&note.label("record what is in shared folders"))?;
        Ok(())
    }

    fn owns(&self) -> Vec<Owned> {
        self.0.iter().map(|path| ENTRIES.owned(path)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::trial::Trial;

    #[test]
    fn what_came_later_goes_and_what_was_there_or_is_a_package_stays() {
        Trial::each(|trial| {
            trial.program("rpm", r#"case $3 in */owned) exit 0;; esac; exit 1"#);
            let (there, new) = (trial.at("root/there"), trial.at("root/a/new"));
            std::fs::create_dir(&there).unwrap();
            std::fs::write(trial.at("root/there/site 1.conf"), "theirs").unwrap();
            let words = [there.as_str(), &new];
            assert_eq!(trial.look(LOOK, &words).out, format!("{there}\n{new}\n"));
            assert!(trial.change(NOTE, &words).ok);
            assert_eq!(trial.look(LOOK, &words).out, "");
            std::fs::create_dir_all(&new).unwrap();
            for name in ["there/site 1.conf.new", "there/owned", "there/--", "a/new/10.conf"] {
                std::fs::write(trial.at(&format!("root/{name}")), "").unwrap();
            }
            std::fs::create_dir(trial.at("root/there/folder")).unwrap();
            // What is there when a later run looks is not how it was.
            assert!(trial.change(NOTE, &words).ok);
            let ran = trial.undo(&["all"]);
            assert!(ran.ok && ran.said.is_empty(), "{ran:?}");
            let mut left: Vec<_> = std::fs::read_dir(&there).unwrap().map(|e| e.unwrap().file_name()).collect();
            left.sort();
            assert_eq!(left, ["owned", "site 1.conf"]);
            assert!(!trial.there("root/a"), "folders that were made for it go");
        });
    }

    #[test]
    fn a_folder_that_is_a_link_now_is_left() {
        Trial::each(|trial| {
            let folder = trial.at("root/folder");
            assert!(trial.change(NOTE, &[&folder]).ok);
            std::fs::create_dir(trial.at("root/packages")).unwrap();
            std::fs::write(trial.at("root/packages/file"), "").unwrap();
            std::os::unix::fs::symlink(trial.at("root/packages"), &folder).unwrap();
            assert!(trial.undo(&["all"]).ok && trial.there("root/packages/file"));
        });
    }
}
