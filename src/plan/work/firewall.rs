//! Ports opened in a firewalld that runs; it is never switched off.

use crate::host::Command;
use crate::plan::{Check, Cx, StepError, Work};

/// Ports as firewalld writes them (`2379/tcp`), in the default zone, now and after a restart.
#[derive(Debug)]
pub struct FirewallPorts(pub Vec<String>);

const CLOSED: &str = r#"for p in "$@"; do
  firewall-cmd -q --query-port="$p" && firewall-cmd -q --permanent --query-port="$p" || printf '%s\n' "$p"
done"#;

const OPEN: &str = r#"set -eu
for p in "$@"; do
  note firewall "$p" -
  firewall-cmd -q --add-port="$p"
  firewall-cmd -q --permanent --add-port="$p"
done"#;

impl Work for FirewallPorts {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let output = cx.host()?.run_ok(&Command::script(CLOSED).args(&self.0).label("firewall-cmd --query-port"))?;
        Ok(Check::from_changes(output.text().lines().map(|p| format!("open {p}")).collect()))
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let closed = Command::script(CLOSED).args(&self.0).label("firewall-cmd --query-port");
        let ports: Vec<_> = cx.host()?.run_ok(&closed)?.text().lines().map(str::to_owned).collect();
        cx.host()?.run_ok(&cx.owner()?.script(OPEN).args(ports).label("firewall-cmd --add-port"))?;
        Ok(())
    }
}
