//! A symbolic link to a folder of a package, where another program looks for that folder's files.

use crate::host::Command;
use crate::plan::{Check, Cx, Owned, StepError, Work};

use super::kept::{FILE, dirs};
use super::record::recording;

/// A link, needed where the files are not found without it.
#[derive(Debug)]
pub struct Link {
    pub path: &'static str,
    /// The folder that it points to.
    pub to: &'static str,
    /// A file that is always among those wanted.
    pub file: &'static str,
}

/// `PATH TO FILE`, for both.
const THERE: &str = r#"[ -e "$1/$3" ] || [ ! -e "$2/$3" ]"#;
const MAKE: &str = dirs!(
    r#"if [ -e "$1" ] || [ -h "$1" ]; then echo "$1 is there and has no $3; move it away" >&2; exit 1; fi
note_dirs "${1%/*}"
note file "$1" -
(umask 022; mkdir -p "${1%/*}")
ln -s "$2" "$1""#
);

impl Work for Link {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let look = Command::script(THERE).args([self.path, self.to, self.file]);
        let there = cx.host()?.run(&look.label(format!("look for {}", self.file)))?.ok();
        Ok(if there { Check::Satisfied } else { Check::Needed(vec![format!("link {}", self.path)]) })
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let make = recording(cx.owner()?, MAKE).args([self.path, self.to, self.file]);
        cx.host()?.run_ok(&make.label(format!("link {}", self.path)))?;
        Ok(())
    }

    fn owns(&self) -> Vec<Owned> {
        vec![FILE.owned(self.path)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::trial::Trial;

    #[test]
    fn a_link_is_made_where_it_is_needed_and_goes_with_the_folders_made_for_it() {
        Trial::each(|trial| {
            let (path, to) = (trial.at("root/opt/cni/bin"), trial.at("root/libexec"));
            let words = [path.as_str(), &to, "bridge"];
            assert!(trial.look(THERE, &words).ok, "without the file there is nothing to link to");
            std::fs::create_dir(&to).unwrap();
            std::fs::write(trial.at("root/libexec/bridge"), "").unwrap();
            assert!(!trial.look(THERE, &words).ok);
            assert!(trial.change(MAKE, &words).ok && trial.look(THERE, &words).ok);
            assert!(trial.undo(&["all"]).ok);
            assert!(!trial.there("root/opt") && trial.there("root/libexec/bridge"));
        });
    }

    #[test]
    fn what_is_in_its_place_is_named_and_left() {
        Trial::each(|trial| {
            std::fs::create_dir(trial.at("root/bin")).unwrap();
            let ran = trial.change(MAKE, &[&trial.at("root/bin"), &trial.at("root"), "bridge"]);
            assert!(!ran.ok && ran.said.contains("is there and has no bridge; move it away"), "{ran:?}");
            assert!(trial.recorded().is_empty());
        });
    }
}
