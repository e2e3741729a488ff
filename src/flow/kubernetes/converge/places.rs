//! A run's hosts: their roles, what they are called and where they are reached, as they answered.

use std::collections::BTreeSet;

use payload::Bundle;

use super::super::plan::Hosts;
use super::super::state::{Cluster, Machine};
use super::super::{families, version};
use super::Converge;
use crate::flow::error::FlowError;
use crate::flow::rpms;
use crate::flow::scene::{Flow, Seen};
use crate::host::{HostId, Target};

impl Converge {
    /// The hosts of this run by their roles: what a host was before this run it stays.
    pub(super) fn hosts(&self) -> Hosts {
        let names = |targets: &[Target]| -> BTreeSet<HostId> { targets.iter().map(Target::id).collect() };
        let (mut control_plane, mut workers) = (names(&self.control_plane), names(&self.workers));
        for host in self.targets().iter().map(Target::id) {
            let known = self.before.as_ref();
            if known.is_some_and(|k| k.control_plane.contains_key(&host)) {
                control_plane.insert(host.clone());
            }
            if known.is_some_and(|k| k.workers.contains_key(&host)) {
                workers.insert(host);
            }
        }
        Hosts { control_plane, workers }
    }

    /// Whether networks, distribution and the named hosts have families of addresses in common.
    pub(super) fn check_families(&self, bundle: Option<&Bundle>) -> Result<(), FlowError> {
        let settings = self.settings();
        let is_new = |target: &&Target| {
            let id = target.id();
            let has = |known: &Cluster| known.control_plane.contains_key(&id) || known.workers.contains_key(&id);
            !self.before.as_ref().is_some_and(has)
        };
        families::check_named(self.placed().iter().filter(is_new), &settings)?;
        if self.before.is_some() {
            return Ok(());
        }
        let rules = self.rules(bundle);
        let version = rpms::version(rules.key_package(), &self.control_plane_packages, bundle);
        rules.check_families(&settings, version.and_then(|version| version::minor(&version)))
    }

    /// The hosts that this run gives a place.
    pub(super) fn placed(&self) -> Vec<Target> {
        let mut seen = BTreeSet::new();
        let all = self.control_plane.iter().chain(&self.workers);
        all.filter(|target| seen.insert(target.id())).cloned().collect()
    }

    /// Names and addresses of this run's hosts, as they answered.
    pub(super) fn place(&self, cluster: &mut Cluster, seen: &Seen<'_>) -> Result<(), FlowError> {
        for target in &self.control_plane {
            let placed = machine(target, cluster, cluster.control_plane.get(&target.id()), seen)?;
            cluster.control_plane.insert(target.id(), placed);
        }
        for target in &self.workers {
            let known = cluster.workers.get(&target.id()).map(|node| &node.machine);
            let placed = machine(target, cluster, known, seen)?;
            if let Some(node) = cluster.workers.get_mut(&target.id()) {
                node.machine = placed;
            }
        }
        Ok(())
    }
}

/// `known`: as the cluster has it.
fn machine(target: &Target, cluster: &Cluster, known: Option<&Machine>, seen: &Seen<'_>) -> Result<Machine, FlowError> {
    let host = target.id();
    let Some(facts) = seen.facts.get(&host).copied() else {
        return Err(FlowError::Failed { error: format!("{host} has not been looked at"), help: None });
    };
    families::machine(target, facts, cluster, known).map_err(|family| {
        let problem = families::lacking(&host, facts, target, family);
        FlowError::Failed { error: problem.line(), help: problem.help }
    })
}
