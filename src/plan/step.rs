//! A plan: an ordered set of steps, each *check, apply, verify*.
//!
//! A plan is made by a pure function of request, facts and manifest; it holds no connection and can be printed. What a
//! step does is a [`Work`], which meets its host only when the executor hands it a [`super::Cx`].

use std::collections::BTreeMap;
use std::fmt;

use super::context::Cx;
use super::error::StepError;

/// Names a step within a plan: `HOST/what`, or `/what` for work on the control host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId(String);

impl StepId {
    pub fn on(host: &str, what: &str) -> Self {
        Self(format!("{host}/{what}"))
    }

    pub fn control(what: &str) -> Self {
        Self(format!("/{what}"))
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

/// What a step does.
pub trait Work: Send + Sync + fmt::Debug {
    /// Looks, changes nothing, needs no more than read access.
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError>;

    /// Makes it so. It may be called on a host where an earlier run was killed half way through it.
    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError>;

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
    pub host: Option<String>,
    /// What the operator reads while it runs: "install etcd".
    pub title: String,
    /// Steps that must have ended well before this one starts, beside the earlier ones of its own host.
    pub after: Vec<StepId>,
    /// Its share of the progress, in rough seconds of a common host.
    pub weight: u64,
    pub work: Box<dyn Work>,
}

impl Step {
    pub fn on(host: &str, what: &str, title: impl Into<String>, work: impl Work + 'static) -> Self {
        Self {
            id: StepId::on(host, what),
            host: Some(host.to_owned()),
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

    #[must_use]
    pub fn after(mut self, ids: impl IntoIterator<Item = StepId>) -> Self {
        self.after.extend(ids);
        self
    }

    #[must_use]
    pub fn weight(mut self, weight: u64) -> Self {
        self.weight = weight;
        self
    }
}

/// Steps in order. On one host they run one after another; different hosts run side by side.
#[derive(Debug, Default)]
pub struct Plan {
    pub steps: Vec<Step>,
}

impl Plan {
    pub fn push(&mut self, step: Step) {
        debug_assert!(self.steps.iter().all(|s| s.id != step.id), "step {} twice", step.id);
        self.steps.push(step);
    }

    pub fn extend(&mut self, other: Self) {
        for step in other.steps {
            self.push(step);
        }
    }

    pub fn weight(&self) -> u64 {
        self.steps.iter().map(|s| s.weight).sum()
    }

    /// The weight of each host's own steps; what the control host does is nobody's.
    pub fn weight_by_host(&self) -> BTreeMap<String, u64> {
        let mut weights = BTreeMap::new();
        for step in &self.steps {
            if let Some(host) = &step.host {
                *weights.entry(host.clone()).or_default() += step.weight;
            }
        }
        weights
    }

    /// The last step of every host, for steps that wait for all that went before.
    pub fn last_of_each_host(&self) -> Vec<StepId> {
        let mut last: BTreeMap<Option<&str>, &StepId> = BTreeMap::new();
        for step in &self.steps {
            last.insert(step.host.as_deref(), &step.id);
        }
        last.into_values().cloned().collect()
    }
}

impl fmt::Display for Plan {
    /// A line a step, for snapshots and `-v`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            write!(f, "{}: {}", step.id, step.title)?;
            if !step.after.is_empty() {
                let after: Vec<_> = step.after.iter().map(StepId::as_str).collect();
                write!(f, "  [after {}]", after.join(", "))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
