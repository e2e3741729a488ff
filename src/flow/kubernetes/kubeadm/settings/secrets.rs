//! Secrets of a cluster that stands, from a file on that wants them encrypted (Kubernetes documentation, "Encrypting Confidential Data at Rest").
//!
//! An API server that has no key cannot read, and not even list, what another one has encrypted. So, with several of them, first all get the
//! key to read with ([`FileForReading`], then the option with the control plane's other settings) and each is seen to have it
//! ([`CanRead`]); then one after another writes with it ([`Writes`]). In the end each secret that was there before is written anew, as it
//! is, and so is encrypted ([`WrittenAnew`]).

use std::sync::Arc;
use std::time::Duration;

use crate::flow::pki::KeyUse;
use crate::flow::retry::{self, Patience};
use crate::host::{Command, HostId};
use crate::plan::{Check, Cx, Made, Owned, Step, StepError, StepId, Work};
use crate::resource::{FileSpec, Files};

use super::super::super::component::{Component, On};
use super::super::super::endpoint;
use super::super::site::ENCRYPTION;
use super::super::site_files::encryption;
use super::Manifests;

const LONGEST: Duration = Duration::from_secs(900);
/// An API server that was restarted has answered already.
const ANSWERS: Duration = Duration::from_secs(120);

const CAN_READ: &str = "secrets.readable";
const WRITES: &str = "secrets.writes";

/// The step after which this host's API server reads what is encrypted.
pub(in crate::flow::kubernetes) fn can_read(host: &HostId) -> StepId {
    StepId::on(host, CAN_READ)
}

/// The step after which this host's API server encrypts what it writes.
pub(in crate::flow::kubernetes) fn writes(host: &HostId) -> StepId {
    StepId::on(host, WRITES)
}

/// Whether the run encrypts secrets that were not encrypted before, until one has come to its end.
fn begins(on: &On<'_>) -> bool {
    let encrypts = on.cluster.settings.components.encrypt_secrets;
    on.supply.former.is_some_and(|former| encrypts && !former.applied.encrypt_secrets)
}

/// Whether API servers read with the key before the first of them writes with it: where there are others.
pub(in crate::flow::kubernetes::kubeadm) fn in_two_passes(on: &On<'_>) -> bool {
    begins(on) && on.cluster.control_plane.len() > 1
}

/// The component of control plane nodes, once all of them have the settings. It comes before what waits for one node after another: each
/// waits for all.
pub(in crate::flow::kubernetes) struct KeyOfSecrets;

impl Component for KeyOfSecrets {
    fn is_on(&self, on: &On<'_>) -> bool {
        on.control_plane().is_some() && in_two_passes(on)
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let Some(machine) = on.control_plane() else { return Vec::new() };
        let can_read = CanRead { server: endpoint::of_machine(machine) };
        let writes = Writes(Manifests::new(on, machine, vec![encryption(on, KeyUse::ReadAndWrite)]));
        let writes = on.step(WRITES, "let the API server encrypt secrets", writes).weight(4);
        vec![
            on.step(CAN_READ, "wait until the API server can read encrypted secrets", can_read),
            writes.after(on.waits.readable.clone()).after(on.waits.written.clone()),
        ]
    }
}

/// The key for an API server that has none. One that reads with the key goes on with the file that it has, which may be the one to write
/// with: a run that was interrupted had come so far.
#[derive(Debug)]
pub(in crate::flow::kubernetes::kubeadm) struct FileForReading(Files);

impl FileForReading {
    pub(in crate::flow::kubernetes::kubeadm) fn new(file: FileSpec) -> Self {
        Self(Files(vec![file]))
    }
}

/// `$1` the file with the key, `$2` the host's API server or nothing. Whether the API server that runs was started with the key, which
/// never changes, and answers.
const READS: &str = r#"[ -e "$1" ] || exit 1
p=$(pgrep -of '^kube-apiserver ') || exit 1
tr '\0' '\n' <"/proc/$p/cmdline" | grep -qxF -e "--encryption-provider-config=$1" || exit 1
[ -n "$2" ] || exit 0
HOME=/run/sunshine-installer kubectl --kubeconfig /root/.kube/config --server "$2" --request-timeout=5s get --raw /readyz >/dev/null 2>&1"#;

fn reads(cx: &Cx<'_>, server: &str) -> Result<bool, StepError> {
    let look = Command::script(READS).args([ENCRYPTION, server]).label("look for the API server's key");
    Ok(cx.host()?.run(&look)?.ok())
}

impl Work for FileForReading {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        if reads(cx, "")? { Ok(Check::Satisfied) } else { self.0.check(cx) }
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        self.0.apply(cx)
    }

    fn needs(&self) -> Vec<Arc<dyn Made>> {
        Work::needs(&self.0)
    }

    fn owns(&self) -> Vec<Owned> {
        self.0.owns()
    }
}

/// The proof that this host's API server reads with the key; a host that is to join has none yet.
#[derive(Debug)]
struct CanRead {
    /// The host's own API server.
    server: String,
}

const STANDS: &str = "[ -e /etc/kubernetes/manifests/kube-apiserver.yaml ]";

impl Work for CanRead {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let stands = Command::script(STANDS).label("look for the API server's manifest");
        if !cx.host()?.run(&stands)?.ok() || reads(cx, &self.server)? {
            return Ok(Check::Satisfied);
        }
        Ok(Check::Needed(vec!["wait until the API server can read encrypted secrets".to_owned()]))
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let unready = || {
            StepError::with_help(
                format!("the API server at {} does not answer, or was not started with {ENCRYPTION}", self.server),
                "look at `crictl logs` of kube-apiserver on this host, then run the same command again",
            )
        };
        let ask = || if reads(cx, &self.server)? { Ok(()) } else { Err(unready()) };
        let patience = Patience::lasting(cx, ANSWERS);
        retry::repeat(patience, |error| matches!(error, StepError::Failed { .. }), ask).map_err(|gave_up| gave_up.error)
    }

    /// The wait ended with the proof: asked again, an election in etcd would look like a failure.
    fn verify(&self, _: &Cx<'_>) -> Result<(), StepError> {
        Ok(())
    }
}

/// The API server is restarted with the file by which it writes with the key.
#[derive(Debug)]
struct Writes(Manifests);

impl Work for Writes {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let mut needed = self.0.unread(cx)?;
        if !needed.is_empty() {
            needed.insert(0, "let the API server encrypt the secrets that it writes".to_owned());
        }
        Ok(Check::from_changes(needed))
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        self.0.apply(cx)
    }

    fn needs(&self) -> Vec<Arc<dyn Made>> {
        self.0.needs()
    }

    fn owns(&self) -> Vec<Owned> {
        self.0.owns()
    }
}

/// The component of the host that publishes, until a run that encrypts secrets has come to its end.
pub(in crate::flow::kubernetes) struct EncryptedSecrets;

impl Component for EncryptedSecrets {
    fn is_on(&self, on: &On<'_>) -> bool {
        begins(on) && on.publishes && on.control_plane().is_some()
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let Some(machine) = on.control_plane() else { return Vec::new() };
        let work = WrittenAnew { server: endpoint::of_machine(machine) };
        let step = on.step("secrets.encrypt", "write all secrets anew, encrypted", work).weight(3);
        vec![step.after(on.waits.all_settled.clone()).after_if_present(on.waits.all_written.clone())]
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
