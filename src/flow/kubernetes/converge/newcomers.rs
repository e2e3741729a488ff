//! Hosts of a run that are not in the cluster yet: what the distribution's own tools find there.

use std::collections::BTreeSet;

use super::super::distro::Newcomer;
use super::super::plan::Hosts;
use super::super::routes;
use super::super::state::Cluster;
use super::super::{containerd, docker_in_use, leftovers, preflight, version};
use super::Converge;
use crate::flow::problem::Problem;
use crate::flow::scene::Scene;
use crate::host::{HostId, for_each};
use crate::plan::RunHost;

impl Converge {
    /// What conflicts with the pods' network on hosts that are not in the cluster yet: leftovers of an earlier cluster, routes of the site.
    pub(super) fn check_pod_network(&self, scene: &Scene<'_>) -> Vec<Problem> {
        let cluster = self.outline(self.before.as_ref(), scene.bundle);
        let pods = cluster.pod_hosts();
        let hosts = self.new_hosts(scene).filter(|host| pods.contains(host.host.name()));
        let of_host = |host: &RunHost| {
            let (name, facts) = (host.host.name(), &host.facts);
            let mut problems = leftovers::check(name, facts, &cluster, &self.manifests);
            problems.extend(routes::check(name, facts, &cluster.settings));
            problems.extend(preflight::check_fapolicyd(name, facts, &cluster.network));
            problems
        };
        hosts.flat_map(of_host).collect()
    }

    /// A runtime that the site uses already on hosts that are to run pods.
    pub(super) fn check_runtime(&self, scene: &Scene<'_>) -> Vec<Problem> {
        let cluster = self.outline(self.before.as_ref(), scene.bundle);
        let pods = cluster.pod_hosts();
        let hosts: Vec<&RunHost> = self.new_hosts(scene).filter(|host| pods.contains(host.host.name())).collect();
        let found = for_each(&hosts, scene.options.forks, |host| match cluster.containerd {
            true => containerd::check(host.host.name(), &host.facts).into_iter().collect(),
            false => docker_in_use::check(host, &cluster, scene.bundle),
        });
        found.into_iter().flatten().flatten().collect()
    }

    /// Hosts of this run that no run has begun with: what that left would be taken for another's. One that was reset since has
    /// no package any more.
    fn new_hosts<'a>(&self, scene: &'a Scene<'_>) -> impl Iterator<Item = &'a RunHost> {
        let rules = self.rules(scene.bundle);
        let Hosts { control_plane, workers } = self.hosts();
        let all: BTreeSet<&HostId> = control_plane.union(&workers).collect();
        let is_begun = |host: &RunHost| {
            let (name, packages) = (host.host.name(), &host.facts.packages);
            let known =
                |cluster: &Cluster| cluster.control_plane.contains_key(name) || cluster.workers.contains_key(name);
            self.before.as_ref().is_some_and(known) && packages.keys().any(|package| rules.has_its_version(package))
        };
        let hosts: Vec<&RunHost> =
            all.into_iter().filter_map(|host| scene.hosts.get(host)).filter(|host| !is_begun(host)).collect();
        hosts.into_iter()
    }

    /// Asks them.
    pub(super) fn check_newcomers(&self, scene: &Scene<'_>) -> Vec<Problem> {
        let rules = self.rules(scene.bundle);
        let key = rules.key_package();
        let Hosts { control_plane, .. } = self.hosts();
        let newcomers: Vec<Newcomer<'_>> = self
            .new_hosts(scene)
            .filter(|host| host.host.is_root())
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
