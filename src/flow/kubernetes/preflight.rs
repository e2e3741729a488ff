//! What stands in the way of a cluster, found before anything changes.

use std::net::IpAddr;

use crate::flow::error::FlowError;
use crate::flow::etcd;
use crate::flow::names::Reserved;
use crate::flow::networks::Family;
use crate::flow::problem::Problem;
use crate::flow::request::{ClusterSettings, Network};
use crate::flow::scene::Scene;
use crate::host::{Facts, HostId, Listening, PodInterface, Target};
use crate::plan::RunHost;

use super::endpoint::LOCAL_PORT;
use super::families;
use super::options::since;
use super::state::{API_PORT, Cluster};

/// What can be said without a host.
pub(super) fn check_request(control_plane: &[Target], settings: &ClusterSettings) -> Result<(), FlowError> {
    if control_plane.is_empty() {
        return Err(FlowError::request("a cluster needs at least one control plane node (--master-host-list)"));
    }
    families::check_networks(settings)?;
    let family = settings.pods().primary_family();
    let is_of_it = |vip: &&String| vip.parse::<IpAddr>().is_ok_and(|ip| Family::of(ip) == family);
    if let Some(vip) = settings.api_vip.as_ref().filter(|vip| !is_of_it(vip)) {
        return Err(FlowError::request(format!("--api-vip: {vip:?} is no {family} address")));
    }
    Ok(())
}

/// What a cluster is made with stays: a line that says otherwise is told so.
pub(super) fn check_kept(kept: &ClusterSettings, asked: &ClusterSettings) -> Vec<Problem> {
    let usual = ClusterSettings::default();
    let told = |what: &str, kept: &str, asked: &str, usual: &str| {
        (asked != kept && asked != usual).then(|| {
            let text = format!("this cluster's {what} is {kept} and stays so; {asked} is ignored");
            Problem::warning(None, text, Some("a cluster with another is a new one: another --environment".into()))
        })
    };
    let pairs = [
        told("pod network", &kept.pod_cidr, &asked.pod_cidr, &usual.pod_cidr),
        told("service network", &kept.service_cidr, &asked.service_cidr, &usual.service_cidr),
        told("domain", &kept.cluster_domain, &asked.cluster_domain, &usual.cluster_domain),
        told("API address", &address(kept), &address(asked), &address(&usual)),
    ];
    pairs.into_iter().flatten().collect()
}

/// The address of the API that a line names.
fn address(settings: &ClusterSettings) -> String {
    let named = settings.api_endpoint.as_ref().or(settings.api_vip.as_ref());
    named.cloned().unwrap_or_else(|| "that of its control plane nodes".to_owned())
}

/// What stands in the way of how the hosts are to reach the API.
pub(super) fn check_address(targets: &[Target], cluster: &Cluster, scene: &Scene<'_>) -> Vec<Problem> {
    let vip = cluster.settings.api_vip.as_ref().and_then(|vip| vip.parse::<IpAddr>().ok());
    let mut problems = Vec::new();
    for (id, host) in targets.iter().filter_map(|t| scene.hosts.get_key_value(&t.id())) {
        let known = [host.facts.route_address, etcd::member_address(host.host.target(), &host.facts)];
        if let Some(vip) = vip.filter(|_| known.contains(&vip)) {
            let text = format!("{vip} is its own address; that of --api-vip must be free");
            problems.push(Problem::error(host.host.name(), text, "name an address that no host has"));
        }
        let balanced = cluster.balanced && cluster.pod_hosts().contains(id);
        let taken = |l: &&Listening| balanced && l.port == LOCAL_PORT && l.process.as_deref() != Some("haproxy");
        if let Some(taken) = host.facts.listening.iter().find(taken) {
            let by = taken.process.as_deref().unwrap_or("another program");
            let text = format!("port {LOCAL_PORT} is taken by {by}, and the API's balancer needs it");
            problems.push(Problem::error(host.host.name(), text, "stop that service, or name an --api-endpoint"));
        }
    }
    problems
}

