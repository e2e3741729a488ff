//! Content that is made on the control host while a plan runs: keys, certificates, and what holds them. A plan names it;
//! [`MakeAll`] makes it before the first step that needs it; whoever writes it to a host reads it then.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;

use crate::host::Secret;

use super::context::Cx;
use super::error::StepError;
use super::step::{Check, Edge, Plan, Step, Work};

/// Something that the control host makes once and keeps.
pub trait Made: Debug + Send + Sync {
    /// What it is, as a plan names it: `etcd/member-host0.key`.
    fn name(&self) -> String;

    /// Its content; `None` while something of it has not been made.
    ///
    /// # Errors
    /// When what is kept cannot be read.
    fn content(&self) -> Result<Option<Secret>, StepError>;

    /// What has to be made for it, each as an operator reads it; nothing when all of it is kept.
    ///
    /// # Errors
    /// As [`Made::content`].
    fn missing(&self) -> Result<Vec<String>, StepError>;

    /// Makes what is missing, and keeps it.
    ///
    /// # Errors
    /// When it cannot be made or kept.
    fn make(&self) -> Result<(), StepError>;
}

/// All of it is made and kept.
#[derive(Debug)]
struct MakeAll(Vec<Arc<dyn Made>>);

impl Work for MakeAll {
    fn check(&self, _: &Cx<'_>) -> Result<Check, StepError> {
        let mut missing = BTreeSet::new();
        for made in &self.0 {
            missing.extend(made.missing()?);
        }
        Ok(Check::from_changes(missing.into_iter().collect()))
    }

    fn apply(&self, _: &Cx<'_>) -> Result<(), StepError> {
        self.0.iter().try_for_each(|made| made.make())
    }
}

/// The plan with a step of the control host in front that makes what its steps need; the same plan when they need nothing.
pub fn make_first(what: &str, title: &str, mut plan: Plan) -> Plan {
    let mut made: BTreeMap<String, Arc<dyn Made>> = BTreeMap::new();
    let mut waiting = Vec::new();
    for (place, step) in plan.steps.iter().enumerate() {
        let needs = step.work.needs();
        if !needs.is_empty() {
            waiting.push(place);
        }
        made.extend(needs.into_iter().map(|needed| (needed.name(), needed)));
    }
    if made.is_empty() {
        return plan;
    }
    let make = Step::control(what, title, MakeAll(made.into_values().collect()));
    for place in waiting {
        plan.steps[place].after.push(Edge::After(make.id.clone()));
    }
    plan.steps.insert(0, make);
    plan
}
