//! `cluster remove`: hosts are drained, taken out of the cluster and restored. No control plane node is special; the
//! last one cannot be removed.

use std::sync::Arc;
use std::time::Duration;

use crate::flow::error::FlowError;
use crate::flow::etcd;
use crate::flow::ownership;
use crate::flow::problem::Problem;
use crate::flow::registry::{Registries, Site};
use crate::flow::request::ClusterRemove;
use crate::flow::scene::{Asked, Flow, Scene, Seen};
use crate::host::{Facts, HostId, Target};
use crate::plan::{Plan, RunReport, Step, StepId};
use crate::resource::{Undo, lost};

use super::cluster_sync::TellOfHosts;
use super::converge::no_cluster;
use super::drain::{Access, DeleteNode, Drain};
use super::plan::owned;
use super::state::{Cluster, Machine};
use super::teardown::Teardown;

/// How long a drain may take when nothing is said.
const DRAIN: Duration = Duration::from_secs(300);

/// Removes hosts from the environment's cluster.
#[derive(Debug)]
pub struct Remove {
    request: ClusterRemove,
    known: Option<Cluster>,
    /// Hosts that stay members of the environment's etcd cluster.
    members: Vec<HostId>,
    /// Which hosts that lose a role no longer trust.
    registries: Registries,
}

impl Remove {
    pub fn new(request: ClusterRemove) -> Self {
        Self { request, known: None, members: Vec::new(), registries: Registries::default() }
    }

    /// The hosts that lose a role in this run, with their credentials.
    fn leaving(&self) -> Vec<&Target> {
        let mut targets: Vec<&Target> = Vec::new();
        for target in self.known.iter().flat_map(|known| self.leaving_of(known)) {
            if targets.iter().all(|t| !t.same_host(target)) {
                targets.push(target);
            }
        }
        targets
    }

    fn leaving_of<'a>(&'a self, known: &'a Cluster) -> impl Iterator<Item = &'a Target> {
        let control_plane = self.request.control_plane.iter().filter(|t| known.control_plane.contains_key(&t.id()));
        let workers = self.request.workers.iter().filter(|t| known.workers.contains_key(&t.id()));
        control_plane.chain(workers)
    }

    /// The cluster without them.
    fn rest(&self, known: &Cluster) -> Cluster {
        let mut rest = known.clone();
        for target in &self.request.control_plane {
            rest.control_plane.remove(&target.id());
        }
        for target in &self.request.workers {
            rest.workers.remove(&target.id());
        }
        rest
    }

    /// What is removed from one host: everything when it keeps no role, else what none of its other roles has; nothing where it
    /// is left alone.
    fn undo(&self, known: &Cluster, rest: &Cluster, host: &HostId, facts: &Facts, seen: &Seen<'_>) -> Option<Undo> {
        let also = seen.share(host).undo?;
        let keeps_role = rest.control_plane.contains_key(host) || rest.workers.contains_key(host);
        let is_registry = self.registries.own.as_ref().is_some_and(|registry| registry.hosts.contains_key(host));
        if !keeps_role && !is_registry && !self.members.iter().any(|m| m == host) {
            return Some(Undo::All { also });
        }
        Some(Undo::Some { owned: lost(owned(known, host, facts, seen), &owned(rest, host, facts, seen)), also })
    }

    /// What the API knows the host as, where it leaves as a node: pods of the control plane make one of it too.
    fn node<'c>(&self, known: &'c Cluster, host: &HostId) -> Option<&'c Machine> {
        let worker = || known.workers.get(host).map(|node| &node.machine);
        let named = |targets: &[Target]| targets.iter().any(|t| t.id() == *host);
        if known.distribution.rules().runs_control_plane() {
            return known.control_plane.get(host).or_else(worker);
        }
        worker().filter(|_| named(&self.request.workers))
    }

    fn push_host(&self, plan: &mut Plan, known: &Cluster, access: &Arc<Access>, host: &HostId, seen: &Seen<'_>) {
        let node = self.node(known, host);
        let facts = seen.facts.get(host).copied();
        let drained = StepId::control(&format!("drain.{host}"));
        if let Some(node) = node {
            let drain = Drain {
                access: Arc::clone(access),
                node: node.name.clone(),
                timeout: self.request.drain_timeout.unwrap_or(DRAIN),
            };
            plan.push(Step::control(&format!("drain.{host}"), format!("drain node {}", drain.node), drain).weight(10));
        }
        let share = seen.share(host);
        let teardown = share.undo.filter(|_| facts.is_some() && node.is_some() && share.node);
        let is_torn_down = teardown.is_some();
        if let Some(also) = teardown {
            let stop = Step::on(host, "node.teardown", "remove what Kubernetes created", Teardown { also });
            plan.push(stop.after([drained]).weight(5));
        }
        if let Some(undo) = facts.and_then(|facts| self.undo(known, &access.cluster, host, facts, seen)) {
            plan.push(Step::on(host, "host.undo", "undo the recorded changes", undo).weight(8));
        }
        if let Some(node) = node {
            let delete = DeleteNode { access: Arc::clone(access), node: node.name.clone() };
            let title = format!("delete node {}", delete.node);
            let step = Step::control(&format!("delete.{host}"), title, delete);
            // A host that is gone for good, or is another's by now, is not torn down.
            plan.push(step.after(is_torn_down.then(|| StepId::on(host, "node.teardown"))));
        }
    }
}

