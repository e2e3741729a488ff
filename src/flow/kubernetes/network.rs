//! The `direct` network: every node's pods on a bridge of its own, and a route to every other node's.
//!
//! A unit of ours sets the routes and what the packet filter must let through (Docker sets the policy of FORWARD to DROP,
//! which would cut pods off from pods of other nodes), and takes both back when it is stopped.

use crate::plan::work::{FileSpec, Files};

use super::state::{Cluster, Node};

pub(super) const UNIT: &str = "sunshine-network.service";
const SCRIPT: &str = "/usr/local/sbin/sunshine-network";

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

/// The routes' unit and its script.
pub(super) fn route_files(cluster: &Cluster, own: &Node) -> Files {
    let mut routes = String::new();
    for node in cluster.nodes.values().filter(|n| n.subnet != own.subnet) {
        routes.push_str(&format!("{} {}\n", cluster.pod_subnet(node), node.machine.address));
    }
    let script = format!(
        r#"#!/bin/sh
# Written by sunshine-installer. start: routes to the other nodes' pods, and the packet filter's leave for all pods;
# stop: both taken back.
pods={pods}
routes() {{ cat <<'END'
{routes}END
}}
rules() {{ # $1: -C to ask, -I to add, -D to delete
  iptables -w $1 FORWARD -s "$pods" -j ACCEPT
  iptables -w $1 FORWARD -d "$pods" -j ACCEPT
}}
masquerade() {{ iptables -w -t nat "$1" POSTROUTING -s "$pods" ! -d "$pods" -j MASQUERADE; }}
case $1 in
start)
  ip route show proto 186 | while read -r to _; do
    routes | grep -q "^$to " || ip route del "$to" proto 186
  done
  routes | while read -r to via; do [ -z "$to" ] || ip route replace "$to" via "$via" proto 186; done
  rules -C 2>/dev/null || rules -I
  masquerade -C 2>/dev/null || masquerade -A;;
stop)
  routes | while read -r to via; do [ -z "$to" ] || ip route del "$to" via "$via" proto 186; done
  rules -D 2>/dev/null
  masquerade -D 2>/dev/null;;
esac
exit 0
"#,
        pods = cluster.settings.pod_cidr,
    );
    let unit = format!(
        "# Written by sunshine-installer.\n[Unit]\nDescription=Routes between the pods of all nodes\n\
         After=network-online.target docker.service\nWants=network-online.target\n\n\
         [Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart={SCRIPT} start\nExecReload={SCRIPT} start\n\
         ExecStop={SCRIPT} stop\n\n[Install]\nWantedBy=multi-user.target\n"
    );
    let mut script = FileSpec::text(SCRIPT, script);
    script.meta.mode = 0o755;
    Files(vec![script, FileSpec::text(format!("/etc/systemd/system/{UNIT}"), unit)])
}
