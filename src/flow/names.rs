//! Names and addresses that hosts state of themselves, held against those of all others before they come into certificates
//! and become nodes' names. A host is not believed: one that calls itself as another host, or as the API, would get a
//! certificate by which it can pass for that.

use std::net::IpAddr;

use crate::host::{Facts, HostId, Target};
use crate::plan::RunHosts;

use super::error::FlowError;
use super::problem::Problem;
use super::request::ClusterSettings;
use super::scene::Scene;
use super::state::Environment;
use super::{etcd, kubernetes, registry};

/// A node's name is also the value of its label `kubernetes.io/hostname`, and a label's value has at most 63 characters
/// (Kubernetes documentation, "Labels and Selectors"): a node with a longer one is refused by the API.
const MAX_NAME: usize = 63;

const RENAME: &str = "give it a name of its own: hostnamectl set-hostname NAME";
const ADDRESS: &str = "give it an address of its own, and name the host by that address";

/// A host: what it is called, and where others reach it.
#[derive(Debug, Clone)]
struct Known {
    host: HostId,
    name: String,
    address: Option<IpAddr>,
    /// etcd or a kubelet is set up there, so that it is in a cluster.
    stands: bool,
}

/// What no host may call itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Reserved {
    /// Under which services are found.
    pub domain: String,
    /// Names and addresses of the API, which only these hosts may have.
    pub api: Vec<String>,
    pub control_plane: Vec<HostId>,
}

impl Reserved {
    /// For certificates that have nothing to do with the API.
    pub(super) fn usual() -> Self {
        Self { domain: ClusterSettings::default().cluster_domain, ..Self::default() }
    }
}

/// What is wrong with the names and addresses of these hosts of the run.
///
/// # Errors
/// When the environment's state cannot be read.
pub(super) fn check(targets: &[Target], reserved: &Reserved, scene: &Scene<'_>) -> Result<Vec<Problem>, FlowError> {
    let hosts: Vec<Known> = targets.iter().filter_map(|target| stated(target, scene.hosts)).collect();
    let run: Vec<Known> = scene.hosts.values().map(|h| of(h.host.target(), &h.facts)).collect();
    let kept = kept(scene.environment)?;
    let mut problems = compare(&hosts, &run, &kept, reserved);
    let changed = |target: &Target| scene.hosts.get(&target.id()).map(|host| changed(target, &host.facts, &kept));
    problems.extend(targets.iter().filter_map(changed).flatten());
    problems.extend(targets.iter().filter_map(|target| not_its_own(target, &scene.hosts.get(&target.id())?.facts)));
    Ok(problems)
}

/// An address that the site gives a host among the others, and that the host does not have.
fn not_its_own(target: &Target, facts: &Facts) -> Option<Problem> {
    let address = target.node_address.filter(|ip| !facts.addresses.contains(ip))?;
    let own: Vec<String> = facts.addresses.iter().map(IpAddr::to_string).collect();
    let text = format!("nodeAddress {address} is none of its addresses: {}", own.join(", "));
    Some(Problem::error(&target.id(), text, "name one of them, or give the host that address"))
}

fn stated(target: &Target, hosts: &RunHosts) -> Option<Known> {
    hosts.get(&target.id()).map(|host| of(target, &host.facts))
}

fn of(target: &Target, facts: &Facts) -> Known {
    let name = facts.hostname.to_ascii_lowercase();
    Known { host: target.id(), name, address: etcd::member_address(target, facts), stands: stands(facts) }
}

fn stands(facts: &Facts) -> bool {
    let is_set_up = |unit: &str| facts.units.get(unit).is_some_and(|unit| unit.enabled == "enabled");
    ["etcd", "kubelet"].iter().any(|unit| is_set_up(unit) || facts.is_active(unit))
}

/// A host of a cluster whose name or address is another than when it came in. One that was set up anew holds nothing by its old
/// name, and comes in by the new one.
fn changed(target: &Target, facts: &Facts, kept: &[Known]) -> Vec<Problem> {
    let (host, now) = (target.id(), facts.hostname.to_ascii_lowercase());
    let mut problems = Vec::new();
    for known in kept.iter().filter(|known| known.host == host && stands(facts)) {
        let mut add = |text: String, first: String| {
            let help = format!("{first}; or take the host out (`cluster remove`, `etcd remove`) and add it again");
            let problem = Problem::error(&host, text, help);
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        };
        let old = &known.name;
        if *old != now {
            let text = format!("its hostname was {old} when it came into the cluster, and is {now:?} now");
            add(text, format!("name it as before: hostnamectl set-hostname {old}"));
        }
        if let Some(old) = known.address.filter(|ip| !facts.addresses.contains(ip)) {
            let own: Vec<String> = facts.addresses.iter().map(IpAddr::to_string).collect();
            let text = format!(
                "its address was {old} when it came into the cluster, and it has {} now: the others know it by the old one",
                own.join(", ")
            );
            add(text, "give it that address again, as a static one or by a fixed lease of the DHCP server".to_owned());
        }
    }
    problems
}

