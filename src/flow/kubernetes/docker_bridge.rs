//! The network of Docker's own bridge, `docker0`. Docker takes 172.17.0.0/16 where no route of the host leads there: hosts of the site
//! that are reached by the default route, the control host among them, would be cut off.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use crate::flow::networks::{nth, overlap};
use crate::host::Facts;

use super::pod_network;
use super::state::{Cluster, Machine};

const USUAL: &str = "172.17.0.0/16";
/// Instead of it, the first that nobody is known to have. Pods have a network of their own, so a small one does.
const OTHERS: [&str; 5] =
    ["192.168.254.0/24", "172.31.254.0/24", "10.255.254.0/24", "192.168.127.0/24", "198.18.254.0/24"];
const BRIDGE: &str = "docker0";

/// What vxlan puts around a packet, over IPv4.
const VXLAN: u32 = 50;

/// What Docker is to know of its bridge where that connects the pods of all nodes, as with flannel's package: packets keep their
/// sender, since flannel masquerades those that leave the pods' network, and fit into vxlan.
pub(super) fn of_pods(cluster: &Cluster, facts: &Facts) -> Vec<(&'static str, Value)> {
    if pod_network::of(&cluster.network).uses_cni() {
        return Vec::new();
    }
    let mut nodes = cluster.workers.values().map(|node| node.machine.address);
    let own = nodes.find(|address| facts.addresses.contains(address));
    let mtu = own.and_then(|address| facts.mtu_of(address)).map(|mtu| mtu.saturating_sub(VXLAN));
    [Some(("ip-masq", false.into())), mtu.map(|mtu| ("mtu", mtu.into()))].into_iter().flatten().collect()
}

/// The bridge's address with the length of its network's prefix, where Docker's own choice would be in the site's way. flannel
/// gives it one itself.
pub(super) fn address(cluster: &Cluster, facts: &Facts) -> Option<String> {
    if !pod_network::of(&cluster.network).uses_cni() {
        return None;
    }
    let taken = taken(cluster, facts);
    let is_free = |text: &&str| text.parse::<IpNet>().is_ok_and(|net| !taken.iter().any(|other| overlap(net, *other)));
    if is_free(&USUAL) {
        return None;
    }
    let free: IpNet = OTHERS.iter().find(|text| is_free(text))?.parse().ok()?;
    Some(format!("{}/{}", nth(free, 1), free.prefix_len()))
}

/// What is known of the site, from this host: the routes and addresses that are not Docker's own, the hosts of the cluster, the
/// control host; and the cluster's networks.
fn taken(cluster: &Cluster, facts: &Facts) -> Vec<IpNet> {
    let routes = facts.routes.iter().filter(|route| route.interface != BRIDGE && route.to.prefix_len() > 0);
    let own = facts.interfaces.iter().filter(|interface| interface.name != BRIDGE);
    let addresses = own.flat_map(|interface| interface.addresses.iter().copied());
    let machines = cluster.control_plane.values().chain(cluster.workers.values().map(|node| &node.machine));
    let machines = machines.flat_map(Machine::addresses);
    let etcd = cluster.etcd.endpoints.iter().filter_map(|url| address_in(url));
    let addresses = addresses.chain(machines).chain(etcd).chain(facts.reached_from);
    let networks = cluster.settings.pods().iter().chain(cluster.settings.services().iter());
    routes.map(|route| route.to).chain(networks).chain(addresses.map(IpNet::from)).collect()
}

/// `https://10.8.14.200:2379`
fn address_in(url: &str) -> Option<IpAddr> {
    let (_, place) = url.split_once("://")?;
    place.parse::<std::net::SocketAddr>().ok().map(|place| place.ip())
}
