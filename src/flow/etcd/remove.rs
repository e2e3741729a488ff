//! `etcd remove`: members leave a cluster that keeps its quorum; their data is set aside on their hosts, not deleted.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::flow::error::FlowError;
use crate::flow::kubernetes;
use crate::flow::ownership;
use crate::flow::problem::Problem;
use crate::flow::registry::Registry;
use crate::flow::request::EtcdChange;
use crate::flow::retry::{self, Patience};
use crate::flow::scene::{Asked, Flow, Scene, Seen};
use crate::flow::state::Environment;
use crate::host::{Command, Facts, HostId, Target};
use crate::plan::{Check, Cx, Plan, RunReport, Step, StepError, Work};
use crate::resource::{Undo, lost};

use super::client::{Client, EtcdError};
use super::config::DATA_DIR;
use super::plan::owned;
use super::probe::{Found, MARK, MarkData};
use super::state::Cluster;
use super::status::no_cluster;

/// Removes members.
#[derive(Debug)]
pub struct Remove {
    request: EtcdChange,
    known: Option<Cluster>,
    /// Hosts that the environment's Kubernetes cluster or its registry uses too.
    in_use: BTreeSet<HostId>,
}

impl Remove {
    pub fn new(request: EtcdChange) -> Self {
        Self { request, known: None, in_use: BTreeSet::new() }
    }

    fn leaving(&self) -> Vec<&Target> {
        let Some(known) = &self.known else { return Vec::new() };
        self.request.members.iter().filter(|t| known.members.contains_key(&t.id())).collect()
    }

    fn rest(&self, known: &Cluster) -> Cluster {
        let mut rest = known.clone();
        for target in &self.request.members {
            rest.members.remove(&target.id());
        }
        rest
    }

    /// What is removed from a host: everything when nothing else of ours runs there; nothing where the host is left alone.
    fn undo(&self, known: &Cluster, host: &HostId, facts: &Facts, seen: &Seen<'_>) -> Option<Undo> {
        let also = seen.share(host).undo?;
        Some(if self.in_use.contains(host) {
            Undo::Some { owned: lost(owned(known, host, facts, seen), &[]), also }
        } else {
            Undo::All { also }
        })
    }
}

/// The members that stay can decide without those that leave, at every moment of it.
fn check_quorum(known: &Cluster, rest: &Cluster, client: &Client<'_>) -> Result<(), Problem> {
    let healthy = |cluster: &Cluster| -> Vec<(HostId, Result<(), String>)> {
        cluster.members.iter().map(|(host, m)| (host.clone(), client.health(&known.client_url(m.address)))).collect()
    };
    let (all, stay) = (healthy(known), healthy(rest));
    let up = |members: &[(HostId, Result<(), String>)]| members.iter().filter(|(_, h)| h.is_ok()).count();
    let quorum = |members: &[(HostId, Result<(), String>)]| members.len() / 2 + 1;
    if up(&all) >= quorum(&all) && up(&stay) >= quorum(&stay) {
        return Ok(());
    }
    let down: Vec<String> =
        all.iter().filter_map(|(h, r)| r.as_ref().err().map(|why| format!("{h} ({why})"))).collect();
    let text = format!(
        "the etcd cluster would lose its quorum: of {} member(s) that stay {} answer(s), {} are needed; not healthy: {}",
        stay.len(),
        up(&stay),
        quorum(&stay),
        down.join(", ")
    );
    Err(Problem {
        host: None,
        level: crate::plan::Level::Error,
        text,
        help: Some("bring the members that are down back first: `etcd status` shows them".to_owned()),
    })
}

impl Flow for Remove {
    fn title(&self) -> String {
        let hosts: Vec<HostId> = self.request.members.iter().map(Target::id).collect();
        format!("remove {} from the etcd cluster", hosts.join(", "))
    }

