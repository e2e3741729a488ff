//! Steps that wait until the cluster itself says that it works.

use std::time::Duration;

use crate::host::Command;
use crate::plan::{Check, Cx, StepError, Work};

use super::endpoint;
use super::state::Cluster;

/// This control plane node's API server and what hangs on it are ready.
#[derive(Debug)]
pub(super) struct MasterAnswers {
    /// The host's own API server, `https://10.8.14.200:6443`.
    pub server: String,
}

/// Everybody may ask for health, unless the site allows nobody without a certificate (`--anonymous-auth=false`). kubectl takes four times as long.
const READY: &str = r#"[ "$(curl -sk -m 5 "$1/healthz" 2>/dev/null)" = ok ] ||
HOME=/run/sunshine-installer kubectl --kubeconfig /root/.kube/config --server "$1" --request-timeout=5s get --raw /healthz >/dev/null 2>&1"#;
const AWAIT_MASTER: &str = r#"set -u
export HOME=/run/sunshine-installer
end=$(( $(date +%s) + $2 ))
until said=$(kubectl --kubeconfig /root/.kube/config --server "$1" --request-timeout=5s get --raw /healthz 2>&1); do
  if [ "$(date +%s)" -ge "$end" ]; then
    printf '%s\n' "$said" >&2
    journalctl -u kube-apiserver -n 10 --no-pager -o cat >&2; exit 1
  fi
  sleep 0.2
done"#;

impl Work for MasterAnswers {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let ready = cx.host()?.run(&Command::script(READY).arg(&self.server).label("kubectl get --raw /healthz"))?.ok();
        Ok(if ready { Check::Satisfied } else { Check::Needed(vec!["wait until the API is ready".to_owned()]) })
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let wait = Command::script(AWAIT_MASTER).arg(&self.server).arg("120").label("wait for the API");
        cx.host()?.run_ok(&wait.timeout(Duration::from_secs(150)))?;
        Ok(())
    }

    /// The wait ended with the proof: asked again, an election in etcd would look like a failure.
    fn verify(&self, _: &Cx<'_>) -> Result<(), StepError> {
        Ok(())
    }
}

/// Both run here, and somebody leads each of them: only then does a cluster do anything.
#[derive(Debug)]
pub(super) struct Leads {
    /// The host's own API server.
    pub server: String,
}

/// `$1` server, `$2` seconds to wait. Before 1.20 the lease was an annotation of an Endpoints object.
const LEADS: &str = r#"export HOME=/run/sunshine-installer
ask() { kubectl --kubeconfig /root/.kube/config --server "$server" --request-timeout=5s -n kube-system get "$@" 2>/dev/null; }
server=$1
end=$(( $(date +%s) + $2 ))
for name in kube-controller-manager kube-scheduler; do
  until [ "$(systemctl is-active $name)" = active ] &&
    [ -n "$(ask lease $name -o 'jsonpath={.spec.holderIdentity}' || ask endpoints $name -o 'jsonpath={.metadata.annotations}')" ]
  do
    if [ "$(date +%s)" -ge "$end" ]; then
      printf 'nobody leads %s; its last lines here:\n' $name >&2
      journalctl -u $name -n 10 --no-pager -o cat >&2; exit 1
    fi
    sleep 0.3
  done
done"#;

impl Work for Leads {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let ask = Command::script(LEADS).args([self.server.as_str(), "0"]).label("ask who leads");
        let good = cx.host()?.run(&ask)?.ok();
        let wait = "wait until controller manager and scheduler are led";
        Ok(if good { Check::Satisfied } else { Check::Needed(vec![wait.to_owned()]) })
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let wait =
            Command::script(LEADS).args([self.server.as_str(), "90"]).label("wait for controller manager, scheduler");
        cx.host()?.run_ok(&wait.timeout(Duration::from_secs(120)))?;
        Ok(())
    }

    /// The wait ended with the proof: asked again, an election in etcd would look like a failure.
    fn verify(&self, _: &Cx<'_>) -> Result<(), StepError> {
        Ok(())
    }
}

/// The cluster calls this node Ready.
#[derive(Debug)]
pub(super) struct NodeReady {
    node: String,
    /// The kubelet's own.
    kubeconfig: &'static str,
    /// Every API server, `https://10.8.14.200:6443`: the kubelet may ask a balancer, which names none.
    servers: Vec<String>,
}

