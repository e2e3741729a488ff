//! The `direct` network: a bridge on every node, and routes between the nodes that the cluster-sync service keeps.

use serde_json::{Value, json};

use crate::plan::Step;
use crate::resource::{FileSpec, Files};

use super::component::On;
use super::options::since;
use super::pod_network::PodNetwork;
use super::state::{Cluster, Node};

/// Its configuration in `/etc/cni/net.d`.
pub(super) const CNI_FILE: &str = "10-sunshine.conflist";
/// The same for a kubelet that reads no lists of plugins.
const OLD_CNI_FILE: &str = "10-sunshine.conf";

pub(super) struct Direct;

impl PodNetwork for Direct {
    fn name(&self, _: &Cluster) -> String {
        "direct: a bridge on every node and routes between them".to_owned()
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let Some(node) = on.node() else { return Vec::new() };
        let files = files(on.cluster, node, on.facts.mtu_of(node.machine.address));
        vec![on.step("cni.configure", "configure the pods' bridge", files)]
    }
}

/// What an interface sends when nobody has said another; the kernel's own choice for a bridge, too.
const USUAL_MTU: u32 = 1500;

/// The CNI configuration of a node (CNI plugins, "bridge", "portmap"). Packets between nodes are routed as they are, so pods send
/// none that is longer than those of the host's own interface.
pub(super) fn files(cluster: &Cluster, node: &Node, mtu: Option<u32>) -> Files {
    let mtu = mtu.filter(|mtu| *mtu != USUAL_MTU);
    let (path, config) = if cluster.minor < since::PLUGIN_LISTS {
        (OLD_CNI_FILE, one_plugin(cluster, node, mtu))
    } else {
        (CNI_FILE, plugins(cluster, node, mtu))
    };
    Files(vec![FileSpec::text(format!("/etc/cni/net.d/{path}"), format!("{config:#}\n"))])
}

fn plugins(cluster: &Cluster, node: &Node, mtu: Option<u32>) -> Value {
    let ranges = json!([[{"subnet": cluster.pod_subnet(node)}]]);
    json!({
        "cniVersion": "0.3.1",
        "name": "sunshine",
        "plugins": [bridge("ranges", ranges, mtu), {"type": "portmap", "capabilities": {"portMappings": true}}],
    })
}

/// The same for a kubelet that reads no lists of plugins, in the version of CNI that it reads: without the host ports of containers,
/// of which it tells no plugin.
fn one_plugin(cluster: &Cluster, node: &Node, mtu: Option<u32>) -> Value {
    let mut config = bridge("subnet", cluster.pod_subnet(node).into(), mtu);
    config["cniVersion"] = "0.2.0".into();
    config["name"] = "sunshine".into();
    config
}

/// The plugin `bridge`, with addresses of the node's subnet under the key of the plugin `host-local`.
fn bridge(key: &str, subnet: Value, mtu: Option<u32>) -> Value {
    let mut plugin = json!({
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": true,
        "hairpinMode": true,
        "ipam": {"type": "host-local", "routes": [{"dst": "0.0.0.0/0"}]},
    });
    plugin["ipam"][key] = subnet;
    if let Some(mtu) = mtu {
        plugin["mtu"] = mtu.into();
    }
    plugin
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(mtu: Option<u32>) -> Value {
        let node = json!({"name": "host1", "address": "10.0.0.1", "subnet": 0});
        let cluster: Cluster = serde_json::from_value(json!({
            "settings": {}, "network": "direct", "etcd": {"endpoints": [], "tls": false}, "control_plane": {},
            "workers": {"10.0.0.1": node},
        }))
        .unwrap();
        plugins(&cluster, &cluster.workers["10.0.0.1"], mtu.filter(|mtu| *mtu != USUAL_MTU))
    }

    #[test]
    fn pods_send_what_the_host_s_interface_sends() {
        let mtu = |config: &Value| config["plugins"][0]["mtu"].as_u64();
        assert_eq!(mtu(&with(Some(8951))), Some(8951));
        assert_eq!(mtu(&with(Some(1450))), Some(1450));
        assert_eq!(mtu(&with(Some(1500))), None, "the file of a usual interface stays what it was");
        assert_eq!(with(None), with(Some(1500)));
    }
}
