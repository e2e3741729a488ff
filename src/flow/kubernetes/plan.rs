//! The steps of a cluster: what its hosts are made of, and what waits for what between them. Control plane nodes come first; nodes prepare meanwhile and then wait for an API that answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::flow::etcd;
use crate::flow::pki::Pki;
use crate::flow::registry::Registries;
use crate::flow::scene::Seen;
use crate::host::{Facts, HostId};
use crate::packages::Wanted;
use crate::plan::{Owned, Plan, Step, StepId, make_first};
use crate::resource::Packages;

use super::component::{self, On, Supply, Waits};
use super::keys::ClusterKeys;
use super::state::Cluster;
use super::{cluster_sync, control_plane, dns_answers, kept_registry, kubeadm};

/// How long a service may take to start.
pub(super) const START: Duration = Duration::from_secs(120);

/// The hosts of a run, by role.
#[derive(Debug)]
pub(super) struct Hosts {
    pub control_plane: BTreeSet<HostId>,
    pub workers: BTreeSet<HostId>,
}

/// The packages of each role.
#[derive(Debug)]
pub(super) struct RolesPackages<'a> {
    pub control_plane: &'a [Wanted],
    pub worker: &'a [Wanted],
}

/// The packages of each host of the run: those of its roles, then those of its components.
pub(super) fn wanted_packages(
    cluster: &Cluster,
    hosts: &Hosts,
    roles: &RolesPackages<'_>,
    supply: &Supply<'_>,
    known: &BTreeMap<&HostId, &Facts>,
) -> BTreeMap<HostId, Vec<Wanted>> {
    // No package depends on a key.
    let keys = ClusterKeys::new(Pki::new("".into(), true), cluster);
    let (waits, none, list) = (Waits::default(), Facts::default(), no_list());
    let mut all = BTreeMap::new();
    for host in hosts.control_plane.union(&hosts.workers) {
        let mut wanted: Vec<Wanted> = Vec::new();
        let facts = known.get(host).copied().unwrap_or(&none);
        let on = On { cluster, host, facts, keys: &keys, supply, waits: &waits, list: &list, publishes: false };
        let of_role = |yes: bool, packages: &[Wanted]| if yes { packages.to_vec() } else { Vec::new() };
        let more = [
            of_role(hosts.control_plane.contains(host), roles.control_plane),
            of_role(hosts.workers.contains(host), roles.worker),
            component::packages(cluster.distribution.rules().components(), &on),
        ];
        for package in more.into_iter().flatten() {
            if !wanted.contains(&package) {
                wanted.push(package);
            }
        }
        all.insert(host.clone(), wanted);
    }
    all
}

/// All steps, for the hosts that `packages` names; `standing`: control plane nodes are restarted, or join, one after another.
pub(super) fn make_plan(
    cluster: &Cluster,
    mut packages: BTreeMap<HostId, Vec<Wanted>>,
    supply: &Supply<'_>,
    standing: bool,
    seen: &Seen<'_>,
) -> Plan {
    let (keys, rules) = (ClusterKeys::new(seen.pki.clone(), cluster), cluster.distribution.rules());
    let control_plane: Vec<&HostId> = cluster.control_plane.keys().filter(|h| packages.contains_key(*h)).collect();
    let workers =
        cluster.workers.keys().filter(|h| packages.contains_key(*h) && !cluster.control_plane.contains_key(*h));
    let hosts: Vec<&HostId> = control_plane.iter().copied().chain(workers).collect();
    let mut waits = Waits {
        etcd: etcd_answers(seen),
        api: control_plane.iter().map(|h| control_plane::answers(h)).collect(),
        published: hosts.first().map(|host| cluster_sync::published(host)),
        dns: hosts.iter().map(|host| dns_answers::answers(host)).collect(),
        configured: hosts
            .first()
            .filter(|_| cluster.standing)
            .map(|host| kubeadm::configured(host))
            .into_iter()
            .collect(),
        ..Waits::default()
    };
    if supply.former.is_some() {
        waits.site_files = control_plane.iter().map(|host| kubeadm::written(host)).collect();
        waits.all_settled = control_plane.iter().map(|host| kubeadm::settled(host)).collect();
        waits.readable = control_plane.iter().map(|host| kubeadm::can_read(host)).collect();
        waits.all_written = control_plane.iter().map(|host| kubeadm::writes(host)).collect();
        waits.configured.extend(hosts.first().map(|host| kubeadm::published(host)));
    }
    let list = cluster_sync::list(cluster).into_bytes().into();
    let mut plan = Plan::default();
    for (place, host) in hosts.into_iter().enumerate() {
        let Some(facts) = seen.facts.get(host).copied() else { continue };
        let on = On { cluster, host, facts, keys: &keys, supply, waits: &waits, list: &list, publishes: place == 0 };
        let install = Packages { wanted: packages.remove(host).unwrap_or_default(), options: seen.install.clone() };
        plan.push(Step::on(host, "kubernetes.install", "install Kubernetes and what it needs", install).weight(15));
        plan.steps.extend(component::steps(rules.components(), &on));
        if cluster.control_plane.contains_key(host) {
            waits.before = rules.turn_ends(host, standing);
            waits.settled.extend(supply.former.map(|_| kubeadm::settled(host)));
            waits.written.extend(supply.former.map(|_| kubeadm::writes(host)));
        }
    }
    make_first("kubernetes.certificates", "make Kubernetes' keys and certificates", plan)
}

/// Where no content of files is asked for.
fn no_list() -> Arc<[u8]> {
    Arc::new([])
}

/// What a host has by its roles in a cluster.
pub(super) fn owned(cluster: &Cluster, host: &HostId, facts: &Facts, seen: &Seen<'_>) -> Vec<Owned> {
    let keys = ClusterKeys::new(seen.pki.clone(), cluster);
    let mut known = Registries::default();
    known.learn(seen);
    let mut registries = known.served(&seen.pki);
    registries.extend(kept_registry::served(cluster, &seen.pki));
    let (bundle, delivery) = (seen.bundle, &seen.delivery);
    let supply = Supply { bundle, images: &[], manifests: &[], delivery, registries: &registries, former: None };
    let (waits, list) = (Waits::default(), no_list());
    let on = On { cluster, host, facts, keys: &keys, supply: &supply, waits: &waits, list: &list, publishes: false };
    component::owned(cluster.distribution.rules().components(), &on)
}

/// An etcd made or changed on the same line must answer first. Not every member has this step: it may be one that the
/// line does not touch, or the cluster is only left by others.
fn etcd_answers(seen: &Seen<'_>) -> Vec<StepId> {
    let members = seen.etcd.as_ref().map(|cluster| &cluster.members);
    let hosts = members.into_iter().flat_map(|members| members.keys());
    let asks = seen.etcd.as_ref().is_some_and(etcd::Cluster::asks_for_users);
    hosts.flat_map(|host| [Some(etcd::answers(host)), asks.then(|| etcd::knows_users(host))]).flatten().collect()
}
