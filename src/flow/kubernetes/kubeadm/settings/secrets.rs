//! Secrets that were there before they were to be encrypted: each is written anew, as it is, and so is encrypted (Kubernetes documentation,
//! "Encrypting Confidential Data at Rest").

use std::time::Duration;

use crate::host::Command;
use crate::plan::{Check, Cx, Step, StepError, Work};

use super::super::super::component::{Component, On};
use super::super::super::endpoint;

const LONGEST: Duration = Duration::from_secs(900);

/// The component of the host that publishes, until a run that encrypts secrets has come to its end.
pub(in crate::flow::kubernetes) struct EncryptedSecrets;

impl Component for EncryptedSecrets {
    fn is_on(&self, on: &On<'_>) -> bool {
        let encrypts = on.cluster.settings.components.encrypt_secrets;
        let is_new = on.supply.former.is_some_and(|former| encrypts && !former.applied.encrypt_secrets);
        is_new && on.publishes && on.control_plane().is_some()
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let Some(machine) = on.control_plane() else { return Vec::new() };
        let work = WrittenAnew { server: endpoint::of_machine(machine) };
        let step = on.step("secrets.encrypt", "write all secrets anew, encrypted", work).weight(3);
        vec![step.after(on.waits.all_settled.clone())]
    }
}

#[derive(Debug)]
struct WrittenAnew {
    /// The host's own API server.
    server: String,
}

/// `$1` server. One that somebody else has changed or deleted meanwhile is no failure: all are read again.
const WRITE: &str = r#"export HOME=/run/sunshine-installer
ask() { kubectl --kubeconfig /root/.kube/config --server "$server" "$@"; }
server=$1 tries=0
while :; do
  some=$(ask get secrets -A -o name 2>&1) || { printf '%s\n' "$some" | head -n 3 >&2; exit 1; }
  [ -n "$some" ] || exit 0
  said=$(ask get secrets -A -o json | ask replace -f - 2>&1 >/dev/null) && exit 0
  tries=$((tries + 1))
  [ "$tries" -lt 10 ] || { printf '%s\n' "$said" | cut -c 1-200 | head -n 3 >&2; exit 1; }
  sleep 1
done"#;

impl Work for WrittenAnew {
    fn check(&self, _: &Cx<'_>) -> Result<Check, StepError> {
        Ok(Check::Needed(vec!["write all secrets anew, which encrypts them".to_owned()]))
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let write = Command::script(WRITE).arg(&self.server).label("kubectl replace of all secrets");
        cx.host()?.run_ok(&write.timeout(LONGEST))?;
        Ok(())
    }

    /// How they lie in etcd is nothing that the API tells.
    fn verify(&self, _: &Cx<'_>) -> Result<(), StepError> {
        Ok(())
    }
}
