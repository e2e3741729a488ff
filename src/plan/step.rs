//! A plan: an ordered set of steps, each *check, apply, verify*.
//!
//! A plan is made by a pure function of request, facts and manifest; it holds no connection and can be printed. What a
//! step does is a [`Work`], which meets its host only when the executor hands it a [`super::Cx`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::host::HostId;

use super::context::Cx;
use super::error::StepError;
use super::made::Made;

/// Names a step within a plan: `HOST/what`, or `/what` for work on the control host.
///
/// Many steps wait for the same few: a clone shares the text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId(Arc<str>);

impl StepId {
    pub fn on(host: &HostId, what: &str) -> Self {
        Self(format!("{host}/{what}").into())
    }

    pub fn control(what: &str) -> Self {
        Self(format!("/{what}").into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a step waits for, beside the earlier steps of its own lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edge {
    /// That step is in the plan; a plan without it is wrong, and is not run.
    After(StepId),
    /// That step may have been left out, since it is not needed; then nothing is waited for.
    AfterIfPresent(StepId),
}

impl Edge {
    /// The step that is waited for.
    pub fn id(&self) -> &StepId {
        match self {
            Self::After(id) | Self::AfterIfPresent(id) => id,
        }
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// Nothing to do.
    Satisfied,
    /// These changes are wanted, each a line an operator reads (`--dry-run` prints them).
    Needed(Vec<String>),
}

impl Check {
    /// [`Check::Satisfied`] when there is nothing to change.
    pub fn from_changes(changes: Vec<String>) -> Self {
        if changes.is_empty() { Self::Satisfied } else { Self::Needed(changes) }
    }
}

/// Something on a host that belongs to a step, by the kind and name under which it is recorded there.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owned {
    pub kind: &'static str,
    pub name: String,
}

impl Owned {
    /// The name that stands for every object of the kind: those whose names only the host knows.
    pub const EVERY: &'static str = "*";
}

impl fmt::Display for Owned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

impl fmt::Debug for Owned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a step does.
pub trait Work: Send + Sync + fmt::Debug {
    /// Looks, changes nothing, needs no more than read access.
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError>;

    /// Makes it so. It may be called on a host where an earlier run was killed half way through it.
    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError>;

    /// What must have been made on the control host before it is applied.
    fn needs(&self) -> Vec<Arc<dyn Made>> {
        Vec::new()
    }

    /// What it puts on its host that a later run may have to remove.
    fn owns(&self) -> Vec<Owned> {
        Vec::new()
    }

    /// Proves that it is so now. Checking again is the proof unless a step knows a better one.
    fn verify(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        match self.check(cx)? {
            Check::Satisfied => Ok(()),
            Check::Needed(changes) => Err(StepError::NotVerified(changes)),
        }
    }
}

/// One step of a plan.
#[derive(Debug)]
pub struct Step {
    pub id: StepId,
    /// The host it runs on; `None` is the control host.
    pub host: Option<HostId>,
    /// What the operator reads while it runs: "install etcd".
    pub title: String,
    /// Steps that must have ended well before this one starts, beside the earlier ones of its own host.
    pub after: Vec<Edge>,
    /// Its share of the progress, in rough seconds of a common host.
    pub weight: u64,
    pub work: Box<dyn Work>,
}

impl Step {
    pub fn on(host: &HostId, what: &str, title: impl Into<String>, work: impl Work + 'static) -> Self {
        Self {
            id: StepId::on(host, what),
            host: Some(host.clone()),
            title: title.into(),
            after: Vec::new(),
            weight: 1,
            work: Box::new(work),
        }
    }

    pub fn control(what: &str, title: impl Into<String>, work: impl Work + 'static) -> Self {
        Self {
            id: StepId::control(what),
            host: None,
            title: title.into(),
            after: Vec::new(),
            weight: 1,
            work: Box::new(work),
        }
    }

    /// Waits for these steps, which the plan must have.
    #[must_use]
    pub fn after(mut self, ids: impl IntoIterator<Item = StepId>) -> Self {
        self.after.extend(ids.into_iter().map(Edge::After));
        self
    }

    /// Waits for those of these steps that the plan has: another operation of the same job may have brought them, or not.
    #[must_use]
    pub fn after_if_present(mut self, ids: impl IntoIterator<Item = StepId>) -> Self {
        self.after.extend(ids.into_iter().map(Edge::AfterIfPresent));
        self
    }

    #[must_use]
    pub fn weight(mut self, weight: u64) -> Self {
        self.weight = weight;
        self
    }
}

/// Steps in order. On one host they run one after another; different hosts run concurrently. Identifiers and edges are
/// checked when it is run.
#[derive(Debug, Default)]
pub struct Plan {
    pub steps: Vec<Step>,
}

impl Plan {
    pub fn push(&mut self, step: Step) {
        self.steps.push(step);
    }

    pub fn extend(&mut self, other: Self) {
        self.steps.extend(other.steps);
    }

    pub fn weight(&self) -> u64 {
        self.steps.iter().map(|s| s.weight).sum()
    }

    /// The weight of each host's own steps; what the control host does is nobody's.
    pub fn weight_by_host(&self) -> BTreeMap<HostId, u64> {
        let mut weights = BTreeMap::new();
        for step in &self.steps {
            if let Some(host) = &step.host {
                // Most steps belong to a host that is there already, and need no clone of its name.
                match weights.get_mut(host) {
                    Some(weight) => *weight += step.weight,
                    None => drop(weights.insert(host.clone(), step.weight)),
                }
            }
        }
        weights
    }
}

impl fmt::Display for Plan {
    /// A line a step, for snapshots and `-v`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            write!(f, "{}: {}", step.id, step.title)?;
            if !step.after.is_empty() {
                let after: Vec<_> = step.after.iter().map(|edge| edge.id().as_str()).collect();
                write!(f, "  [after {}]", after.join(", "))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Work that has nothing to do.
    #[derive(Debug)]
    pub(in crate::plan) struct Nothing;

    impl Work for Nothing {
        fn check(&self, _: &Cx<'_>) -> Result<Check, StepError> {
            Ok(Check::Satisfied)
        }

        fn apply(&self, _: &Cx<'_>) -> Result<(), StepError> {
            Ok(())
        }
    }

    #[test]
    fn a_plan_prints_what_waits_for_what() {
        let mut plan = Plan::default();
        plan.push(Step::on(&"a".into(), "start", "start it", Nothing).weight(2));
        plan.push(Step::control("tell", "tell it", Nothing).after([StepId::on(&"a".into(), "start")]).weight(3));
        plan.push(Step::on(&"a".into(), "end", "end it", Nothing).after_if_present([StepId::control("x")]));
        assert_eq!(plan.to_string(), "a/start: start it\n/tell: tell it  [after a/start]\na/end: end it  [after /x]\n");
        assert_eq!((plan.weight(), plan.weight_by_host()), (6, BTreeMap::from([("a".into(), 3)])));
    }
}
