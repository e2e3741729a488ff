//! `kubeadm init` on the first control plane node: it happens once, and once only.

use std::time::Duration;

use crate::host::Command;
use crate::plan::{Check, Cx, Step, StepError, Work};

use super::super::component::{Component, On};
use super::super::endpoint;
use super::super::verify::MasterAnswers;
use super::config;

/// kubeadm itself waits four minutes for the control plane.
const INIT: Duration = Duration::from_secs(600);

pub(in crate::flow::kubernetes) struct Init;

impl Component for Init {
    fn is_on(&self, on: &On<'_>) -> bool {
        on.control_plane().is_some()
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let Some(machine) = on.control_plane() else { return Vec::new() };
        let server = endpoint::of_master(machine);
        let init = InitOnce {
            fresh: config::init(on, machine, false),
            again: config::init(on, machine, true),
            server: server.clone(),
        };
        let init = on.step("kubeadm.init", "create the control plane with kubeadm", init).weight(30);
        vec![
            init.after_if_present(on.waits.etcd.iter().cloned()).after(on.waits.before.clone()),
            on.step("kubernetes.answers", "wait for the API", MasterAnswers { server }).weight(2),
        ]
    }
}

/// A control plane that kubeadm has made from its first phase to its last.
#[derive(Debug)]
struct InitOnce {
    /// The configuration on a host without a control plane.
    fresh: String,
    /// On one where an init was cut short: all that it left is used and completed.
    again: String,
    server: String,
}

/// `$1` server. kubeadm's last phases make the add-ons: where they are, it has come to its end.
const DONE: &str = r#"export HOME=/run/sunshine-installer
[ -e /etc/kubernetes/admin.conf ] && [ -e /etc/kubernetes/kubelet.conf ] || exit 1
kubectl --kubeconfig /root/.kube/config --server "$1" --request-timeout=5s -n kube-system get \
  configmap/kubeadm-config configmap/kubelet-config daemonset/kube-proxy deployment/coredns >/dev/null 2>&1"#;
const BEGUN: &str = "[ -e /etc/kubernetes/manifests/kube-apiserver.yaml ]";
/// The configuration on standard input. kubeadm's own last lines say what failed.
const RUN: &str = r#"set -eu
umask 077
export HOME=/run/sunshine-installer
mkdir -p "$HOME"
f=$(mktemp) && trap 'rm -f "$f"' EXIT && cat >"$f"
said=$(kubeadm init --config "$f" --skip-token-print 2>&1) || {
  s=$?
  printf '%s\n' "$said" | grep -v '^[[:space:]]*$' | tail -n 25 >&2
  journalctl -u kubelet -n 10 --no-pager -o cat >&2 2>/dev/null || :
  exit $s
}"#;

impl Work for InitOnce {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let look = Command::script(DONE).arg(&self.server).label("look for a control plane of kubeadm");
        let done = cx.host()?.run(&look)?.ok();
        Ok(if done { Check::Satisfied } else { Check::Needed(vec!["run kubeadm init".to_owned()]) })
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let host = cx.host()?;
        let begun = host.run(&Command::script(BEGUN).label("look for an init that was cut short"))?.ok();
        let config = if begun { &self.again } else { &self.fresh };
        let run = Command::script(RUN).stdin(config.clone().into_bytes()).timeout(INIT).label("kubeadm init");
        host.run_ok(&run)?;
        Ok(())
    }
}
