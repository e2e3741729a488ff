//! How hosts of a cluster find each other: the *list* of its masters and nodes, and the unit that keeps a node's routes
//! and the API's balancer as the list says.
//!
//! The list lies on every node (`/etc/kubernetes/sunshine-cluster`) and, as the one that counts, in the cluster itself
//! (ConfigMap `kube-public/sunshine-cluster`). A run that adds or removes hosts changes it there, once; every node takes
//! it over. So no run needs the credentials of hosts that it is not about, and a host that was down then learns of it
//! when it is back.

use crate::flow::request::Network;
use crate::flow::retry::{self, Patience};
use crate::host::{Command, HostError, Secret};
use crate::plan::work::{FileSpec, Files};
use crate::plan::{Check, Cx, StepError, Work};

use super::endpoint;
use super::state::{Cluster, Node};

/// Keeps routes and balancer as the list says.
pub(super) const UNIT: &str = "sunshine-cluster";
/// The API's balancer: haproxy with a configuration of our own, so that the package's stays the site's.
pub(super) const BALANCER_UNIT: &str = "sunshine-api";
const SCRIPT: &str = "/usr/local/sbin/sunshine-cluster";
const LIST: &str = "/etc/kubernetes/sunshine-cluster";

/// The list's text: a line a fact, the words of a line apart by one space.
pub(super) fn list(cluster: &Cluster) -> String {
    let mut text = "# Written by sunshine-installer: the hosts of this cluster.\n".to_owned();
    match cluster.network {
        Network::Direct => text.push_str("network direct\n"),
        Network::Flannel => text.push_str("network flannel\n"),
        _ => {}
    }
    // Without leave for everybody to ask, a connection is all the health that can be seen.
    if cluster.is_legacy() {
        text.push_str("health connect\n");
    }
    text.push_str(&format!("pods {}\n", cluster.settings.pod_cidr));
    text.push_str(&format!("balancer 127.0.0.1:{}\n", endpoint::LOCAL_PORT));
    for master in cluster.masters.values() {
        text.push_str(&format!("master {} {}\n", master.name, master.address));
    }
    for node in cluster.nodes.values() {
        text.push_str(&format!("node {} {} {}\n", node.machine.name, node.machine.address, cluster.pod_subnet(node)));
    }
    text
}

/// The list on a host. The unit itself keeps it up to date, so a change of it is no reason to restart the unit.
pub(super) fn list_file(cluster: &Cluster) -> Files {
    Files(vec![FileSpec::text(LIST, list(cluster))])
}

/// The unit that keeps the host as the list says.
pub(super) fn keeper_files() -> Files {
    let unit = format!(
        "# Written by sunshine-installer.\n[Unit]\nDescription=This host's routes to pods, and the API's balancer\n\
         After=network-online.target docker.service containerd.service\nWants=network-online.target\n\n\
         [Service]\nExecStartPre={SCRIPT} apply\nExecStart={SCRIPT} watch\nRestart=always\nRestartSec=2\n\n\
         [Install]\nWantedBy=multi-user.target\n"
    );
    let mut script = FileSpec::text(SCRIPT, include_str!("sunshine-cluster.sh"));
    script.meta.mode = 0o755;
    Files(vec![script, FileSpec::text(format!("/etc/systemd/system/{UNIT}.service"), unit)])
}

/// The balancer's unit.
pub(super) fn balancer_files() -> Files {
    let unit = format!(
        "# Written by sunshine-installer.\n[Unit]\nDescription=The Kubernetes API of all masters on this host's loopback\n\
         After=network-online.target\nWants=network-online.target\n\n\
         [Service]\nExecStartPre={SCRIPT} balance\nExecStart=/usr/sbin/haproxy -db -f /run/sunshine-installer/haproxy.cfg\n\
         Restart=always\nRestartSec=1\n\n[Install]\nWantedBy=multi-user.target\n"
    );
    Files(vec![FileSpec::text(format!("/etc/systemd/system/{BALANCER_UNIT}.service"), unit)])
}