impl Flow for Remove {
    fn title(&self) -> String {
        let (control_plane, workers) = (self.request.control_plane.len(), self.request.workers.len());
        format!("remove {control_plane} control plane node(s), {workers} worker node(s) from the Kubernetes cluster")
    }

    fn check_request(&mut self, asked: &Asked<'_>) -> Result<Vec<Problem>, FlowError> {
        let known = Cluster::load(asked.environment)?.ok_or_else(|| no_cluster(asked.environment))?;
        let going: Vec<HostId> = self.request.etcd.iter().map(Target::id).collect();
        let etcd = etcd::Cluster::load(asked.environment)?.map(|c| c.members).unwrap_or_default();
        self.members = etcd.into_keys().filter(|m| !going.contains(m)).collect();
        self.registries = Registries::load(asked.environment)?;
        if self.rest(&known).control_plane.is_empty() {
            let last: Vec<_> = known.control_plane.keys().map(HostId::as_str).collect();
            return Err(FlowError::request_with_help(
                format!("{}: a cluster cannot do without its last control plane node", last.join(", ")),
                "add another control plane node first; `cluster reset` resets all hosts",
            ));
        }
        if known.distribution.rules().runs_control_plane() {
            let rest = self.rest(&known);
            let keeps = |host: &HostId| rest.control_plane.contains_key(host) || rest.workers.contains_key(host);
            let half: Vec<String> = self.leaving_of(&known).map(Target::id).filter(keeps).map(String::from).collect();
            if !half.is_empty() {
                return Err(FlowError::request_with_help(
                    format!("{}: with kubeadm's packages a host leaves with all of its roles", half.join(", ")),
                    "name it with --master and with --node",
                ));
            }
        }
        let missing = |targets: &[Target], there: &dyn Fn(&str) -> bool, what: &str| -> Vec<Problem> {
            let gone = targets.iter().map(Target::id).filter(|h| !there(h));
            gone.map(|h| Problem::info(&h, format!("is no {what} of the cluster"))).collect()
        };
        let mut problems =
            missing(&self.request.control_plane, &|h| known.control_plane.contains_key(h), "control plane node");
        problems.extend(missing(&self.request.workers, &|h| known.workers.contains_key(h), "worker node"));
        self.known = Some(known);
        Ok(problems)
    }

    fn targets(&self) -> Vec<Target> {
        self.leaving().into_iter().cloned().collect()
    }

    fn may_be_dead(&self, host: &str) -> bool {
        self.request.force && self.leaving().iter().any(|t| t.id() == host)
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
        let leaving = self.leaving();
        let rest = self.rest(known);
        seen.cluster = Some(rest.clone());
        seen.registry.clone_from(&self.registries.own);
        seen.site_registry = Some(Site(self.registries.site.clone()));
        if leaving.is_empty() {
            return Ok(plan);
        }
        let access = Arc::new(Access { pki: seen.pki.clone(), cluster: rest, force: self.request.force });
        for target in leaving {
            self.push_host(&mut plan, known, &access, &target.id(), seen);
        }
        if known.keeps_list() {
            let publish = TellOfHosts { access };
            plan.push(Step::control("cluster.publish", "publish the list of the cluster's hosts", publish));
        }
        Ok(plan)
    }

    fn finish(&mut self, scene: &Scene<'_>, report: &RunReport) -> Result<Vec<String>, FlowError> {
        let Some(known) = &self.known else { return Ok(Vec::new()) };
        // A host whose steps did not all end well stays in the list: the same line goes on with it.
        let mut now = Cluster::load(scene.environment)?.unwrap_or_else(|| known.clone());
        let mut gone = Vec::new();
        for target in self.leaving() {
            let host = target.id();
            if report.failed(&host) || !report.control_ok {
                continue;
            }
            if self.request.control_plane.iter().any(|t| t.same_host(target)) {
                now.control_plane.remove(&host);
            }
            if self.request.workers.iter().any(|t| t.same_host(target)) {
                now.workers.remove(&host);
            }
            let left =
                if scene.hosts.contains_key(&host) { "" } else { " (it was not reached: nothing was undone on it)" };
            gone.push(format!("{host}{left}"));
        }
        now.save(scene.environment)?;
        let (control_plane, workers) = (now.control_plane.len(), now.workers.len());
        let mut advice = Vec::new();
        if !gone.is_empty() {
            advice.push(format!(
                "Kubernetes: removed {}; there are {control_plane} control plane node(s), {workers} worker node(s)",
                gone.join(", ")
            ));
        }
        if gone.iter().any(|g| g.contains("not reached")) {
            advice.push(
                "a host that was not reached: `cluster reset --host HOST` gives it back when it is up again".into(),
            );
        }
        Ok(advice)
    }
}
