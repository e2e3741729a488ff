//! Hosts of a run that are not in the cluster yet: what the distribution's own tools find there.

use std::collections::BTreeSet;

use super::super::distro::Newcomer;
use super::super::leftovers;
use super::super::plan::Hosts;
use super::super::routes;
use super::super::state::Cluster;
use super::super::version;
use super::Converge;
use crate::flow::problem::Problem;
use crate::flow::scene::Scene;
use crate::host::HostId;

impl Converge {
    /// What is in the way of the pods' network on hosts that are not in the cluster yet: left of an earlier one, or the site's.
    pub(super) fn check_ways(&self, scene: &Scene<'_>) -> Vec<Problem> {
        let cluster = self.outline(self.before.as_ref(), scene.bundle);
        let known = self.before.as_ref().map(Cluster::pod_hosts).unwrap_or_default();
        let Hosts { control_plane, workers } = self.hosts();
        let pods = cluster.pod_hosts();
        let new = control_plane.union(&workers).filter(|host| pods.contains(host) && !known.contains(host));
        let hosts = new.filter_map(|host| scene.hosts.get(host));
        let of_host = |host: &crate::plan::RunHost| {
            let (name, facts) = (host.host.name(), &host.facts);
            let mut problems = leftovers::check(name, facts, &cluster, &self.manifests);
            problems.extend(routes::check(name, facts, &cluster.settings));
            problems
        };
        hosts.flat_map(of_host).collect()
    }

    /// Asks them. A host that an earlier run has begun with is not asked: what that left would be taken for another's.
    pub(super) fn check_newcomers(&self, scene: &Scene<'_>) -> Vec<Problem> {
        let rules = self.rules(scene.bundle);
        let key = rules.key_package();
        let Hosts { control_plane, workers } = self.hosts();
        let known = |host: &HostId| {
            let known = self.before.as_ref();
            known.is_some_and(|known| known.control_plane.contains_key(host) || known.workers.contains_key(host))
        };
        let all: BTreeSet<&HostId> = control_plane.union(&workers).collect();
        let hosts = all.into_iter().filter_map(|host| scene.hosts.get(host)).filter(|host| host.host.is_root());
        let begun = |host: &crate::plan::RunHost| known(host.host.name()) && host.facts.packages.contains_key(key);
        let newcomers: Vec<Newcomer<'_>> = hosts
            .filter(|host| !begun(host))
            .map(|host| Newcomer { host, is_control_plane: control_plane.contains(host.host.name()) })
            .collect();
        let packages = &self.control_plane_packages;
        let facts = newcomers.iter().map(|newcomer| &newcomer.host.facts);
        match version::of(key, packages, scene.bundle, facts) {
            Some(version) => rules.look(&newcomers, packages, &version, &self.settings(), scene),
            None => Vec::new(),
        }
    }
}
