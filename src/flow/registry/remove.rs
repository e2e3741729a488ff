//! `registry remove`: hosts stop being a registry. The nodes of the cluster forget it, and its images stay.

use std::collections::BTreeSet;

use crate::flow::error::FlowError;
use crate::flow::problem::Problem;
use crate::flow::request::RegistryRemove;
use crate::flow::scene::{Asked, Flow, Scene, Seen};
use crate::flow::{etcd, kubernetes, ownership};
use crate::host::{HostId, Target};
use crate::plan::{Plan, RunReport, Step};
use crate::resource::{Undo, lost};

use super::plan::owned;
use super::state::Registry;

/// Takes the registry off hosts.
#[derive(Debug)]
pub struct Remove {
    request: RegistryRemove,
    known: Option<Registry>,
    /// Hosts that the environment's clusters use too.
    in_use: BTreeSet<HostId>,
}

impl Remove {
    pub fn new(request: RegistryRemove) -> Self {
        Self { request, known: None, in_use: BTreeSet::new() }
    }

    fn leaving(&self) -> Vec<&Target> {
        let Some(known) = &self.known else { return Vec::new() };
        self.request.hosts.iter().filter(|target| known.hosts.contains_key(&target.id())).collect()
    }
}

impl Flow for Remove {
    fn title(&self) -> String {
        let hosts: Vec<HostId> = self.request.hosts.iter().map(Target::id).collect();
        format!("remove the registry from {}", hosts.join(", "))
    }

    fn check_request(&mut self, asked: &Asked<'_>) -> Result<Vec<Problem>, FlowError> {
        let known = Registry::of(asked.environment)?;
        self.in_use = etcd::Cluster::load(asked.environment)?.into_iter().flat_map(|c| c.members.into_keys()).collect();
        if let Some(cluster) = kubernetes::Cluster::load(asked.environment)? {
            self.in_use.extend(cluster.control_plane.into_keys().chain(cluster.workers.into_keys()));
        }
        let others = self.request.hosts.iter().map(Target::id).filter(|host| !known.hosts.contains_key(host));
        let problems = others.map(|host| Problem::info(&host, "has no registry of this environment")).collect();
        self.known = Some(known);
        Ok(problems)
    }

    fn targets(&self) -> Vec<Target> {
        self.leaving().into_iter().cloned().collect()
    }

    fn may_be_dead(&self, host: &str) -> bool {
        self.request.force && self.leaving().iter().any(|target| target.id() == host)
    }

    fn when_dead(&self) -> Option<&'static str> {
        (!self.request.force).then_some("a host that is gone for good is removed with --force")
    }

    fn observe(&mut self, scene: &Scene<'_>, seen: &mut Seen<'_>) -> Result<(), FlowError> {
        let hosts: Vec<HostId> = self.leaving().into_iter().map(Target::id).collect();
        ownership::observe(hosts.iter(), &[], scene, seen)
    }

    fn plan(&mut self, seen: &mut Seen<'_>) -> Result<Plan, FlowError> {
        let mut plan = Plan::default();
        let Some(known) = &self.known else { return Ok(plan) };
        for host in self.leaving().into_iter().map(Target::id) {
            let Some(facts) = seen.facts.get(&host).copied() else { continue };
            let Some(also) = seen.share(&host).undo else { continue };
            let undo = if self.in_use.contains(&host) {
                Undo::Some { owned: lost(owned(known, &host, facts, seen), &[]), also }
            } else {
                Undo::All { also }
            };
            plan.push(Step::on(&host, "registry.undo", "undo the recorded changes", undo).weight(4));
        }
        let mut rest = known.clone();
        self.leaving().into_iter().for_each(|target| drop(rest.hosts.remove(&target.id())));
        seen.registry = Some(rest);
        Ok(plan)
    }

    fn finish(&mut self, scene: &Scene<'_>, report: &RunReport) -> Result<Vec<String>, FlowError> {
        let Some(known) = &self.known else { return Ok(Vec::new()) };
        // A host whose steps did not all end well stays in the list: the same line goes on with it.
        let leaving = self.leaving().into_iter().map(Target::id);
        let gone: Vec<HostId> = leaving.filter(|host| report.control_ok && !report.failed(host)).collect();
        let mut now = Registry::load(scene.environment)?.unwrap_or_else(|| known.clone());
        now.hosts.retain(|host, _| !gone.contains(host));
        if now.hosts.is_empty() {
            Registry::forget(scene.environment)?;
        } else {
            now.save(scene.environment)?;
        }
        let said = |host: &HostId| match scene.hosts.contains_key(host) {
            true => format!("registry: removed from {host}; its images are still in {}", known.storage),
            false => format!(
                "registry: removed {host}, which was not reached: nothing was undone on it; `cluster reset --host {host}` \
                 gives it back when it is up again"
            ),
        };
        Ok(gone.iter().map(said).collect())
    }
}
