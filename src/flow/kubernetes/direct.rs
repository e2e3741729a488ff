//! The `direct` network: a bridge on every node, and routes between the nodes that the cluster-sync service keeps.

use crate::plan::Step;
use crate::resource::{FileSpec, Files};

use super::component::On;
use super::options::since;
use super::pod_network::PodNetwork;
use super::state::{Cluster, Node};

pub(super) struct Direct;

impl PodNetwork for Direct {
    fn name(&self, _: &Cluster) -> String {
        "direct: a bridge on every node and routes between them".to_owned()
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let Some(node) = on.node() else { return Vec::new() };
        vec![on.step("cni.configure", "configure the pods' bridge", files(on.cluster, node))]
    }
}

/// The CNI configuration of a node (CNI plugins, "bridge", "portmap").
pub(super) fn files(cluster: &Cluster, node: &Node) -> Files {
    if cluster.minor < since::PLUGIN_LISTS {
        return one_plugin(cluster, node);
    }
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

/// The same for a kubelet that reads no lists of plugins, in the version of CNI that it reads: without the host ports of containers,
/// of which it tells no plugin.
fn one_plugin(cluster: &Cluster, node: &Node) -> Files {
    let config = serde_json::json!({
        "cniVersion": "0.2.0",
        "name": "sunshine",
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": true,
        "hairpinMode": true,
        "ipam": {
            "type": "host-local",
            "subnet": cluster.pod_subnet(node),
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    });
    Files(vec![FileSpec::text("/etc/cni/net.d/10-sunshine.conf", format!("{config:#}\n"))])
}
