//! Families of addresses, IPv4 and IPv6: whether networks and hosts of a cluster agree on one of them or on both, and by which
//! addresses nodes know each other (Kubernetes documentation, "IPv4/IPv6 dual-stack").

use std::net::IpAddr;

use crate::flow::error::FlowError;
use crate::flow::etcd;
use crate::flow::networks::{Family, Networks, disagreement};
use crate::flow::problem::Problem;
use crate::flow::request::ClusterSettings;
use crate::flow::scene::Scene;
use crate::host::{Facts, HostId, Target};

use super::state::{Cluster, Machine};

/// What to give a cluster whose hosts have such addresses.
fn networks_for(family: Family) -> &'static str {
    match family {
        Family::V4 => {
            "give it networks of IPv4 (--pod-cidr 10.244.0.0/16 --service-cidr 10.254.0.0/16), or one of each family: A,B"
        }
        Family::V6 => {
            "give it networks of IPv6 (--pod-cidr fd00:10:244::/56 --service-cidr fd00:10:254::/112), or one of each family: \
             --pod-cidr 10.244.0.0/16,fd00:10:244::/56 --service-cidr 10.254.0.0/16,fd00:10:254::/112"
        }
    }
}

/// Whether pods' and services' networks can be a cluster's.
///
/// # Errors
/// The first thing that is wrong with them.
pub(super) fn check_networks(settings: &ClusterSettings) -> Result<(), FlowError> {
    let read = |what: &str, text: &str| {
        Networks::parse(text).ok_or_else(|| {
            FlowError::request_with_help(
                format!("{what} network: {text:?} is no network such as 10.244.0.0/16"),
                "for IPv6 write fd00:10:244::/56; for both one of each, the primary family first: 10.244.0.0/16,fd00:10:244::/56",
            )
        })
    };
    let (pods, services) = (read("pod", &settings.pod_cidr)?, read("service", &settings.service_cidr)?);
    disagreement(pods, services).map_or(Ok(()), |text| Err(FlowError::request(text)))
}

/// Hosts that are named by an address of a family which the cluster does not have.
///
/// # Errors
/// Names the first of them.
pub(super) fn check_named<'a>(
    targets: impl IntoIterator<Item = &'a Target>,
    settings: &ClusterSettings,
) -> Result<(), FlowError> {
    let pods = settings.pods();
    for target in targets {
        let named = [target.address.ip(), target.node_address];
        if let Some(ip) = named.into_iter().flatten().find(|ip| !pods.has(Family::of(*ip))) {
            let family = Family::of(ip);
            return Err(FlowError::request_with_help(
                format!("{}: {ip} is an {family} address, and pods have no {family} network: {pods}", target.id()),
                networks_for(family),
            ));
        }
    }
    Ok(())
}

/// A host's addresses in a cluster: the one by which it is known ([`etcd::member_address`]) and, for a family that this is not of, one
/// of the same interface. The error is the family that it lacks.
pub(super) fn addresses_of(
    target: &Target,
    facts: &Facts,
    settings: &ClusterSettings,
) -> Result<(IpAddr, Option<IpAddr>), Family> {
    let pods = settings.pods();
    let known = etcd::member_address(target, facts);
    let vip = settings.api_vip.as_ref().and_then(|vip| vip.parse::<IpAddr>().ok());
    let of = |family: Family| {
        let known = known.ok_or(family)?;
        if Family::of(known) == family {
            return Ok(known);
        }
        let lasting = facts.interface_of(known).into_iter().flat_map(|interface| &interface.lasting);
        lasting.copied().find(|ip| Family::of(*ip) == family && Some(*ip) != vip).ok_or(family)
    };
    let primary = of(pods.primary_family())?;
    let second = pods.secondary.map(|net| of(Family::of(net.addr()))).transpose()?;
    Ok((primary, second))
}

