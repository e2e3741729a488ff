//! What Kubernetes made on a host while it ran is taken away: before the record's objects are restored, for it needs
//! the programs that go with them.

use std::sync::LazyLock;
use std::time::Duration;

use crate::host::Command;
use crate::plan::{Check, Cx, StepError, Work};
use crate::resource::{DELETES, READS_RECORD};

/// No pod, mount, rule or interface of Kubernetes is left, on a host whose node is the environment's own.
#[derive(Debug)]
pub(crate) struct Teardown {
    /// Environments whose lines in the change record count beside the environment's own.
    pub also: Vec<String>,
}

const PARTS: [&str; 5] = [
    READS_RECORD,
    DELETES,
    include_str!("teardown/borrow.sh"),
    include_str!("teardown/calico.sh"),
    include_str!("teardown.sh"),
];

fn script() -> &'static str {
    static SCRIPT: LazyLock<String> = LazyLock::new(|| PARTS.concat());
    &SCRIPT
}

impl Teardown {
    fn command(&self, cx: &Cx<'_>, what: &str) -> Result<Command, StepError> {
        let environments: Vec<&str> =
            std::iter::once(&cx.owner()?.environment).chain(&self.also).map(String::as_str).collect();
        Ok(Command::script(script()).args([what, &environments.join(" ")]))
    }
}

impl Work for Teardown {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let look = self.command(cx, "look")?.label("look for what Kubernetes made");
        let text = cx.host()?.run_ok(&look)?.text();
        Ok(Check::from_changes(text.lines().map(str::to_owned).collect()))
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let take = self.command(cx, "do")?.label("remove what Kubernetes created");
        cx.host()?.run_ok(&take.timeout(Duration::from_secs(180)).in_turn())?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
