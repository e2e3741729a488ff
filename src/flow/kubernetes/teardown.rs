//! What Kubernetes made on a host while it ran is taken away: before the record's objects are restored, for it needs
//! the programs that go with them.

use std::time::Duration;

use crate::host::Command;
use crate::plan::{Check, Cx, StepError, Work};
use crate::resource::READS_RECORD;

const TEARDOWN: &str = include_str!("teardown.sh");

/// No pod, mount, rule or interface of Kubernetes is left.
#[derive(Debug)]
pub(crate) struct Teardown;

impl Work for Teardown {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let look = Command::script_with(READS_RECORD, TEARDOWN).arg("look").label("look for what Kubernetes made");
        let text = cx.host()?.run_ok(&look)?.text();
        Ok(Check::from_changes(text.lines().map(str::to_owned).collect()))
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let take = Command::script_with(READS_RECORD, TEARDOWN).arg("do").label("remove what Kubernetes created");
        cx.host()?.run_ok(&take.timeout(Duration::from_secs(180)))?;
        Ok(())
    }
}
