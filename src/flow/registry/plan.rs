//! The steps of a registry's hosts.

use std::time::Duration;

use crate::flow::rpms;
use crate::flow::scene::Seen;
use crate::host::{Facts, HostId};
use crate::plan::{Owned, Plan, Step, make_first};
use crate::resource::{FirewallPorts, Packages, Reads, Unit};

use super::answers::Answers;
use super::package::Package;
use super::state::{Machine, Registry};
use super::storage::Storage;
use super::{config, package};

pub(super) const START: Duration = Duration::from_secs(60);

/// The steps that make it so, on these hosts.
pub(super) fn make_plan(registry: &Registry, hosts: &[HostId], seen: &Seen<'_>) -> Plan {
    let mut plan = Plan::default();
    for host in hosts {
        if let Some(facts) = seen.facts.get(host).copied() {
            plan.steps.extend(steps(registry, host, facts, seen));
        }
    }
    make_first("registry.certificates", "make the registry's keys and certificates", plan)
}

/// What a host has as a registry.
pub(super) fn owned(registry: &Registry, host: &HostId, facts: &Facts, seen: &Seen<'_>) -> Vec<Owned> {
    steps(registry, host, facts, seen).iter().flat_map(|step| step.work.owns()).collect()
}

/// The proof that it works.
pub(super) fn answers(host: &HostId, registry: &Registry, machine: &Machine, package: &Package) -> Step {
    let ca = match &registry.certificate {
        Some(site) if site.files.ca.is_none() => String::new(),
        _ => config::ca_path(package),
    };
    let answers = Answers { address: registry.address(machine), at: machine.address, port: registry.port, ca };
    Step::on(host, "registry.answers", "ask the registry over TLS", answers)
}

fn steps(registry: &Registry, host: &HostId, facts: &Facts, seen: &Seen<'_>) -> Vec<Step> {
    let (Some(machine), Some(package)) = (registry.hosts.get(host), package::of(seen.bundle, facts)) else {
        return Vec::new();
    };
    let packages = Packages { wanted: rpms::by_name([package.name]), options: seen.install.clone() };
    let mut steps = vec![Step::on(host, "registry.install", "install the registry", packages).weight(5)];
    if facts.firewalld() {
        let ports = FirewallPorts { ports: vec![format!("{}/tcp", registry.port)], at: machine.address };
        steps.push(Step::on(host, "registry.firewall", "open the registry's port in firewalld", ports));
    }
    let files = config::files(registry, host, machine, package, &seen.pki);
    let storage = Storage { folder: registry.storage.clone(), user: package.user };
    let unit = Unit { name: package.unit.to_owned(), reads: Reads::Files(files.clone()), timeout: START, wait: true };
    steps.extend([
        Step::on(host, "registry.configure", "write the registry's configuration and certificates", files),
        Step::on(host, "registry.storage", "make the folder of the registry's images", storage),
        Step::on(host, "registry.start", "start the registry", unit).weight(2),
        answers(host, registry, machine, package),
    ]);
    steps
}
