//! SELinux booleans.

use crate::host::Command;
use crate::plan::{Check, Cx, StepError, Work};

/// An SELinux boolean that is on, now and after a restart. The lab's hosts have no SELinux: this is not tried there.
#[derive(Debug)]
pub(super) struct SeBool(pub &'static str);

const SEBOOL_IS: &str = r#"getsebool "$1" 2>/dev/null | grep -q -- '--> on$'"#;
const SEBOOL_SET: &str = r#"set -eu
note sebool "$1" off
setsebool -P "$1" on"#;

impl Work for SeBool {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let on = cx.host()?.run(&Command::script(SEBOOL_IS).arg(self.0).label("getsebool"))?.ok();
        Ok(if on { Check::Satisfied } else { Check::Needed(vec![format!("set SELinux boolean {}", self.0)]) })
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        cx.host()?.run_ok(&cx.owner()?.script(SEBOOL_SET).arg(self.0).label("setsebool -P"))?;
        Ok(())
    }
}
