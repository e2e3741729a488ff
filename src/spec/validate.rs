//! What fields must be to each other, when each by itself is right.

use std::collections::{BTreeMap, BTreeSet};

use crate::flow::networks::{Family, Networks, disagreement};
use crate::host::Address;

use super::check::Lines;
use super::cluster::Role;
use super::file::{ClusterFile, KubernetesFields};
use super::problem::FileProblem;

/// Contradictions within hosts and settings.
pub(super) fn within(file: &ClusterFile, lines: &Lines) -> Vec<FileProblem> {
    let mut problems = twice(file, lines);
    if let Some(kubernetes) = &file.kubernetes {
        problems.extend(networks(kubernetes, lines));
        problems.extend(stub_domains(kubernetes, lines));
        if kubernetes.api_endpoint.is_some() && kubernetes.api_vip.is_some() {
            problems.push(lines.problem("kubernetes.apiVIP", "apiEndpoint is given too; only one of both can be used"));
        }
    }
    problems.extend(users(file, lines));
    problems.extend(files(file, lines));
    problems
}

/// What is given only together.
fn files(file: &ClusterFile, lines: &Lines) -> Vec<FileProblem> {
    let mut problems = Vec::new();
    if let Some(registry) = &file.registry {
        let (certificate, key) = (registry.certificate_file.is_some(), registry.key_file.is_some());
        if certificate != key {
            let (given, missing) =
                if certificate { ("certificateFile", "keyFile") } else { ("keyFile", "certificateFile") };
            problems.push(lines.problem(&format!("registry.{given}"), format!("{missing} is needed too")));
        }
        if registry.ca_file.is_some() && !certificate {
            problems.push(lines.problem("registry.caFile", "it belongs to certificateFile, which is not given"));
        }
    }
    if let Some(site) = &file.site_registry
        && site.user.is_none()
        && (site.password_file.is_some() || site.password_env.is_some())
    {
        let field = if site.password_file.is_some() { "passwordFile" } else { "passwordEnv" };
        problems.push(lines.problem(&format!("siteRegistry.{field}"), "it belongs to user, which is not given"));
    }
    problems
}

fn users(file: &ClusterFile, lines: &Lines) -> Vec<FileProblem> {
    let users = file.registry.iter().flat_map(|registry| &registry.users);
    let mut seen = BTreeSet::new();
    let twice = users.enumerate().filter(|(_, user)| !seen.insert(&user.name));
    twice
        .map(|(at, user)| lines.problem(&format!("registry.users[{at}].name"), format!("{} is given twice", user.name)))
        .collect()
}

fn twice(file: &ClusterFile, lines: &Lines) -> Vec<FileProblem> {
    let mut problems = Vec::new();
    let port = file.defaults.as_ref().and_then(|defaults| defaults.port).unwrap_or(22);
    let mut seen: BTreeMap<(Address, u16), usize> = BTreeMap::new();
    for (index, host) in file.hosts.iter().enumerate() {
        let path = format!("hosts[{index}].address");
        if let Ok(address) = host.address.parse() {
            let host_and_port = (address, host.login.port.unwrap_or(port));
            match seen.get(&host_and_port) {
                Some(line) => {
                    let text = format!("{} is given twice, first in line {line}", host.address);
                    problems.push(lines.problem(&path, text));
                }
                None => {
                    seen.insert(host_and_port, lines.of(&path));
                }
            }
        }
        for role in Role::ALL {
            if host.roles.iter().filter(|r| **r == role).count() > 1 {
                problems.push(lines.problem(&format!("hosts[{index}].roles"), format!("{role} is given twice")));
            }
        }
    }
    problems
}