const IS_READY: &str = r#"export HOME=/run/sunshine-installer; [ "$(kubectl --kubeconfig "$2" --request-timeout=5s get node "$1" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' 2>/dev/null)" = True ]"#;
/// `$1` node, `$2` kubeconfig, `$3` seconds to wait, then API servers. The kubelet says ten times a second that its node is missing.
const AWAIT_NODE: &str = r#"export HOME=/run/sunshine-installer
node=$1 config=$2 end=$(( $(date +%s) + $3 ))
shift 3
while :; do
  said=$(kubectl --kubeconfig "$config" --request-timeout=5s get node "$node" -o 'jsonpath={range .status.conditions[?(@.type=="Ready")]}{.status} {.message}{end}' 2>&1)
  case $said in True*) exit 0;; esac
  [ "$(date +%s)" -lt "$end" ] || break
  sleep 0.3
done
printf 'not Ready: %s\nkubelet, its last lines:\n' "$said" >&2
journalctl -u kubelet -n 200 --no-pager -o cat | grep -vF "node \"$node\" not found" | tail -n 8 >&2
for server; do
  said=$(kubectl --kubeconfig "$config" --server "$server" --request-timeout=3s get --raw /healthz 2>&1) && continue
  case $said in
  *'(Forbidden)'* | *'(Unauthorized)'*) ;;
  *) printf 'the API server %s does not answer this host: %s\n' "$server" "$said" >&2;;
  esac
done
exit 1"#;

impl NodeReady {
    pub(super) fn new(cluster: &Cluster, node: &str, kubeconfig: &'static str) -> Self {
        let servers = cluster.control_plane.values().map(endpoint::of_machine).collect();
        Self { node: node.to_owned(), kubeconfig, servers }
    }
}

impl Work for NodeReady {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let ask = Command::script(IS_READY).arg(&self.node).arg(self.kubeconfig).label("kubectl get node");
        let ready = cx.host()?.run(&ask)?.ok();
        Ok(if ready { Check::Satisfied } else { Check::Needed(vec!["wait until the node is Ready".to_owned()]) })
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let wait = Command::script(AWAIT_NODE).args([self.node.as_str(), self.kubeconfig, "180"]).args(&self.servers);
        cx.host()?.run_ok(&wait.label("wait for the node").timeout(Duration::from_secs(210)))?;
        Ok(())
    }

    /// The wait ended with the proof: asked again, an election in etcd would look like a failure.
    fn verify(&self, _: &Cx<'_>) -> Result<(), StepError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::AWAIT_NODE;

    /// What the wait prints when the time is up. `kubectl` and `journalctl` are scripts that answer as those of a worker do whose
    /// kubelet asks a balancer, while one API server is cut off and another lets its certificate ask for no health.
    #[test]
    fn a_node_that_does_not_become_ready_names_the_api_servers_that_do_not_answer() {
        let folder = tempfile::tempdir().unwrap();
        let program = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        program(
            "kubectl",
            "case \"$*\" in\n\
             *'--server https://10.8.14.200:6443'*) echo 'dial tcp 10.8.14.200:6443: i/o timeout' >&2; exit 1;;\n\
             *'--server https://10.8.14.201:6443'*) echo ok;;\n\
             *'--server https://10.8.14.202:6443'*) echo 'Error from server (Forbidden): /healthz' >&2; exit 1;;\n\
             *'get node host3 '*) echo 'context deadline exceeded' >&2; exit 1;;\nesac",
        );
        program("journalctl", "echo 'node \"host3\" not found'; echo 'failed to list *v1.Node'");
        let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
        let servers = [200, 201, 202].map(|n| format!("https://10.8.14.{n}:6443"));
        let wait = std::process::Command::new("sh")
            .args(["-c", AWAIT_NODE, "sh", "host3", "/etc/kubernetes/kubelet.conf", "0"])
            .args(servers)
            .env("PATH", path)
            .output()
            .unwrap();
        assert_eq!(wait.status.code(), Some(1));
        assert_eq!(
            String::from_utf8(wait.stderr).unwrap(),
            "not Ready: context deadline exceeded\nkubelet, its last lines:\nfailed to list *v1.Node\n\
             the API server https://10.8.14.200:6443 does not answer this host: dial tcp 10.8.14.200:6443: i/o timeout\n"
        );
    }
}