/// As a host is known in its cluster: by the addresses that it was known by, as long as it has them. Until the cluster stands the site
/// may say another.
pub(super) fn machine(
    target: &Target,
    facts: &Facts,
    cluster: &Cluster,
    known: Option<&Machine>,
) -> Result<Machine, Family> {
    let name = facts.hostname.to_ascii_lowercase();
    let stays = |known: &&Machine| {
        let has_all = known.second_address.is_some() == cluster.settings.pods().secondary.is_some();
        let is_asked_for = cluster.standing || is_asked_for(target, known);
        is_asked_for && has_all && known.addresses().all(|ip| facts.addresses.contains(&ip))
    };
    if let Some(known) = known.filter(stays) {
        return Ok(Machine { name, ..known.clone() });
    }
    let (address, second_address) = addresses_of(target, facts, &cluster.settings)?;
    Ok(Machine { name, address, second_address })
}

fn is_asked_for(target: &Target, known: &Machine) -> bool {
    target.node_address.is_none_or(|ip| known.addresses().any(|own| own == ip))
}

/// What a host lacks, as a problem of it.
pub(super) fn lacking(host: &HostId, facts: &Facts, target: &Target, family: Family) -> Problem {
    let known = etcd::member_address(target, facts);
    let text = match known.and_then(|ip| facts.interface_of(ip).map(|interface| (ip, &interface.name))) {
        Some((ip, interface)) => {
            format!("it has no lasting {family} address of global scope on {interface}, the interface of {ip}")
        }
        None => format!("it has no {family} address that the others could reach"),
    };
    Problem::error(host, text, format!("give it one, or make the cluster without {family}"))
}

/// What keeps hosts of a run from having the addresses that the cluster's networks ask for.
pub(super) fn check_hosts(targets: &[Target], cluster: &Cluster, scene: &Scene<'_>) -> Vec<Problem> {
    let settings = &cluster.settings;
    let mut problems = Vec::new();
    let mut seconds: Vec<(HostId, IpAddr)> = Vec::new();
    let machines = || {
        let workers = cluster.workers.iter().map(|(host, node)| (host, &node.machine));
        cluster.control_plane.iter().chain(workers)
    };
    for target in targets {
        let id = target.id();
        let Some(host) = scene.hosts.get(&id) else { continue };
        let facts = &host.facts;
        // One that it does not have is told where names are compared.
        if target.node_address.is_some_and(|ip| !facts.addresses.contains(&ip)) {
            continue;
        }
        let known = machines().find(|(host, _)| **host == id).map(|(_, machine)| machine);
        match machine(target, facts, cluster, known) {
            Err(family) => problems.push(lacking(&id, facts, target, family)),
            Ok(machine) => {
                if let Some(asked) = target.node_address.filter(|_| !is_asked_for(target, &machine)) {
                    let text = format!("nodeAddress {asked} is ignored: the cluster knows it by {}", machine.address);
                    let help = "remove it from the cluster and add it again, to have it known by another";
                    problems.push(Problem::warning(Some(&id), text, Some(help.to_owned())));
                }
                seconds.extend(machine.second_address.map(|ip| (id.clone(), ip)));
            }
        }
        if let Some(interface) = facts.announced_on.as_ref().filter(|_| settings.pods().has(Family::V6)) {
            problems.push(announced(&id, interface));
        }
    }
    // The first ones are compared with all others where names are.
    for (host, ip) in &seconds {
        let of_other = machines().find(|(other, machine)| *other != host && machine.addresses().any(|own| own == *ip));
        let other = seconds.iter().find(|(other, own)| other < host && own == ip).map(|(other, _)| other);
        if let Some(other) = other.or(of_other.map(|(other, _)| other)) {
            let text = format!("states the address {ip}, which is that of {other}");
            problems.push(Problem::error(host, text, "give it an address of its own"));
        }
    }
    problems
}