fn networks(kubernetes: &KubernetesFields, lines: &Lines) -> Option<FileProblem> {
    let read = |text: &Option<String>, usual| text.as_deref().map_or(Some(usual), Networks::parse);
    // One that cannot be read is a problem of its own.
    let pods = read(&kubernetes.pod_cidr, Networks::USUAL_PODS)?;
    let services = read(&kubernetes.service_cidr, Networks::USUAL_SERVICES)?;
    let path = if kubernetes.service_cidr.is_some() { "kubernetes.serviceCIDR" } else { "kubernetes.podCIDR" };
    if let Some(text) = disagreement(pods, services) {
        return Some(lines.problem(path, text));
    }
    let vip = kubernetes.api_vip.as_ref()?.parse::<std::net::IpAddr>().ok()?;
    let family = pods.primary_family();
    let text = || format!("{vip} is no {family} address, which is the cluster's primary family");
    (Family::of(vip) != family).then(|| lines.problem("kubernetes.apiVIP", text()))
}

/// More name servers CoreDNS does not take for a domain (plugin "forward").
const MAX_SERVERS: usize = 15;

fn stub_domains(kubernetes: &KubernetesFields, lines: &Lines) -> Vec<FileProblem> {
    let cluster = kubernetes.cluster_domain.as_deref().unwrap_or("cluster.local").to_ascii_lowercase();
    let is_within = |name: &str, domain: &str| name == domain || name.ends_with(&format!(".{domain}"));
    let mut problems = Vec::new();
    let mut seen = BTreeSet::new();
    for (name, servers) in kubernetes.dns.iter().flat_map(|dns| &dns.stub_domains) {
        let path = format!("kubernetes.dns.stubDomains.{name}");
        let domain = name.to_ascii_lowercase();
        if is_within(&domain, &cluster) || is_within(&cluster, &domain) {
            let text =
                format!("names of the cluster's own domain, {cluster}, would be asked of the site's name servers");
            problems.push(lines.problem(&path, text));
        }
        if servers.len() > MAX_SERVERS {
            let text = format!("{} name servers are more than the {MAX_SERVERS} that CoreDNS takes", servers.len());
            problems.push(lines.problem(&path, text));
        }
        let unusable = |ip: &&std::net::IpAddr| ip.is_loopback() || ip.is_unspecified() || ip.is_multicast();
        if let Some(ip) = servers.iter().find(unusable) {
            problems.push(lines.problem(&path, format!("{ip} is no name server that pods can reach")));
        }
        if !seen.insert(domain) {
            problems.push(lines.problem(&path, "is given twice; capitals do not count"));
        }
    }
    problems
}

/// Whether the hosts' roles make a cluster; asked only when every field is right.
pub(super) fn roles(file: &ClusterFile, lines: &Lines) -> Vec<FileProblem> {
    let has = |role: Role| file.hosts.iter().any(|host| host.roles.contains(&role));
    let external = file.kubernetes.as_ref().is_some_and(|k| !k.external_etcd.is_empty());
    let mut problems = Vec::new();
    if !has(Role::ControlPlane) {
        if has(Role::Worker) {
            let text = "no host has the role control-plane, which workers need";
            problems.push(lines.problem("hosts", text));
        }
        if file.kubernetes.is_some() {
            problems.push(lines.problem("kubernetes", "no host has the role control-plane"));
        }
    } else if !has(Role::Etcd) && !external {
        let text = "no host has the role etcd, and kubernetes.externalEtcd names no member";
        problems.push(lines.problem("hosts", text));
    }
    if has(Role::Etcd) && external {
        let text = "hosts have the role etcd too; only one of both can be used";
        problems.push(lines.problem("kubernetes.externalEtcd", text));
    }
    if file.etcd.is_some() && !has(Role::Etcd) {
        problems.push(lines.problem("etcd", "no host has the role etcd"));
    }
    if file.site_registry.is_some() && !has(Role::ControlPlane) {
        problems
            .push(lines.problem("siteRegistry", "no host has the role control-plane: there is no cluster to use it"));
    }
    if file.registry.is_some() && !has(Role::Registry) {
        problems.push(lines.problem("registry", "no host has the role registry"));
    }
    problems
}