/// The CNI configuration of a node (CNI plugins, "bridge", "portmap").
pub(super) fn cni_files(cluster: &Cluster, node: &Node) -> Files {
    let config = serde_json::json!({
        "cniVersion": "0.3.1",
        "name": "sunshine",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": true,
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": cluster.pod_subnet(node)}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    });
    Files(vec![FileSpec::text("/etc/cni/net.d/10-sunshine.conflist", format!("{config:#}\n"))])
}

/// The list in the cluster is this one.
#[derive(Debug)]
pub(super) struct Publish {
    pub list: String,
    /// Nodes need leave to read it.
    pub rbac: bool,
    /// The administrator's.
    pub kubeconfig: Secret,
}

/// `$1` list; the kubeconfig on standard input. Status 70 when the cluster's list is another one.
const SAME: &str = r#"umask 077
export HOME=/run/sunshine-installer
k=$(mktemp) && trap 'rm -f "$k"' EXIT && cat >"$k"
is=$(kubectl --kubeconfig "$k" --request-timeout=10s -n kube-public get configmap sunshine-cluster -o 'jsonpath={.data.hosts}') || exit 1
[ "$is" = "$(printf %s "$1")" ] || exit 70"#;
/// `$1` objects.
const APPLY: &str = r#"set -eu
umask 077
export HOME=/run/sunshine-installer
k=$(mktemp) && trap 'rm -f "$k"' EXIT && cat >"$k"
printf '%s' "$1" | kubectl --kubeconfig "$k" --request-timeout=30s apply -f -"#;

impl Publish {
    fn same(&self) -> Command {
        let same = Command::script(SAME).arg(&self.list).secret_stdin(self.kubeconfig.clone());
        same.label("kubectl get configmap sunshine-cluster")
    }

    /// The list, and the leave for nodes to read it.
    fn objects(&self) -> String {
        let metadata = serde_json::json!({"name": "sunshine-cluster", "namespace": "kube-public"});
        let group = "rbac.authorization.k8s.io";
        let map = serde_json::json!(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"hosts": self.list}});
        if !self.rbac {
            return map.to_string();
        }
        serde_json::json!({"apiVersion": "v1", "kind": "List", "items": [
            map,
            {"apiVersion": format!("{group}/v1"), "kind": "Role", "metadata": metadata, "rules": [{
                "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["sunshine-cluster"],
                "verbs": ["get", "list", "watch"],
            }]},
            {"apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": metadata,
             "roleRef": {"apiGroup": group, "kind": "Role", "name": "sunshine-cluster"},
             "subjects": [{"apiGroup": group, "kind": "User", "name": "system:kube-proxy"}]},
        ]})
        .to_string()
    }
}

const TITLE: &str = "publish the list of the cluster's hosts";

impl Work for Publish {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let same = cx.host()?.run(&self.same())?.ok();
        Ok(if same { Check::Satisfied } else { Check::Needed(vec![TITLE.to_owned()]) })
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let apply = Command::script(APPLY).arg(self.objects()).secret_stdin(self.kubeconfig.clone());
        let apply = apply.label("kubectl apply configmap sunshine-cluster");
        retry::run_ok(cx.host()?, &apply, Patience::of_step(cx))?;
        Ok(())
    }

    fn verify(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        match retry::run_ok(cx.host()?, &self.same(), Patience::of_step(cx)) {
            Err(HostError::Failed { status: retry::FINAL_STATUS, .. }) => {
                Err(StepError::NotVerified(vec![TITLE.to_owned()]))
            }
            asked => Ok(asked.map(drop)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(minor: u32, network: &str) -> Cluster {
        serde_json::from_value(serde_json::json!({
            "settings": {}, "network": network, "minor": minor, "balanced": true,
            "etcd": {"endpoints": [], "tls": false},
            "masters": {"h": {"name": "host0", "address": "10.8.14.200"}},
            "nodes": {"h": {"name": "host0", "address": "10.8.14.200", "subnet": 3}},
        }))
        .unwrap()
    }

    #[test]
    fn the_list_names_every_host_and_what_the_keeper_must_know() {
        insta::assert_snapshot!(list(&cluster(20, "direct")));
        assert!(list(&cluster(20, "flannel")).contains("\nnetwork flannel\n"));
        assert!(list(&cluster(5, "direct")).contains("\nhealth connect\n"));
    }

    /// The balancer's configuration, made by the script that hosts run, in a folder of this test.
    #[test]
    fn the_script_balances_over_all_masters_and_says_when_nothing_changed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        let script = include_str!("sunshine-cluster.sh")
            .replace(LIST, &at("list"))
            .replace("/run/sunshine-installer", &at("run"));
        std::fs::write(at("script"), script).unwrap();
        std::fs::write(at("list"), list(&cluster(20, "direct"))).unwrap();
        let run = || std::process::Command::new("sh").args([&at("script"), "balance"]).status().unwrap();
        assert!(run().success());
        let config = std::fs::read_to_string(at("run/haproxy.cfg")).unwrap();
        insta::assert_snapshot!(config);
        let made = std::fs::metadata(at("run/haproxy.cfg")).unwrap().modified().unwrap();
        assert!(run().success());
        assert_eq!(std::fs::metadata(at("run/haproxy.cfg")).unwrap().modified().unwrap(), made);
    }
}
