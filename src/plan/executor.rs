//! Runs a plan.
//!
//! 1. Every host works through its own steps in order; hosts run concurrently, `forks` of them at once.
//! 2. A step also waits for the steps it names in `after`, wherever they run.
//! 3. A step is *check*; when needed *apply*, then *verify*. What holds is skipped.
//! 4. A failed step ends its own host's lane and blocks what waits for it, nothing else.
//! 5. An interrupt lets running steps end and starts no other.
//!
//! Which step is next is decided by [`super::scheduler`] over the edges that [`super::graph`] resolved.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::host::{HostError, HostId};

use super::context::{Cx, Interrupt, RunHosts};
use super::error::{PlanError, StepError};
use super::event::{Event, Events, Failure, HostResult, HostState, Outcome};
use super::graph::Graph;
use super::scheduler::{Board, Runner, State, drive};
use super::step::{Check, Plan, Step};

/// How a plan went.
#[derive(Debug)]
pub struct RunReport {
    pub hosts: Vec<HostResult>,
    pub interrupted: bool,
    pub ok: bool,
    /// Every step of the control host ended well.
    pub control_ok: bool,
}

impl RunReport {
    /// Whether a host was part of the run and all its steps ended well.
    pub fn succeeded(&self, host: &HostId) -> bool {
        self.hosts.iter().any(|h| h.host == *host && h.result == HostState::Ok)
    }

    /// Whether a host was part of the run and not all its steps ended well.
    pub fn failed(&self, host: &HostId) -> bool {
        self.hosts.iter().any(|h| h.host == *host && h.result != HostState::Ok)
    }

    /// Whether that is so of any host.
    pub fn any_failed(&self) -> bool {
        self.hosts.iter().any(|h| h.result != HostState::Ok)
    }
}

/// How to run a plan.
#[derive(Debug, Clone, Copy)]
pub struct RunMode {
    /// Steps run at once, each on another host.
    pub forks: usize,
    /// Check only, and tell what would change.
    pub dry_run: bool,
}

/// Runs every step of `plan` on `hosts`.
///
/// # Errors
/// When the plan's edges cannot be resolved; no step was begun.
pub fn run(
    plan: &Plan,
    hosts: &RunHosts,
    events: &Events,
    interrupt: &Interrupt,
    mode: RunMode,
) -> Result<RunReport, PlanError> {
    let work = |step: &Step| run_step(step, hosts, events, interrupt, mode.dry_run);
    let mut report = run_with(plan, events, interrupt, mode.forks, &work)?;
    for result in &mut report.hosts {
        result.route = hosts.get(&result.host).and_then(super::context::RunHost::route);
    }
    Ok(report)
}

/// Schedules every step of `plan`; what running a step means is `work`'s matter, `forks` of them at once. For [`run`], and
/// to see what scheduling itself does and costs.
///
/// # Errors
/// As [`run`].
pub fn run_with(
    plan: &Plan,
    events: &Events,
    interrupt: &Interrupt,
    forks: usize,
    work: &(dyn Fn(&Step) -> Outcome + Sync),
) -> Result<RunReport, PlanError> {
    let graph = Graph::resolve(plan)?;
    events.send(&Event::Planned { steps: plan.steps.len(), weight: plan.weight(), hosts: plan.weight_by_host() });
    let running =
        Running { plan, graph: &graph, events, work, lanes: Mutex::new(vec![Lane::default(); graph.lanes()]) };
    let board = drive(&graph, forks, interrupt, &running);
    Ok(running.report(&board, interrupt.is_set()))
}

/// What a lane's steps came to.
#[derive(Debug, Clone, Default)]
struct Lane {
    changed: usize,
    took_ms: u64,
    /// Its failed step, if one failed, and whether that lost the host.
    failed: Option<bool>,
    /// The failed step's own words when it could not even begin.
    not_begun: Option<String>,
}

struct Running<'a> {
    plan: &'a Plan,
    graph: &'a Graph,
    events: &'a Events,
    work: &'a (dyn Fn(&Step) -> Outcome + Sync),
    lanes: Mutex<Vec<Lane>>,
}

impl Runner for Running<'_> {
    fn run(&self, index: usize) -> bool {
        let step = &self.plan.steps[index];
        let begun = Instant::now();
        // A step that panics must not leave the others waiting for it forever.
        let outcome = catch_unwind(AssertUnwindSafe(|| (self.work)(step))).unwrap_or_else(|_| ended_unexpectedly());
        let took = begun.elapsed();
        let good = matches!(outcome, Outcome::Satisfied | Outcome::Changed);
        self.keep(index, &outcome, took);
        self.send_finished(step, outcome, took);
        good
    }

    fn blocked(&self, index: usize, cause: usize) {
        let own_words = self.lanes()[self.graph.lane_of(cause)].not_begun.clone();
        let step = &self.plan.steps[cause];
        let by = own_words.unwrap_or_else(|| match &step.host {
            Some(host) => format!("{} on {host} failed", step.title),
            None => format!("{} failed", step.title),
        });
        self.send_finished(&self.plan.steps[index], Outcome::Blocked { by }, Duration::ZERO);
    }
}

