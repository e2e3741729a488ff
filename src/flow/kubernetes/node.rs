//! The files of a node: kubelet and kube-proxy.

use crate::resource::{FileSpec, Files};

use super::component::On;
use super::control_plane_files::{PKI, common, environment, never_gives_up, variables};
use super::endpoint;
use super::keys::ClusterKeys;
use super::options;
use super::state::{Cluster, Machine};

pub(super) const KUBELET_KUBECONFIG: &str = "/etc/kubernetes/kubelet.kubeconfig";
/// The kubelet's configuration file, where it reads one.
pub(super) const CONFIGURATION: &str = "/etc/kubernetes/kubelet.yaml";

/// What the kubelet reads.
pub(super) fn kubelet_files(on: &On<'_>, node: &Machine) -> Files {
    let (cluster, keys) = (on.cluster, on.keys);
    let (server, client) = keys.kubelet(node);
    let user = format!("system:node:{}", node.name);
    let config = keys.kubeconfig_with(client, &user, &endpoint::for_nodes(cluster));
    let mut args = options::kubelet(on, node);
    args.extend(on.runtime().kubelet_args(on));
    let hostname = format!("KUBELET_HOSTNAME=\"--hostname-override={}\"\n", node.name);
    let emptied = ["KUBELET_ADDRESS", "KUBELET_PORT", "KUBELET_API_SERVER"];
    let environment = variables(&emptied, "KUBELET_ARGS", &args) + &hostname;
    let mut files = vec![
        common(cluster),
        FileSpec::made(format!("{PKI}/ca.crt"), keys.ca.cert()),
        FileSpec::made(format!("{PKI}/kubelet.crt"), server.cert()),
        FileSpec::secret(format!("{PKI}/kubelet.key"), server.key(), "root"),
        FileSpec::secret(KUBELET_KUBECONFIG, config, "root"),
        never_gives_up("kubelet", ""),
        FileSpec::text("/etc/kubernetes/kubelet", environment),
    ];
    files.extend(options::configuration(on).map(|text| FileSpec::text(CONFIGURATION, text)));
    Files(files)
}

/// What kube-proxy reads.
pub(super) fn proxy_files(cluster: &Cluster, keys: &ClusterKeys, node: &Machine) -> Files {
    let path = "/etc/kubernetes/kube-proxy.kubeconfig";
    let config = keys.kubeconfig("kube-proxy", "system:kube-proxy", &[], &endpoint::for_nodes(cluster));
    let args = options::kube_proxy(cluster, node, path);
    Files(vec![
        common(cluster),
        FileSpec::secret(path, config, "root"),
        never_gives_up("kube-proxy", ""),
        environment("/etc/kubernetes/proxy", &[], "KUBE_PROXY_ARGS", &args),
    ])
}