/// The hosts of the environment.
fn kept(environment: &Environment) -> Result<Vec<Known>, FlowError> {
    let mut all = Vec::new();
    let mut add = |host: &HostId, name: &str, address: IpAddr| {
        let address = Some(address).filter(|ip| !ip.is_unspecified());
        all.push(Known { host: host.clone(), name: name.to_ascii_lowercase(), address, stands: true });
    };
    for (host, member) in etcd::Cluster::load(environment)?.iter().flat_map(|cluster| &cluster.members) {
        add(host, &member.name, member.address);
    }
    if let Some(cluster) = kubernetes::Cluster::load(environment)? {
        cluster.control_plane.iter().for_each(|(host, machine)| add(host, &machine.name, machine.address));
        cluster.workers.iter().for_each(|(host, node)| add(host, &node.machine.name, node.machine.address));
    }
    for (host, machine) in registry::Registry::load(environment)?.iter().flat_map(|registry| &registry.hosts) {
        add(host, &machine.name, machine.address);
    }
    Ok(all)
}

/// `hosts`: those that are to get certificates; `run`: all of the run; `kept`: those that the environment has.
fn compare(hosts: &[Known], run: &[Known], kept: &[Known], reserved: &Reserved) -> Vec<Problem> {
    let mut problems = Vec::new();
    for own in hosts {
        // What a cluster was made with stays: its certificates can be renewed.
        let has_it = kept.iter().any(|known| known.host == own.host && known.name == own.name);
        let wrong = if has_it { None } else { wrong_name(own, reserved) };
        let name = wrong.map(|why| {
            let text = format!("its hostname is {:?}, {why}", own.name);
            Problem::error(&own.host, text, RENAME)
        });
        problems.extend(name.or_else(|| same_name(own, hosts, run, kept)));
        problems.extend(wrong_address(own, run, kept, reserved));
    }
    problems
}

/// Why a name can be nobody's here.
fn wrong_name(own: &Known, reserved: &Reserved) -> Option<String> {
    let (name, domain) = (own.name.as_str(), reserved.domain.to_ascii_lowercase());
    if !is_node_name(name) {
        return Some("which cannot be a member's name or a node's: letters, digits, hyphens and dots only".to_owned());
    }
    if name.len() > MAX_NAME {
        return Some(format!("which has {} characters; a node's name has at most {MAX_NAME}", name.len()));
    }
    if name.parse::<IpAddr>().is_ok_and(|ip| own.address != Some(ip)) {
        return Some("which is an address, and not its own".to_owned());
    }
    let first = name.split('.').next().unwrap_or_default();
    if ["localhost", "localhost4", "localhost6"].contains(&first) || name.ends_with(".localhost") {
        return Some("which every host calls itself".to_owned());
    }
    let of_services = ["kubernetes", "kubernetes.default", "svc"].contains(&name)
        || name.ends_with(".svc")
        || name.ends_with(&format!(".svc.{domain}"));
    if of_services {
        return Some(format!("which is a name of the cluster's services (domain {domain})"));
    }
    let of_api = reserved.api.iter().any(|api| api.eq_ignore_ascii_case(name));
    (of_api && !reserved.control_plane.contains(&own.host)).then(|| "which is the API's name".to_owned())
}

