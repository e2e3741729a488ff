//! `kubeadm init` on the first control plane node: it happens once, and once only.

use std::time::Duration;

use crate::host::Command;
use crate::plan::{Check, Cx, Step, StepError, Work};

use super::super::component::{Component, On};
use super::super::endpoint;
use super::super::verify::MasterAnswers;
use super::{config, settings};

/// Another one is waited for; kubeadm itself waits four minutes for the control plane.
const INIT: Duration = Duration::from_secs(1200);

pub(in crate::flow::kubernetes) struct Init;

impl Component for Init {
    fn is_on(&self, on: &On<'_>) -> bool {
        on.control_plane().is_some() && on.begins()
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let Some(machine) = on.control_plane() else { return Vec::new() };
        let server = endpoint::of_machine(machine);
        let kubelet_config = settings::kubelet_config(on.cluster);
        let init = InitOnce { config: config::init(on, machine), server: server.clone(), kubelet_config };
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
    config: String,
    server: String,
    /// The ConfigMap of kubelets' configuration.
    kubelet_config: String,
}

/// `is_done SERVER KUBELET-CONFIG`. kubeadm's last phases make the add-ons: where they are, it has come to its end.
macro_rules! is_done {
    () => {
        r#"is_done() {
  [ -e /etc/kubernetes/admin.conf ] && [ -e /etc/kubernetes/kubelet.conf ] || return 1
  kubectl --kubeconfig /root/.kube/config --server "$1" --request-timeout=5s -n kube-system get \
    configmap/kubeadm-config "configmap/$2" daemonset/kube-proxy deployment/coredns >/dev/null 2>&1
}
"#
    };
}

/// `$1` server, `$2` the ConfigMap of kubelets' configuration.
const DONE: &str = concat!("export HOME=/run/sunshine-installer\n", is_done!(), r#"is_done "$1" "$2""#);
/// As [`DONE`]. Where an init was interrupted, what it left is used and completed: kubeadm would refuse its files and ports.
const RUN: &str = concat!(
    is_done!(),
    exclusive!(
        r#"! is_done "$1" "$2" || exit 0
m=FileAvailable--etc-kubernetes-manifests-kube
left=$m-apiserver.yaml,$m-controller-manager.yaml,$m-scheduler.yaml,Port-6443,Port-10250,Port-10257,Port-10259
if [ -e /etc/kubernetes/manifests/kube-apiserver.yaml ]; then
  run init --config "$f" --skip-token-print --ignore-preflight-errors="$left"
else
  run init --config "$f" --skip-token-print
fi"#
    )
);

impl Work for InitOnce {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let look = Command::script(DONE)
            .args([&self.server, &self.kubelet_config])
            .label("look for a control plane of kubeadm");
        let done = cx.host()?.run(&look)?.ok();
        Ok(if done { Check::Satisfied } else { Check::Needed(vec!["run kubeadm init".to_owned()]) })
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let host = cx.host()?;
        let run =
            Command::script(RUN).args([&self.server, &self.kubelet_config]).stdin(self.config.clone().into_bytes());
        host.run_ok(&run.timeout(INIT).label("kubeadm init"))?;
        Ok(())
    }
}
