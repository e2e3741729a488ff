//! What an earlier cluster left of its pods' network on a host that is to join: with it a node is Ready before the cluster's own
//! network is there, and its pods get addresses of the former one, or none.

use std::net::{IpAddr, Ipv4Addr};

use crate::flow::networks;
use crate::flow::problem::Problem;
use crate::flow::request::Network;
use crate::host::{Facts, HostId, PodInterface};

use super::direct::CNI_FILE;
use super::manifest::Manifest;
use super::state::Cluster;

const FOLDER: &str = "/etc/cni/net.d";
/// The bridge that CNI's own plugins use when nothing else is said, as `direct` and flannel's manifest do.
const BRIDGE: &str = "cni0";

/// What is left on this host, which is to run pods of the cluster for the first time.
pub(super) fn check(host: &HostId, facts: &Facts, cluster: &Cluster, manifests: &[Manifest]) -> Vec<Problem> {
    let interfaces = facts.pod_interfaces.iter().map(|interface| left_interface(host, interface, cluster, manifests));
    let own = own_files(cluster, manifests);
    let files =
        facts.cni_files.iter().filter(|file| *file != CNI_FILE).map(|file| left_file(host, file, &own, cluster));
    interfaces.chain(files).collect()
}

fn left_interface(host: &HostId, interface: &PodInterface, cluster: &Cluster, manifests: &[Manifest]) -> Problem {
    let name = &interface.name;
    let help = format!("remove it: ip link delete {name}");
    let Some((address, prefix)) = interface.address else {
        let text = format!("the interface {name} is left of an earlier cluster");
        return Problem::warning(Some(host), text, Some(help));
    };
    let text = format!("the interface {name} is left of an earlier cluster, with the address {address}/{prefix}");
    let is_in_the_way = name == BRIDGE && uses_bridge(cluster, manifests) && !is_coming(host, address, cluster);
    if is_in_the_way {
        Problem::error(host, format!("{text}: no pod would start"), help)
    } else {
        Problem::warning(Some(host), text, Some(help))
    }
}

/// Whether the plugin `bridge` connects the pods, which ends where its bridge has another address.
fn uses_bridge(cluster: &Cluster, manifests: &[Manifest]) -> bool {
    match &cluster.network {
        Network::Direct | Network::Auto => true,
        Network::Flannel => false,
        Network::Manifest(_) => network_manifest(manifests)
            .is_none_or(|text| text.contains("flannel") || text.contains("\"bridge\"") || text.contains(BRIDGE)),
    }
}

/// The network's own manifest stands before the addons.
fn network_manifest(manifests: &[Manifest]) -> Option<String> {
    manifests.first().map(|manifest| String::from_utf8_lossy(manifest.content()).into_owned())
}

/// Whether this is the address that the bridge of this node will get. Which one a network's manifest gives it is not known.
fn is_coming(host: &HostId, address: Ipv4Addr, cluster: &Cluster) -> bool {
    let Some(node) = cluster.workers.get(host).filter(|_| matches!(cluster.network, Network::Direct)) else {
        return false;
    };
    cluster.pod_subnet(node).parse().is_ok_and(|subnet| networks::nth(subnet, 1) == IpAddr::V4(address))
}

/// The files that the cluster's network will write; none where that is not known, or there is no CNI.
fn own_files(cluster: &Cluster, manifests: &[Manifest]) -> Vec<String> {
    let Network::Manifest(_) = &cluster.network else { return vec![CNI_FILE.to_owned()] };
    let text = network_manifest(manifests).unwrap_or_default();
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '-' | '_'));
    words.filter(|word| word.ends_with(".conflist")).map(str::to_owned).collect()
}

