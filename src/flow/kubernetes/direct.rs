//! The `direct` network: a bridge on every node, and routes between the nodes that the cluster-sync service keeps.

use crate::plan::Step;
use crate::resource::{FileSpec, Files};

use super::component::On;
use super::pod_network::PodNetwork;
use super::state::{Cluster, Node};

/// Its configuration in `/etc/cni/net.d`.
pub(super) const CNI_FILE: &str = "10-sunshine.conflist";

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
fn files(cluster: &Cluster, node: &Node) -> Files {
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
    Files(vec![FileSpec::text(format!("/etc/cni/net.d/{CNI_FILE}"), format!("{config:#}\n"))])
}