/// Linux, `ip-sysctl`: `accept_ra`, `forwarding`.
fn announced(host: &HostId, interface: &str) -> Problem {
    let key = format!("net.ipv6.conf.{}.accept_ra", interface.replace('.', "/"));
    Problem::error(
        host,
        format!(
            "its IPv6 default route was announced by a router on {interface}, and would be lost once the host passes pods' packets on"
        ),
        format!(
            "let it take announcements all the same: sysctl -w {key}=2, and the same in a file of /etc/sysctl.d; or give it a static route"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Interface, TargetDefaults};

    fn settings(pods: &str, services: &str) -> ClusterSettings {
        let (pod_cidr, service_cidr) = (pods.to_owned(), services.to_owned());
        ClusterSettings { pod_cidr, service_cidr, ..ClusterSettings::default() }
    }

    fn dual() -> ClusterSettings {
        settings("10.244.0.0/16,fd00:10:244::/56", "10.254.0.0/16,fd00:10:254::/112")
    }

    fn cluster(settings: ClusterSettings, standing: bool) -> Cluster {
        let cluster: Cluster = serde_json::from_value(serde_json::json!({
            "settings": {}, "network": "direct", "etcd": {"endpoints": [], "tls": false}, "standing": standing,
            "control_plane": {}, "workers": {},
        }))
        .unwrap();
        Cluster { settings, ..cluster }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn target(text: &str) -> Target {
        Target::parse(text, &TargetDefaults::default()).unwrap()
    }

    /// Two interfaces; the default route goes by the second one.
    fn facts() -> Facts {
        let interface = |name: &str, addresses: &[&str], lasting: &[&str]| Interface {
            name: name.to_owned(),
            mtu: None,
            addresses: addresses.iter().copied().map(ip).collect(),
            lasting: lasting.iter().copied().map(ip).collect(),
        };
        let first = ["10.8.14.200", "fd10:8:14::77", "fd10:8:14::200"];
        let second = ["10.8.15.200"];
        Facts {
            hostname: "Host0".to_owned(),
            addresses: first.iter().chain(&second).copied().map(ip).collect(),
            interfaces: vec![
                interface("eth0", &first, &["10.8.14.200", "fd10:8:14::200"]),
                interface("eth1", &second, &second),
            ],
            route_address: Some(ip("10.8.15.200")),
            route_interface: Some("eth1".to_owned()),
            ..Facts::default()
        }
    }

    #[test]
    fn networks_of_one_or_of_both_families_are_taken_and_others_named() {
        for (pods, services) in [
            ("10.244.0.0/16", "10.254.0.0/16"),
            ("fd00:10:244::/56", "fd00:10:254::/112"),
            ("10.244.0.0/16,fd00:10:244::/56", "10.254.0.0/16,fd00:10:254::/112"),
            ("fd00:10:244::/48,10.244.0.0/16", "fd00:10:254::/108,10.254.0.0/16"),
        ] {
            check_networks(&settings(pods, services)).unwrap();
        }
        for (pods, services, said) in [
            ("10.244.0.1/16", "10.254.0.0/16", r#"pod network: "10.244.0.1/16" is no network"#),
            ("10.0.0.0/16,10.1.0.0/16", "10.254.0.0/16", "pod network: "),
            ("10.244.0.0/16", "x", r#"service network: "x""#),
            ("fd00:10:244::/56", "10.254.0.0/16", "of the same families, in the same order"),
            ("10.244.0.0/16,fd00:10:244::/56", "10.254.0.0/16", "of the same families"),
            ("10.244.0.0/16,fd00::/56", "fd00:1::/112,10.254.0.0/16", "in the same order"),
            (
                "10.244.0.0/16",
                "10.244.8.0/24",
                "the pod network 10.244.0.0/16 and the service network 10.244.8.0/24 overlap",
            ),
            (
                "10.244.0.0/16,fd00::/48",
                "10.254.0.0/16,fd00::1:0/112",
                "fd00::/48 and the service network fd00::1:0/112",
            ),
            ("10.244.0.0/16,fd00::/48", "10.254.0.0/16,fd00:1::/96", "fd00:1::/96 must have a prefix of 108 to 124"),
            ("10.244.0.0/16", "10.0.0.0/9", "must have a prefix of 12 to 28"),
            ("10.244.0.0/28", "10.254.0.0/16", "must have a prefix of 8 to 24: each node gets a /24"),
            ("fd00::/120", "fd00:1::/112", "must have a prefix of 16 to 116"),
            ("fe80::/56", "fd00:1::/112", "fe80::/56 is none that hosts pass packets of on"),
            ("fd00::/56", "ff00::/112", "ff00::/112 is none"),
        ] {
            let error = check_networks(&settings(pods, services)).unwrap_err().to_string();
            assert!(error.contains(said), "{pods} {services}: {error}");
        }
    }

    #[test]
    fn hosts_are_named_by_addresses_of_the_cluster_s_families() {
        let (four, six) = (target("10.0.0.1"), target("[fd10::1]:2222"));
        let only_six = settings("fd00:10:244::/56", "fd00:10:254::/112");
        check_named([&four, &six, &target("a.example")], &dual()).unwrap();
        check_named([&four], &ClusterSettings::default()).unwrap();
        check_named([&six], &only_six).unwrap();
        let error = check_named([&four, &six], &ClusterSettings::default()).unwrap_err().to_string();
        assert_eq!(error, "[fd10::1]:2222: fd10::1 is an IPv6 address, and pods have no IPv6 network: 10.244.0.0/16");
        assert!(check_named([&four], &only_six).unwrap_err().to_string().contains("no IPv4 network"));
        let elsewhere = Target { node_address: Some(ip("fd10::1")), ..four };
        assert!(check_named([&elsewhere], &ClusterSettings::default()).is_err());
    }

    #[test]
    fn a_node_is_known_by_where_it_was_reached_and_by_the_other_family_of_that_interface() {
        let of = |text: &str, settings: &ClusterSettings| addresses_of(&target(text), &facts(), settings);
        assert_eq!(of("10.8.14.200", &ClusterSettings::default()), Ok((ip("10.8.14.200"), None)));
        assert_eq!(of("10.8.14.200", &dual()), Ok((ip("10.8.14.200"), Some(ip("fd10:8:14::200")))));
        // Named in the family that is not the primary one.
        assert_eq!(of("fd10:8:14::200", &dual()), Ok((ip("10.8.14.200"), Some(ip("fd10:8:14::200")))));
        assert_eq!(of("10.8.15.200", &dual()), Err(Family::V6), "the other interface's address is none of it");
        // By name: what it resolved to, and without that the default route.
        let reached = Facts { reached_at: Some(ip("10.8.14.200")), ..facts() };
        let usual = ClusterSettings::default();
        assert_eq!(addresses_of(&target("a.example"), &reached, &usual), Ok((ip("10.8.14.200"), None)));
        assert_eq!(of("a.example", &usual), Ok((ip("10.8.15.200"), None)));
        let gateway = Facts { reached_at: Some(ip("192.0.2.1")), ..facts() };
        assert_eq!(addresses_of(&target("a.example"), &gateway, &usual), Ok((ip("10.8.15.200"), None)));
        // What the site says counts before that.
        let elsewhere = Target { node_address: Some(ip("10.8.15.200")), ..target("10.8.14.200") };
        assert_eq!(addresses_of(&elsewhere, &facts(), &usual), Ok((ip("10.8.15.200"), None)));
        // The API's address is nobody's own.
        let held = ClusterSettings { api_vip: Some("fd10:8:14::200".to_owned()), ..dual() };
        assert_eq!(of("10.8.14.200", &held), Err(Family::V6));
        let text = lacking(&"10.8.15.200".into(), &facts(), &target("10.8.15.200"), Family::V6).line();
        assert!(
            text.contains("no lasting IPv6 address of global scope on eth1, the interface of 10.8.15.200"),
            "{text}"
        );
    }

    #[test]
    fn a_node_keeps_the_addresses_that_it_has_in_the_cluster() {
        let usual = cluster(ClusterSettings::default(), true);
        let known = Machine { name: "host0".to_owned(), address: ip("10.8.15.200"), second_address: None };
        let target = target("10.8.14.200");
        assert_eq!(machine(&target, &facts(), &usual, Some(&known)), Ok(known.clone()));
        let gone = Machine { address: ip("10.8.15.9"), ..known.clone() };
        let now = machine(&target, &facts(), &usual, Some(&gone)).unwrap();
        assert_eq!((now.name.as_str(), now.address), ("host0", ip("10.8.14.200")));
        let both = machine(&target, &facts(), &cluster(dual(), true), Some(&known)).unwrap();
        assert_eq!(both.second_address, Some(ip("fd10:8:14::200")), "it was begun with one family");
        let asked = Target { node_address: Some(ip("10.8.14.200")), ..target };
        for (standing, address) in [(true, "10.8.15.200"), (false, "10.8.14.200")] {
            let cluster = cluster(ClusterSettings::default(), standing);
            assert_eq!(machine(&asked, &facts(), &cluster, Some(&known)).unwrap().address, ip(address), "{standing}");
        }
    }
}