/// The kubelet and its runtime use the first file by name.
fn left_file(host: &HostId, file: &str, own: &[String], cluster: &Cluster) -> Problem {
    let is_plain = file.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    // What is not plain is shown, and is nothing to paste into a shell.
    let help = match is_plain {
        true => format!("remove it when it is left of an earlier cluster: rm {FOLDER}/{file}"),
        false => format!("remove it from {FOLDER} when it is left of an earlier cluster"),
    };
    let text = format!("{FOLDER} holds the CNI configuration {file:?}, which no package brought");
    let uses_cni = super::pod_network::of(&cluster.network).uses_cni();
    let is_own = own.iter().any(|own| own == file);
    // Where it is not known what the network writes, any other file may come first.
    let is_first = own.iter().min().is_none_or(|own| file < own.as_str());
    if uses_cni && !is_own && is_first {
        Problem::error(host, format!("{text}: its pods would be connected by it"), help)
    } else {
        Problem::warning(Some(host), text, Some(help))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(network: &serde_json::Value) -> Cluster {
        let node = serde_json::json!({"name": "host1", "address": "10.0.0.1", "subnet": 2});
        serde_json::from_value(serde_json::json!({
            "settings": {}, "network": network, "etcd": {"endpoints": [], "tls": false}, "control_plane": {},
            "workers": {"10.0.0.1": node},
        }))
        .unwrap()
    }

    /// What is said, each with `E` for an error or `W` for a warning before it.
    fn said(network: &serde_json::Value, manifest: &str, files: &[&str], interfaces: &[(&str, &str)]) -> Vec<String> {
        let interface = |(name, address): &(&str, &str)| {
            let address = address.split_once('/').map(|(ip, prefix)| (ip.parse().unwrap(), prefix.parse().unwrap()));
            PodInterface { name: (*name).to_owned(), address }
        };
        let facts = Facts {
            cni_files: files.iter().map(|file| (*file).to_owned()).collect(),
            pod_interfaces: interfaces.iter().map(interface).collect(),
            ..Facts::default()
        };
        let manifests = [Manifest::new("network.yaml", manifest.to_owned())];
        let problems = check(&"10.0.0.1".into(), &facts, &cluster(network), &manifests);
        let line =
            |p: &Problem| format!("{} {} | {}", &format!("{:?}", p.level)[..1], p.text, p.help.as_deref().unwrap());
        problems.iter().map(line).collect()
    }

    fn levels(said: &[String]) -> String {
        said.iter().map(|line| &line[..1]).collect()
    }

    #[test]
    fn a_bridge_with_another_address_is_an_error_for_a_network_that_uses_it() {
        let direct = serde_json::json!("direct");
        let interfaces = [("cni0", "10.85.0.1/16"), ("flannel.1", "10.85.0.0/32"), ("weave", "")];
        let found = said(&direct, "", &[], &interfaces);
        assert_eq!(
            found,
            [
                "E the interface cni0 is left of an earlier cluster, with the address 10.85.0.1/16: no pod would start | remove it: ip link delete cni0",
                "W the interface flannel.1 is left of an earlier cluster, with the address 10.85.0.0/32 | remove it: ip link delete flannel.1",
                "W the interface weave is left of an earlier cluster | remove it: ip link delete weave",
            ]
        );
        assert_eq!(levels(&said(&direct, "", &[], &[("cni0", "10.244.2.1/24")])), "W", "its own address to be");
        assert_eq!(levels(&said(&direct, "", &[], &[("cni0", "10.244.3.1/24")])), "E", "that of another node");
        let manifest = serde_json::json!({"manifest": "network"});
        assert_eq!(levels(&said(&manifest, "name: kube-flannel", &[], &interfaces[..1])), "E");
        assert_eq!(levels(&said(&manifest, "name: calico", &[], &interfaces[..1])), "W");
        assert_eq!(levels(&said(&serde_json::json!("flannel"), "", &[], &interfaces[..1])), "W", "Docker's own bridge");
    }

    #[test]
    fn a_configuration_that_comes_before_the_cluster_s_own_is_an_error() {
        let direct = serde_json::json!("direct");
        let found = said(&direct, "", &["05-cilium.conflist", "87-x.conf", CNI_FILE], &[]);
        assert_eq!(levels(&found), "EW", "{found:?}");
        assert!(
            found[0].contains("\"05-cilium.conflist\"") && found[0].ends_with("rm /etc/cni/net.d/05-cilium.conflist")
        );
        let manifest = serde_json::json!({"manifest": "network"});
        let files = ["05-cilium.conflist", "10-flannel.conflist", "20-x.conf"];
        assert_eq!(levels(&said(&manifest, "file: /etc/cni/net.d/10-flannel.conflist\n", &files, &[])), "EWW");
        assert_eq!(levels(&said(&manifest, "nothing is known", &files, &[])), "EEE");
        assert_eq!(levels(&said(&serde_json::json!("flannel"), "", &files, &[])), "WWW", "no CNI");
        let hostile = said(&direct, "", &["0;reboot.conf"], &[]);
        assert!(!hostile[0].contains("rm ") && levels(&hostile) == "E", "{hostile:?}");
    }
}
