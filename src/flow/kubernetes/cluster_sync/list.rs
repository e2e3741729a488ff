//! The list of a cluster's hosts, as every node reads it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use crate::flow::request::Network;

use super::super::endpoint;
use super::super::options::since;
use super::super::state::Cluster;

/// The list's text: a line a fact, the words of a line apart by one space.
pub(in crate::flow::kubernetes) fn list(cluster: &Cluster) -> String {
    let mut text = "# Written by sunshine-installer: the hosts of this cluster.\n".to_owned();
    match cluster.network {
        Network::Direct => text.push_str("network direct\n"),
        Network::Flannel => text.push_str("network flannel\n"),
        _ => {}
    }
    // Without leave for everybody to ask, a connection is all the health that can be seen.
    if cluster.minor < since::ROLES {
        text.push_str("health connect\n");
    }
    for pods in cluster.settings.pods().iter() {
        text.push_str(&format!("pods {pods}\n"));
    }
    for services in cluster.settings.services().iter() {
        text.push_str(&format!("services {services}\n"));
    }
    text.push_str(&format!("balancer 127.0.0.1:{}\n", endpoint::LOCAL_PORT));
    if let Some(vip) = &cluster.settings.api_vip {
        // The number of its router (VRRP): one for an address. Of IPv4 it is the last number of it, which the reader takes.
        match vip.parse::<Ipv6Addr>().map(|ip| ip.octets()[15].max(1)) {
            Ok(router) => text.push_str(&format!("vip {vip} {router}\n")),
            Err(_) => text.push_str(&format!("vip {vip}\n")),
        }
    }
    for machine in cluster.control_plane.values() {
        text.push_str(&format!("master {} {}\n", machine.name, machine.address));
    }
    for node in cluster.workers.values() {
        text.push_str(&format!("node {} {} {}\n", node.machine.name, node.machine.address, cluster.pod_subnet(node)));
    }
    // Of both roles a host has one second address.
    let nodes = cluster.workers.values().map(|node| &node.machine);
    let seconds: BTreeSet<IpAddr> =
        cluster.control_plane.values().chain(nodes).filter_map(|machine| machine.second_address).collect();
    for address in seconds {
        text.push_str(&format!("address {address}\n"));
    }
    text
}