/// What the hosts themselves say.
pub(super) fn check_hosts(
    targets: &[Target],
    control_plane: &[HostId],
    settings: &ClusterSettings,
    minor: u32,
    scene: &Scene<'_>,
) -> Vec<Problem> {
    let hosts: Vec<&RunHost> = targets.iter().filter_map(|t| scene.hosts.get(&t.id())).collect();
    let mut problems = Vec::new();
    for host in &hosts {
        problems.extend(check_networks(host, settings));
        problems.extend(check_cgroup(host, minor));
        let is_control_plane = control_plane.iter().any(|name| name == host.host.name());
        let foreign = |l: &&Listening| l.port == API_PORT && l.process.as_deref() != Some("kube-apiserver");
        if is_control_plane && let Some(taken) = host.facts.listening.iter().find(foreign) {
            let by = taken.process.as_deref().unwrap_or("another program");
            let text = format!("port {API_PORT} is taken by {by}");
            problems.push(Problem::error(host.host.name(), text, "stop that service, or choose another host"));
        }
    }
    problems
}

/// Pods of a network's manifest put programs on the nodes; which and when, nobody knows before.
pub(super) fn check_fapolicyd(name: &HostId, facts: &Facts, network: &Network) -> Option<Problem> {
    let Network::Manifest(network) = network else { return None };
    let text = || {
        format!(
            "fapolicyd decides here what may run, and does not know the programs that the pods of {network} put into /opt/cni/bin"
        )
    };
    let help = "once they are there: fapolicyd-cli --file add /opt/cni/bin/ --trust-file cni && fapolicyd-cli --update";
    facts.is_active("fapolicyd").then(|| Problem::warning(Some(name), text(), Some(help.to_owned())))
}

/// What no host may call itself in this cluster.
pub(super) fn reserved(cluster: &Cluster) -> Reserved {
    let settings = &cluster.settings;
    let endpoint = settings.api_endpoint.as_deref().map(|endpoint| endpoint.rsplit_once(':').map_or(endpoint, |e| e.0));
    let api = endpoint.into_iter().chain(settings.api_vip.as_deref());
    Reserved {
        domain: settings.cluster_domain.clone(),
        api: api.map(|name| name.trim_matches(['[', ']']).to_owned()).collect(),
        control_plane: cluster.control_plane.keys().cloned().collect(),
    }
}

fn check_networks(host: &RunHost, settings: &ClusterSettings) -> Vec<Problem> {
    let facts = &host.facts;
    let of_route = facts.route_address.filter(|ip| !facts.addresses.contains(ip));
    // What an earlier cluster left is told by `leftovers`.
    let left = |ip: &IpAddr| {
        let of = facts.interface_of(*ip).map(|interface| &interface.name);
        let is_it = |i: &PodInterface| Some(&i.name) == of || i.address.is_some_and(|(own, _)| IpAddr::V4(own) == *ip);
        facts.pod_interfaces.iter().any(is_it)
    };
    let own = facts.addresses.iter().copied().chain(of_route).filter(|ip| !left(ip));
    let networks = [("pod", settings.pods()), ("service", settings.services())];
    let mut problems = Vec::new();
    for address in own {
        for (what, networks) in networks {
            // A node that works already has an address of its pods' bridge.
            let ours = host.facts.is_active("kubelet") && what == "pod";
            if let Some(network) = networks.overlapping(address.into()).filter(|_| !ours) {
                let text = format!("its address {address} lies in the {what} network {network}");
                problems.push(Problem::error(host.host.name(), text, "choose another network for the cluster"));
            }
        }
    }
    problems
}

fn check_cgroup(host: &RunHost, minor: u32) -> Option<Problem> {
    (host.facts.cgroup_version == 2 && minor < since::CGROUP_2).then(|| {
        let text = format!("Kubernetes 1.{minor} cannot work with cgroup v2, which this host has");
        Problem::error(
            host.host.name(),
            text,
            format!(
                "boot it with systemd.unified_cgroup_hierarchy=0, or use Kubernetes 1.{} or later",
                since::CGROUP_2
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::UnitState;

    #[test]
    fn what_fapolicyd_will_not_know_is_told_where_it_is_and_a_manifest_s_pods_bring_it() {
        let (name, flannel) = (HostId::from("h"), Network::Manifest("flannel".into()));
        let mut facts = Facts::default();
        assert_eq!(check_fapolicyd(&name, &facts, &flannel), None);
        facts.units.insert("fapolicyd".into(), UnitState { active: "active".into(), enabled: "enabled".into() });
        let problem = check_fapolicyd(&name, &facts, &flannel).unwrap();
        assert!(
            problem.text.contains("the pods of flannel") && problem.level == crate::plan::Level::Warning,
            "{problem:?}"
        );
        assert_eq!(check_fapolicyd(&name, &facts, &Network::Direct), None);
    }
}