    fn check_request(&mut self, asked: &Asked<'_>) -> Result<Vec<Problem>, FlowError> {
        let known = Cluster::load(asked.environment)?.ok_or_else(|| no_cluster(asked.environment))?;
        if self.rest(&known).members.is_empty() {
            return Err(FlowError::request_with_help(
                "these are all members of the etcd cluster: with the last one its data would be gone",
                "leave one, or reset all hosts with `cluster reset`",
            ));
        }
        if let Some(cluster) = kubernetes::Cluster::load(asked.environment)? {
            self.in_use = cluster.control_plane.into_keys().chain(cluster.workers.into_keys()).collect();
        }
        self.in_use.extend(Registry::hosts_of(asked.environment)?);
        let hosts = self.request.members.iter().map(Target::id);
        let gone = hosts.filter(|h| !known.members.contains_key(h));
        let problems = gone.map(|h| Problem::info(&h, "is no member of the etcd cluster")).collect();
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

    fn preflight(&self, scene: &Scene<'_>) -> Result<Vec<Problem>, FlowError> {
        let Some(known) = self.known.as_ref().filter(|_| !self.leaving().is_empty()) else { return Ok(Vec::new()) };
        let client = Client::open(scene.environment, known, Patience::ONCE)?;
        let rest = self.rest(known);
        // A member is not healthy while a leader is being chosen.
        let quorum = retry::repeat(Patience::SHORT, |_| true, || check_quorum(known, &rest, &client));
        Ok(quorum.err().map(|gave_up| gave_up.error).into_iter().collect())
    }

    fn observe(&mut self, scene: &Scene<'_>, seen: &mut Seen<'_>) -> Result<(), FlowError> {
        let hosts: Vec<HostId> = self.leaving().into_iter().map(Target::id).collect();
        ownership::observe(hosts.iter(), &[], scene, seen)
    }

    fn plan(&mut self, seen: &mut Seen<'_>) -> Result<Plan, FlowError> {
        let mut plan = Plan::default();
        let Some(known) = &self.known else { return Ok(plan) };
        let rest = self.rest(known);
        seen.etcd = Some(rest.clone());
        let access = Arc::new((seen.environment.clone(), rest));
        for target in self.leaving() {
            let host = target.id();
            let Some(member) = known.members.get(&host) else { continue };
            let leave = Leave { access: Arc::clone(&access), peer_url: known.peer_url(member.address) };
            let title = format!("take {} out of the etcd cluster", member.name);
            let step = Step::control(&format!("etcd.leave.{host}"), title, leave).weight(2);
            let left = step.id.clone();
            plan.push(step);
            let facts = seen.facts.get(&host).copied();
            if let Some(undo) = facts.and_then(|facts| self.undo(known, &host, facts, seen)) {
                let token = known.token.clone();
                let mark = MarkData { token: token.clone() };
                plan.push(Step::on(&host, "etcd.mark", "mark etcd's data as this cluster's", mark).after([left]));
                plan.push(Step::on(&host, "etcd.undo", "undo the recorded changes", undo).weight(4));
                plan.push(Step::on(&host, "etcd.aside", "set the member's data aside", SetAside { token }));
            }
        }
        Ok(plan)
    }

    fn finish(&mut self, scene: &Scene<'_>, report: &RunReport) -> Result<Vec<String>, FlowError> {
        let Some(known) = &self.known else { return Ok(Vec::new()) };
        let mut now = Cluster::load(scene.environment)?.unwrap_or_else(|| known.clone());
        let gone: Vec<HostId> = self.leaving().into_iter().map(Target::id).collect();
        let gone: Vec<HostId> = gone.into_iter().filter(|h| report.control_ok && !report.failed(h)).collect();
        now.members.retain(|host, _| !gone.contains(host));
        now.save(scene.environment)?;
        if gone.is_empty() {
            return Ok(Vec::new());
        }
        Ok(vec![format!("etcd: removed {}; there are {} member(s)", gone.join(", "), now.members.len())])
    }
}

/// The cluster knows no member of this peer URL.
#[derive(Debug)]
struct Leave {
    /// The environment and the members that stay.
    access: Arc<(Environment, Cluster)>,
    peer_url: String,
}

impl Leave {
    fn client<'a>(&self, cx: &Cx<'a>) -> Result<Client<'a>, StepError> {
        let (environment, rest) = &*self.access;
        let client = Client::open(environment, rest, Patience::of_step(cx));
        client.map_err(|e| StepError::failed(e.to_string()))
    }
}

fn unanswered(why: &EtcdError) -> StepError {
    StepError::with_help(
        format!("no etcd member that stays answers the control host: {why}"),
        "the control host must reach port 2379 of a member; `etcd status` shows them",
    )
}

impl Work for Leave {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let change = |id| vec![format!("remove member {id} ({})", self.peer_url)];
        let found = self.client(cx)?.find(&self.peer_url).map_err(|why| unanswered(&why))?;
        Ok(found.map_or(Check::Satisfied, |id| Check::Needed(change(id))))
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let removed = self.client(cx)?.remove(&self.peer_url);
        removed.map_err(|why| StepError::failed(format!("member {} cannot be removed: {why}", self.peer_url)))
    }

    fn verify(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        self.client(cx)?.await_removed(&self.peer_url).map_err(|why| unanswered(&why))
    }
}

/// A removed member's data can never be used by its cluster again; in its place it would stop a new member from starting.
#[derive(Debug)]
struct SetAside {
    token: String,
}

/// `$1` folder, `$2` mark.
const SET_ASIDE: &str = r#"mv -T -- "$1" "${1%/*}/removed-$(date +%Y%m%d-%H%M%S)" && rm -f -- "$2""#;

impl Work for SetAside {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let there = Found::on(cx.host()?)?.is_of(Some(&self.token));
        Ok(if there { Check::Needed(vec![format!("rename {DATA_DIR}")]) } else { Check::Satisfied })
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let aside = Command::script(SET_ASIDE).args([DATA_DIR, MARK]);
        cx.host()?.run_ok(&aside.label("set etcd's data aside"))?;
        Ok(())
    }
}
