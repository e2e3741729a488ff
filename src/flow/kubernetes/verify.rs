//! Steps that wait until the cluster itself says that it works.

use std::time::Duration;

use crate::host::Command;
use crate::plan::{Check, Cx, StepError, Work};

use super::node::KUBELET_KUBECONFIG;

/// This master's API server and what hangs on it are ready.
#[derive(Debug)]
pub(super) struct MasterAnswers {
    /// The host's own API server, `https://10.8.14.200:6443`.
    pub server: String,
}

const READY: &str =
    r#"kubectl --kubeconfig /root/.kube/config --server "$1" --request-timeout=5s get --raw /readyz >/dev/null 2>&1"#;
const AWAIT_MASTER: &str = r#"set -u
end=$(( $(date +%s) + $2 ))
until said=$(kubectl --kubeconfig /root/.kube/config --server "$1" --request-timeout=5s get --raw /readyz 2>&1); do
  if [ "$(date +%s)" -ge "$end" ]; then
    printf '%s\n' "$said" >&2
    journalctl -u kube-apiserver -n 10 --no-pager -o cat >&2; exit 1
  fi
  sleep 0.2
done"#;

impl Work for MasterAnswers {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let ready = cx.host()?.run(&Command::script(READY).arg(&self.server).label("kubectl get --raw /readyz"))?.ok();
        Ok(if ready { Check::Satisfied } else { Check::Needed(vec!["wait until the API is ready".to_owned()]) })
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let wait = Command::script(AWAIT_MASTER).arg(&self.server).arg("120").label("wait for the API");
        cx.host()?.run_ok(&wait.timeout(Duration::from_secs(150)))?;
        Ok(())
    }
}

/// The cluster calls this node Ready.
#[derive(Debug)]
pub(super) struct NodeReady {
    pub node: String,
}

const IS_READY: &str = r#"[ "$(kubectl --kubeconfig "$2" --request-timeout=5s get node "$1" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' 2>/dev/null)" = True ]"#;
const AWAIT_NODE: &str = r#"end=$(( $(date +%s) + $3 ))
while :; do
  said=$(kubectl --kubeconfig "$2" --request-timeout=5s get node "$1" -o 'jsonpath={range .status.conditions[?(@.type=="Ready")]}{.status} {.message}{end}' 2>&1)
  case $said in True*) exit 0;; esac
  if [ "$(date +%s)" -ge "$end" ]; then
    printf 'not Ready: %s\nkubelet, its last lines:\n' "$said" >&2
    journalctl -u kubelet -n 10 --no-pager -o cat >&2; exit 1
  fi
  sleep 0.3
done"#;

impl Work for NodeReady {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let ask = Command::script(IS_READY).arg(&self.node).arg(KUBELET_KUBECONFIG).label("kubectl get node");
        let ready = cx.host()?.run(&ask)?.ok();
        Ok(if ready { Check::Satisfied } else { Check::Needed(vec!["wait until the node is Ready".to_owned()]) })
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let wait = Command::script(AWAIT_NODE).arg(&self.node).arg(KUBELET_KUBECONFIG).arg("180");
        cx.host()?.run_ok(&wait.label("wait for the node").timeout(Duration::from_secs(210)))?;
        Ok(())
    }
}