impl Running<'_> {
    fn lanes(&self) -> MutexGuard<'_, Vec<Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, index: usize, outcome: &Outcome, took: Duration) {
        let lane = &mut self.lanes()[self.graph.lane_of(index)];
        lane.took_ms += millis(took);
        match outcome {
            Outcome::Satisfied => {}
            Outcome::Changed => lane.changed += 1,
            Outcome::Failed { failure } => lane.failed = Some(failure.unreachable),
            Outcome::Blocked { by } => lane.not_begun = Some(by.clone()),
        }
    }

    fn send_finished(&self, step: &Step, outcome: Outcome, took: Duration) {
        self.events.send(&Event::StepFinished {
            host: name_of(step),
            step: step.id.to_string(),
            title: step.title.clone(),
            outcome,
            weight: step.weight,
            took_ms: millis(took),
        });
    }

    /// A run that was to end, and did not come to its own end, was interrupted: also when the step that was running gave up
    /// for that reason and nothing else was waiting but what needs it.
    fn report(&self, board: &Board<'_>, to_end: bool) -> RunReport {
        let lanes = self.lanes();
        let mut results: BTreeMap<&HostId, HostResult> = BTreeMap::new();
        let mut control_ok = true;
        for (i, step) in self.plan.steps.iter().enumerate() {
            let state = board.state(i);
            let Some(name) = &step.host else {
                control_ok &= state == State::Good;
                continue;
            };
            let entry = results.entry(name).or_insert_with(|| lanes[self.graph.lane_of(i)].result(name));
            // The first step of a lane that was not done says what became of the host.
            if entry.result == HostState::Ok {
                entry.result = match state {
                    State::Good => HostState::Ok,
                    State::Bad | State::Blocked(_) => HostState::Blocked,
                    State::Waiting | State::Running => HostState::Untouched,
                };
            }
        }
        let ok = board.is_good();
        RunReport { hosts: results.into_values().collect(), interrupted: to_end && !ok, ok, control_ok }
    }
}

impl Lane {
    fn result(&self, host: &HostId) -> HostResult {
        let result = match self.failed {
            None => HostState::Ok,
            Some(false) => HostState::Failed,
            Some(true) => HostState::Unreachable,
        };
        HostResult { host: host.clone(), result, changed: self.changed, took_ms: self.took_ms, route: None }
    }
}

/// As events name it.
fn name_of(step: &Step) -> Option<String> {
    step.host.as_ref().map(HostId::to_string)
}

fn ended_unexpectedly() -> Outcome {
    let error = "the step ended unexpectedly".to_owned();
    let help = Some("this is a defect of this program: report it with the output of `support-bundle`".to_owned());
    Outcome::Failed { failure: Failure { error, help, unreachable: false } }
}

/// Whole milliseconds; a run never lasts long enough to fill 64 bits of them.
pub(crate) fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

fn run_step(step: &Step, hosts: &RunHosts, events: &Events, interrupt: &Interrupt, dry_run: bool) -> Outcome {
    let host = match &step.host {
        None => None,
        Some(name) => match hosts.get(name) {
            Some(found) => Some(found),
            None => return Outcome::Blocked { by: format!("no connection to {name}") },
        },
    };
    events.send(&Event::StepStarted { host: name_of(step), step: step.id.to_string(), title: step.title.clone() });
    let cx = Cx { hosts, events, interrupt, host, step: step.id.as_str(), dry_run };
    match check_apply_verify(step, &cx, dry_run) {
        Ok(outcome) => outcome,
        Err(e) => Outcome::Failed { failure: e.failure() },
    }
}

fn check_apply_verify(step: &Step, cx: &Cx<'_>, dry_run: bool) -> Result<Outcome, StepError> {
    let found = match step.work.check(cx) {
        Err(StepError::Host(HostError::Failed { .. })) if dry_run && cx.host.is_some_and(|h| !h.host.is_root()) => {
            Check::Needed(vec!["whether anything is to be done here, only root can tell".to_owned()])
        }
        found => found?,
    };
    let Check::Needed(changes) = found else { return Ok(Outcome::Satisfied) };
    if dry_run {
        cx.events.send(&Event::WouldChange {
            host: name_of(step),
            step: step.id.to_string(),
            title: step.title.clone(),
            changes,
        });
        return Ok(Outcome::Changed);
    }
    step.work.apply(cx)?;
    step.work.verify(cx)?;
    Ok(Outcome::Changed)
}

#[cfg(test)]
#[path = "executor_tests.rs"]
mod tests;
