//! The folder of the images. What is in it is the site's: no reset removes it.

use crate::host::Command;
use crate::plan::{Check, Cx, StepError, Work};

/// The folder, owned by whom the server runs as.
#[derive(Debug)]
pub(super) struct Storage {
    pub folder: String,
    pub user: &'static str,
}

const LOOK: &str = r#"[ -d "$1" ] && [ "$(stat -Lc %U -- "$1")" = "$2" ]"#;
/// The label lets the server write there where SELinux is enforced and knows the folder.
const MAKE: &str = r#"set -eu
mkdir -p -- "$1"
chown -- "$2" "$1"
! command -v restorecon >/dev/null 2>&1 || restorecon -R -- "$1""#;

impl Storage {
    fn command(&self, script: &'static str, label: &str) -> Command {
        Command::script(script).args([self.folder.as_str(), self.user]).label(label)
    }
}

impl Work for Storage {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let there = cx.host()?.run(&self.command(LOOK, "look at the registry's storage"))?.ok();
        let change = || vec![format!("make the folder {}, which stays when the host is reset", self.folder)];
        Ok(if there { Check::Satisfied } else { Check::Needed(change()) })
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        cx.host()?.run_ok(&self.command(MAKE, "make the registry's storage"))?;
        Ok(())
    }
}
