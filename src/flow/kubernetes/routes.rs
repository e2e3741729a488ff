//! Routes of the site that lead where the cluster's pods and services are to be.

use ipnet::IpNet;

use crate::flow::networks::overlap;
use crate::flow::problem::Problem;
use crate::flow::request::ClusterSettings;
use crate::host::{Facts, HostId, Route};

/// The protocol number of routes that the unit `sunshine-cluster` makes.
const OURS: &str = "186";
/// Interfaces of pods' networks, by how their names begin; what an earlier cluster left is told by `leftovers`.
const OF_PODS: [&str; 10] =
    ["cni", "flannel", "cbr0", "cali", "tunl0", "vxlan.calico", "cilium", "lxc", "weave", "kube-"];

/// What is in the way on this host, which is not in the cluster yet: a node has routes of its pods' network. An address of it in
/// one of the networks is an error of its own.
pub(super) fn check(host: &HostId, facts: &Facts, settings: &ClusterSettings) -> Vec<Problem> {
    let is_site = |route: &&Route| {
        let of_pods = OF_PODS.iter().any(|name| route.interface.starts_with(name));
        !of_pods && route.protocol != OURS && route.to.prefix_len() > 0
    };
    let networks = [("pod", settings.pods()), ("service", settings.services())];
    let mut problems = Vec::new();
    for (what, network) in networks.iter().flat_map(|(what, networks)| networks.iter().map(move |net| (*what, net))) {
        for route in facts.routes.iter().filter(is_site).filter(|route| overlap(route.to, network)) {
            problems.push(problem(host, route, what, network));
        }
    }
    problems
}

/// The kernel takes the most specific route. The addresses of services are translated before.
fn problem(host: &HostId, route: &Route, what: &str, network: IpNet) -> Problem {
    let is_within = route.to.prefix_len() > network.prefix_len();
    let route = format!("its route to {} by {}", route.to, route.interface);
    let help = "choose another network for the cluster with --pod-cidr or --service-cidr";
    if is_within && what == "pod" {
        let text =
            format!("{route} leads into the pod network {network}: pods with these addresses would not be reached");
        return Problem::error(host, text, help);
    }
    let text = format!(
        "{route} overlaps the {what} network {network}: what the site has there cannot be reached from this host"
    );
    Problem::warning(Some(host), text, Some(help.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(routes: &[(&str, &str, &str)]) -> Facts {
        let route = |(to, interface, protocol): &(&str, &str, &str)| {
            let (interface, protocol) = ((*interface).to_owned(), (*protocol).to_owned());
            Route { to: to.parse().unwrap(), interface, protocol }
        };
        Facts { routes: routes.iter().map(route).collect(), ..Facts::default() }
    }

    fn said(facts: &Facts) -> Vec<String> {
        let problems = check(&"10.0.0.1".into(), facts, &ClusterSettings::default());
        problems.iter().map(|p| format!("{:?} {}", p.level, p.text)).collect()
    }

    #[test]
    fn routes_into_the_networks_are_told() {
        let found = said(&facts(&[
            ("10.8.14.0/24", "eth0", "kernel"),
            ("10.244.7.0/24", "eth1", "static"),
            ("10.244.0.0/16", "eth1", "static"),
            ("10.254.3.0/24", "eth1", "static"),
            ("172.16.0.0/12", "eth1", "static"),
        ]));
        assert_eq!(
            found,
            [
                "Error its route to 10.244.7.0/24 by eth1 leads into the pod network 10.244.0.0/16: pods with these addresses would not be reached",
                "Warning its route to 10.244.0.0/16 by eth1 overlaps the pod network 10.244.0.0/16: what the site has there cannot be reached from this host",
                "Warning its route to 10.254.3.0/24 by eth1 overlaps the service network 10.254.0.0/16: what the site has there cannot be reached from this host",
            ]
        );
        assert_eq!(said(&facts(&[("10.0.0.0/8", "eth0", "kernel")])).len(), 2, "a wide network of the site has both");
    }

    #[test]
    fn routes_of_the_other_family_are_held_against_that_network() {
        let (pod_cidr, service_cidr) = ("10.244.0.0/16,fd00:10:244::/56", "10.254.0.0/16,fd00:10:254::/112");
        let settings = ClusterSettings {
            pod_cidr: pod_cidr.to_owned(),
            service_cidr: service_cidr.to_owned(),
            ..ClusterSettings::default()
        };
        let routes = [
            ("fd00:10:244:7::/64", "eth1", "static"),
            ("fd00::/16", "eth1", "static"),
            ("fd10::/64", "eth0", "kernel"),
        ];
        let problems = check(&"10.0.0.1".into(), &facts(&routes), &settings);
        let said: Vec<_> = problems.iter().map(|p| format!("{:?} {}", p.level, p.text)).collect();
        assert_eq!(said.len(), 3, "{said:#?}");
        assert!(
            said[0].starts_with(
                "Error its route to fd00:10:244:7::/64 by eth1 leads into the pod network fd00:10:244::/56"
            )
        );
        assert!(said[1].starts_with("Warning its route to fd00::/16 by eth1 overlaps the pod network"));
        assert!(said[2].contains("overlaps the service network fd00:10:254::/112"));
    }

    #[test]
    fn routes_of_clusters_are_none_of_the_site_s() {
        let own =
            [("10.244.0.0/24", "cni0", "kernel"), ("10.244.1.0/24", "eth0", OURS), ("0.0.0.0/0", "eth0", "static")];
        assert_eq!(said(&facts(&own)), [""; 0]);
    }
}