/// A lower-case subdomain as RFC 1123 has it and nodes are named.
fn is_node_name(name: &str) -> bool {
    let label = |label: &str| {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.bytes().all(inner)
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// Another host of that name.
fn same_name(own: &Known, hosts: &[Known], run: &[Known], kept: &[Known]) -> Option<Problem> {
    let name = &own.name;
    let is_other = |other: &&Known| other.host != own.host;
    let is_known_so =
        |other: &&Known| is_other(other) && other.host.address() == name && other.host.address() != own.host.address();
    // Of two hosts that are both looked at one is named.
    let is_told = |other: &&Known| own.host > other.host || hosts.iter().all(|host| host.host != other.host);
    let has_it = |other: &&Known| is_other(other) && other.name == *name && is_told(other);
    let text = if let Some(other) = run.iter().find(has_it) {
        format!("has the same hostname as {}: {name}", other.host)
    } else if let Some(other) = run.iter().chain(kept).find(is_known_so) {
        format!("its hostname {name} is the name by which {} is known", other.host)
    } else {
        // One machine may be known by two names, as by its address and by a DNS name.
        let is_another = |other: &&Known| is_other(other) && other.name == *name && other.address != own.address;
        let other = kept.iter().find(is_another)?;
        if own.stands && run.iter().all(|host| host.host != other.host) {
            let text = format!(
                "it is called {name} as {} is, which the environment has, and is in a cluster: its address seems to have changed",
                other.host
            );
            let help = format!(
                "give it the address {} again, as a static one or by a fixed lease, and name it so",
                other.host
            );
            return Some(Problem::error(&own.host, text, help));
        }
        format!("its hostname {name} is that of {}, which the environment has", other.host)
    };
    Some(Problem::error(&own.host, text, RENAME))
}

/// Its address is nobody else's. A host without one is named where the address is needed.
fn wrong_address(own: &Known, run: &[Known], kept: &[Known], reserved: &Reserved) -> Option<Problem> {
    let address = own.address?;
    let is_broadcast = matches!(address, IpAddr::V4(ip) if ip.is_broadcast());
    let wrong = |text: String| Some(Problem::error(&own.host, text, ADDRESS));
    if address.is_loopback() || address.is_unspecified() || address.is_multicast() || is_broadcast {
        return wrong(format!("states the address {address}, at which no other host can reach it"));
    }
    let of_api = reserved.api.iter().any(|api| api.parse() == Ok(address));
    if of_api && !reserved.control_plane.contains(&own.host) {
        return wrong(format!("states the address {address}, which is the API's"));
    }
    // Several hosts may be reached by ports of one address, so what the own login names is no other's.
    let of_other = |other: &&Known| {
        let named = |known: &Known| known.host.address().parse() == Ok(address);
        let is_known_so = named(other) && other.host.address() != own.host.address();
        let has_it = other.address == Some(address) && (!named(own) || named(other));
        other.host != own.host && (is_known_so || has_it)
    };
    // A machine that the environment knows by another name is the same one when its name is the same, too.
    let of_kept = |other: &&Known| of_other(other) && other.name != own.name;
    let other = run.iter().find(of_other).or_else(|| kept.iter().find(of_kept))?;
    wrong(format!("states the address {address}, which is that of {}", other.host))
}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::*;

    fn known(host: &str, name: &str, address: &str) -> Known {
        Known { host: host.into(), name: name.to_ascii_lowercase(), address: address.parse().ok(), stands: false }
    }

    fn reserved() -> Reserved {
        let api = vec!["api.example".to_owned(), "10.0.0.100".to_owned()];
        Reserved { domain: "k8s.example".to_owned(), api, control_plane: vec!["10.0.0.1".into()] }
    }

    #[test]
    fn an_address_among_the_others_that_a_host_lacks_is_named() {
        let facts = Facts { addresses: vec!["10.0.0.1".parse().unwrap()], ..Facts::default() };
        let target = Target::parse("10.0.0.1", &crate::host::TargetDefaults::default()).unwrap();
        let with = |address: &str| Target { node_address: address.parse().ok(), ..target.clone() };
        assert_eq!(not_its_own(&target, &facts), None);
        assert_eq!(not_its_own(&with("10.0.0.1"), &facts), None);
        let said = not_its_own(&with("10.9.0.1"), &facts).unwrap().line();
        assert_eq!(said, "10.0.0.1: nodeAddress 10.9.0.1 is none of its addresses: 10.0.0.1");
        assert_eq!(etcd::member_address(&with("10.9.0.1"), &facts), None, "nor is another one taken for it");
    }

    #[test]
    fn a_host_of_a_cluster_whose_name_or_address_changed_is_named_with_both() {
        let unit = crate::host::UnitState { active: "activating".into(), enabled: "enabled".into() };
        let facts = |name: &str, address: &str, unit_name: &str| Facts {
            hostname: name.to_owned(),
            addresses: vec![address.parse().unwrap()],
            units: [(unit_name.to_owned(), unit.clone())].into(),
            ..Facts::default()
        };
        let target = Target::parse("node1.example", &crate::host::TargetDefaults::default()).unwrap();
        // Of etcd and of Kubernetes alike.
        let kept = [known("node1.example", "host1", "10.0.0.1"), known("node1.example", "host1", "10.0.0.1")];
        let said = |facts: &Facts| changed(&target, facts, &kept).iter().map(Problem::line).collect::<Vec<_>>();
        assert!(said(&facts("HOST1", "10.0.0.1", "etcd")).is_empty());
        assert_eq!(
            said(&facts("new", "10.0.0.1", "kubelet")),
            ["node1.example: its hostname was host1 when it came into the cluster, and is \"new\" now"]
        );
        assert_eq!(
            said(&facts("host1", "10.0.0.7", "etcd")),
            [
                "node1.example: its address was 10.0.0.1 when it came into the cluster, and it has 10.0.0.7 now: the others know it by \
              the old one"
            ]
        );
        assert!(said(&facts("new", "10.0.0.7", "sshd")).is_empty(), "it was set up anew");
    }

    #[test]
    fn a_host_that_comes_by_another_address_is_told_from_one_of_the_same_name() {
        let moved = Known { stands: true, ..known("10.0.0.7", "host1", "10.0.0.7") };
        let kept = [known("10.0.0.1", "host1", "10.0.0.1")];
        let said = |own: &Known| compare(slice::from_ref(own), slice::from_ref(own), &kept, &reserved())[0].line();
        assert!(said(&moved).ends_with("is in a cluster: its address seems to have changed"), "{}", said(&moved));
        let new = Known { stands: false, ..moved };
        assert!(said(&new).contains("is that of 10.0.0.1, which the environment has"), "{}", said(&new));
    }

    /// What is said of a second host beside `host1` of `10.0.0.1`.
    fn said(name: &str, address: &str, kept: &[Known]) -> Vec<String> {
        let run = [known("10.0.0.1", "host1", "10.0.0.1"), known("10.0.0.2", name, address)];
        compare(&run, &run, kept, &reserved()).iter().map(Problem::line).collect()
    }

    #[test]
    fn names_that_are_nobody_s_own_are_refused() {
        let long = "a".repeat(64);
        let bad = [
            "",
            "-rf",
            "a;reboot",
            "$(id)",
            "a b",
            "\u{fc}",
            "a..b",
            "a-.b",
            "localhost",
            "localhost.localdomain",
            "LOCALHOST4",
            "a.localhost",
            "kubernetes",
            "Kubernetes.default",
            "kubernetes.default.svc",
            "x.y.svc",
            "kubernetes.default.svc.k8s.example",
            "10.0.0.1",
            "10.0.0.9",
            "api.example",
            &long,
        ];
        for bad in bad {
            let said = said(bad, "10.0.0.2", &[]);
            assert!(said.len() == 1 && said[0].starts_with("10.0.0.2: its hostname is "), "{bad:?}: {said:?}");
        }
        for good in ["node-1.example.org", "NODE2", "kubernetes.example", "node1.k8s.example", "10.0.0.2", &long[1..]] {
            assert_eq!(said(good, "10.0.0.2", &[]), [""; 0], "{good:?}");
        }
        assert!(said(&long, "10.0.0.2", &[])[0].ends_with("which has 64 characters; a node's name has at most 63"));
    }

    #[test]
    fn names_of_others_are_refused() {
        assert_eq!(said("Host1", "10.0.0.2", &[]), ["10.0.0.2: has the same hostname as 10.0.0.1: host1"]);
        let kept = [known("10.0.0.3", "host3", "10.0.0.3"), known("node4.example", "host4", "10.0.0.4")];
        let problem = said("host3", "10.0.0.2", &kept);
        assert_eq!(problem, ["10.0.0.2: its hostname host3 is that of 10.0.0.3, which the environment has"]);
        let problem = said("node4.example", "10.0.0.2", &kept);
        assert_eq!(problem, ["10.0.0.2: its hostname node4.example is the name by which node4.example is known"]);
        let same_machine = [known("node2.example", "host2", "10.0.0.2")];
        assert_eq!(said("host2", "10.0.0.2", &same_machine), [""; 0]);
    }

    #[test]
    fn a_host_that_has_a_name_already_keeps_it() {
        let name = "localhost.localdomain";
        assert_eq!(said(name, "10.0.0.2", &[known("10.0.0.2", name, "10.0.0.2")]), [""; 0]);
        assert_eq!(said(name, "10.0.0.2", &[known("10.0.0.2", "host2", "10.0.0.2")]).len(), 1);
    }

    #[test]
    fn addresses_of_others_are_refused() {
        let kept = [known("node4.example", "host4", "10.0.0.4")];
        for (address, why) in [
            ("10.0.0.1", "which is that of 10.0.0.1"),
            ("10.0.0.4", "which is that of node4.example"),
            ("10.0.0.100", "which is the API's"),
            ("127.0.0.2", "at which no other host can reach it"),
            ("::1", "at which no other host can reach it"),
        ] {
            assert_eq!(said("host2", address, &kept), [format!("10.0.0.2: states the address {address}, {why}")]);
        }
        assert_eq!(said("host2", "192.168.0.2", &kept), [""; 0], "behind a translated address");
        let hosts = [known("10.0.0.1:2201", "host1", "192.168.0.1"), known("10.0.0.1", "gate", "10.0.0.1")];
        assert_eq!(compare(&hosts, &hosts, &[], &reserved()), [], "ports of one address lead to several hosts");
    }
}
