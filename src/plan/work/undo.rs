//! What was changed on a host, given back from the host's own record ([`crate::plan::Record`]).

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::host::Command;
use crate::plan::{Check, Cx, Owned, RECORD_DIR, Record, Step, StepError, Work};

/// How much of the record is given back.
#[derive(Debug, Clone)]
pub enum Undo {
    /// Everything; then the record itself goes.
    All {
        /// Folders of data that go too.
        wipe: Vec<String>,
    },
    /// Only this, in this order, units first; packages stay.
    Some(Vec<Owned>),
}

const UNDO: &str = include_str!("undo.sh");

impl Undo {
    fn there(&self, record: &Record) -> Vec<String> {
        let recorded = |kind: &str, name: &str| record.names(kind).any(|line| line.name == name);
        match self {
            Self::All { wipe } => {
                let count = |kind: &str| record.names(kind).count();
                let mut changes: Vec<String> =
                    ["unit", "file", "package", "image", "ctr-image", "sysctl", "module", "swap", "firewall"]
                        .into_iter()
                        .filter(|kind| count(kind) > 0)
                        .map(|kind| format!("undo: {} {kind}(s)", count(kind)))
                        .collect();
                if changes.is_empty() && !record.lines.is_empty() {
                    changes.push("forget what was changed here".to_owned());
                }
                changes.extend(wipe.iter().map(|path| format!("delete {path}")));
                changes
            }
            Self::Some(owned) => {
                let change = |owned: &Owned| match owned {
                    Owned::Unit(name) => recorded("unit", name).then(|| format!("stop and disable {name}")),
                    Owned::File(path) => recorded("file", path).then(|| format!("restore {path}")),
                };
                owned.iter().filter_map(change).collect()
            }
        }
    }
}

/// What a host loses that had these steps and now has those: what was put there last comes first.
pub fn lost(before: &[Step], after: &[Step]) -> Vec<Owned> {
    let mut lost: BTreeMap<Owned, usize> = BTreeMap::new();
    for (place, owned) in before.iter().flat_map(|step| step.work.owns()).enumerate() {
        lost.insert(owned, place);
    }
    for kept in after.iter().flat_map(|step| step.work.owns()) {
        lost.remove(&kept);
    }
    let mut lost: Vec<(Owned, usize)> = lost.into_iter().collect();
    lost.sort_by_key(|(_, place)| Reverse(*place));
    lost.into_iter().map(|(owned, _)| owned).collect()
}

impl Work for Undo {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let host = cx.host()?;
        let record = Record::read(host)?;
        for number in &record.damaged {
            cx.note(format!("line {number} of {RECORD_DIR}/record is damaged: it is ignored, and what it named stays"));
        }
        let mut changes = self.there(&record);
        if let Self::All { wipe } = self {
            // Data may be there without a record.
            let look = Command::script(r#"for p in "$@"; do [ -e "$p" ] && echo "$p"; done; :"#).args(wipe.clone());
            let there = host.run_ok(&look.label("look for data"))?.text();
            changes.retain(|c| c.strip_prefix("delete ").is_none_or(|path| there.lines().any(|l| l == path)));
        }
        Ok(Check::from_changes(changes))
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let undo = cx.owner()?.script(UNDO).timeout(Duration::from_secs(300)).label("undo the recorded changes");
        let undo = match self {
            Self::All { wipe } => undo.arg("all").args(wipe.clone()),
            Self::Some(owned) => {
                let (mut units, mut files) = (Vec::new(), Vec::new());
                for owned in owned {
                    match owned {
                        Owned::Unit(name) => units.push(name.as_str()),
                        Owned::File(path) => files.push(path.as_str()),
                    }
                }
                undo.arg("some").args(units).arg("--").args(files)
            }
        };
        cx.host()?.run_ok(&undo)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Runs the script, for everything, on a record in a folder of this test, with programs that do nothing but write down
    /// how they were called. Gives what they were called with, what was said, and the record that is left.
    fn undone(record: &str, programs: &[(&str, &str)]) -> (String, String, Option<String>) {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
        let nothing = ["systemctl", "rpm", "firewall-cmd", "sysctl", "setsebool", "modprobe", "swapon"];
        for (name, body) in nothing.map(|name| (name, "")).iter().chain(programs) {
            let script = format!("#!/bin/sh\necho {name} \"$@\" >>{}\n{body}\n", at("calls"));
            std::fs::write(at(name), script).unwrap();
            std::fs::set_permissions(at(name), std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        std::fs::create_dir(at("state")).unwrap();
        std::fs::write(at("state/record"), record).unwrap();
        let script = format!("{}{UNDO}", crate::plan::RECORD_HEAD);
        let script =
            script.replace(crate::plan::RECORD_DIR, &at("state")).replace("/run/sunshine-installer", &at("run"));
        let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
        let output = std::process::Command::new("sh")
            .args(["-c", &script, "sh", "e\t0", "all"])
            .env("PATH", path)
            .output()
            .unwrap();
        let calls = std::fs::read_to_string(at("calls")).unwrap_or_default();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (calls, said, std::fs::read_to_string(at("state/record")).ok())
    }

    const CTR: (&str, &str) = ("ctr", "[ \"$3\" = images ] && [ \"$4\" = ls ] && echo docker.io/library/a:1; exit 0");
    const IMAGES: &str = "ctr-image\tdocker.io/library/a:1\t-\nctr-image\tdocker.io/library/gone:1\t-\n";

    #[test]
    fn images_leave_a_containerd_that_was_here_before_while_it_still_runs() {
        let record = format!("unit\tcontainerd.service\tenabled/active\n{IMAGES}");
        let (calls, said, left) = undone(&record, &[CTR]);
        assert_eq!((said.as_str(), left), ("", None), "{calls}");
        let removed = calls.find("ctr -n k8s.io images rm docker.io/library/a:1").unwrap();
        assert!(removed < calls.find("systemctl stop").unwrap(), "{calls}");
        assert!(!calls.contains("rm docker.io/library/gone:1"), "{calls}");
    }

    #[test]
    fn images_go_with_a_containerd_of_ours() {
        let (calls, _, left) = undone(&format!("package\tcontainerd.io.x86_64\t-\n{IMAGES}"), &[CTR]);
        assert!(!calls.contains("images rm") && left.is_none(), "{calls}");
    }

    #[test]
    fn an_image_that_cannot_be_removed_is_named_and_stays_in_the_record() {
        let (_, said, left) = undone(IMAGES, &[("ctr", "exit 1")]);
        assert!(said.contains("image docker.io/library/a:1 cannot be removed while containerd does not run"), "{said}");
        let left = left.unwrap();
        assert_eq!(left.lines().filter(|l| l.starts_with("ctr-image\t")).count(), 2, "{left}");
    }
}
