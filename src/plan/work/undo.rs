//! What was changed on a host, given back from the host's own record ([`crate::plan::Record`]).

use std::time::Duration;

use crate::host::Command;
use crate::plan::{Check, Cx, Record, StepError, Work};

/// How much of the record is given back.
#[derive(Debug, Clone)]
pub enum Undo {
    /// Everything; then the record itself goes.
    All {
        /// Folders of data that go too.
        wipe: Vec<String>,
    },
    /// Only what belongs to a role that the host no longer has; packages stay.
    Some { units: Vec<String>, files: Vec<String> },
}

const UNDO: &str = include_str!("undo.sh");

impl Undo {
    fn there(&self, record: &Record) -> Vec<String> {
        let named = |kind: &str, names: &[String]| -> Vec<String> {
            record.names(kind).filter(|l| names.contains(&l.name)).map(|l| l.name.clone()).collect()
        };
        match self {
            Self::All { wipe } => {
                let count = |kind: &str| record.names(kind).count();
                let mut changes: Vec<String> = ["unit", "file", "package", "sysctl", "module", "swap", "firewall"]
                    .into_iter()
                    .filter(|kind| count(kind) > 0)
                    .map(|kind| format!("give back: {} {kind}(s)", count(kind)))
                    .collect();
                if changes.is_empty() && !record.lines.is_empty() {
                    changes.push("forget what was changed here".to_owned());
                }
                changes.extend(wipe.iter().map(|path| format!("delete {path}")));
                changes
            }
            Self::Some { units, files } => {
                let units = named("unit", units).into_iter().map(|u| format!("stop and disable {u}"));
                units.chain(named("file", files).into_iter().map(|f| format!("give back {f}"))).collect()
            }
        }
    }
}

impl Work for Undo {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let host = cx.host()?;
        let record = Record::read(host)?;
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
        let undo = Command::script(UNDO).timeout(Duration::from_secs(300)).label("give back what was changed");
        let undo = match self {
            Self::All { wipe } => undo.arg("all").args(wipe.clone()),
            Self::Some { units, files } => undo.arg("some").args(units.clone()).arg("--").args(files.clone()),
        };
        cx.host()?.run_ok(&undo)?;
        Ok(())
    }
}
