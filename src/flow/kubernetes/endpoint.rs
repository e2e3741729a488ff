//! The address by which everything reaches the API: it must survive the loss of a control plane node.
//!
//! A load balancer of the site when `--api-endpoint` names one; a virtual address that the control plane nodes hold between them
//! (`--api-vip`); else haproxy on every node, listening on its loopback and asking all control plane nodes whether they are healthy.
//! Without haproxy at hand, and with one control plane node: that control plane node.

use std::net::SocketAddr;

use super::state::{API_PORT, Cluster, Machine};

/// The balancer's port on every node's loopback.
pub(super) const LOCAL_PORT: u16 = 8443;

/// A control plane node's own API.
pub(super) fn of_machine(machine: &Machine) -> String {
    format!("https://{}", SocketAddr::new(machine.address, API_PORT))
}

/// `https://HOST:PORT` for what runs on a node.
pub(super) fn for_nodes(cluster: &Cluster) -> String {
    match shared(cluster) {
        Some(url) => url,
        None if cluster.balanced => format!("https://127.0.0.1:{LOCAL_PORT}"),
        None => cluster.control_plane.values().next().map_or_else(String::new, of_machine),
    }
}

/// `https://HOST:PORT` for people and programs outside the cluster: the shared endpoint, else the first control plane node.
pub(super) fn for_people(cluster: &Cluster) -> String {
    shared(cluster).unwrap_or_else(|| cluster.control_plane.values().next().map_or_else(String::new, of_machine))
}

/// For root on a host of the cluster: what survives the loss of a control plane node where there is such a thing.
pub(super) fn for_root(cluster: &Cluster, host: &str) -> String {
    match cluster.control_plane.get(host) {
        Some(own) if shared(cluster).is_none() && !has_balancer(cluster, host) => of_machine(own),
        _ => for_nodes(cluster),
    }
}

/// Whether this control plane node has a balancer of its own: where it runs pods.
fn has_balancer(cluster: &Cluster, host: &str) -> bool {
    cluster.balanced && (cluster.workers.contains_key(host) || cluster.distribution.rules().runs_control_plane())
}

fn shared(cluster: &Cluster) -> Option<String> {
    let settings = &cluster.settings;
    settings.api_endpoint.as_ref().map(|endpoint| format!("https://{endpoint}")).or_else(|| {
        let vip = settings.api_vip.as_ref()?;
        Some(format!("https://{}", SocketAddr::new(vip.parse().ok()?, API_PORT)))
    })
}
