//! Runs a plan.
//!
//! 1. Every host works through its own steps in order; hosts run side by side, `forks` of them at once.
//! 2. A step also waits for the steps it names in `after`, wherever they run.
//! 3. A step is *check*; when needed *apply*, then *verify*. What holds is skipped.
//! 4. A failed step ends its own host's lane and blocks what waits for it, nothing else.
//! 5. An interrupt lets running steps end and starts no other.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::host::HostError;

use super::context::{Cx, Interrupt, RunHosts};
use super::error::StepError;
use super::event::{Event, Events, HostResult, HostState, Outcome};
use super::step::{Check, Plan, Step, StepId};

/// How a plan went.
#[derive(Debug)]
pub struct RunReport {
    pub hosts: Vec<HostResult>,
    pub interrupted: bool,
    pub ok: bool,
    /// Every step of the control host ended well.
    pub control_ok: bool,
}

/// How to run a plan.
#[derive(Debug, Clone, Copy)]
pub struct RunMode {
    /// Hosts worked on at once.
    pub forks: usize,
    /// Check only, and tell what would change.
    pub dry_run: bool,
}

/// Runs every step of `plan` on `hosts`.
pub fn run(plan: &Plan, hosts: &RunHosts, events: &Events, interrupt: &Interrupt, mode: RunMode) -> RunReport {
    events.send(&Event::Planned { steps: plan.steps.len(), weight: plan.weight(), hosts: plan.weight_by_host() });
    let (done_tx, done_rx) = mpsc::channel::<(usize, Outcome, Duration)>();
    let mut board = Board::new(plan);
    thread::scope(|scope| {
        loop {
            if !interrupt.is_set() {
                while let Some(index) = board.next_ready(mode.forks.max(1)) {
                    let step = &plan.steps[index];
                    let done = done_tx.clone();
                    scope.spawn(move || {
                        let begun = Instant::now();
                        let outcome = run_step(step, hosts, events, interrupt, mode.dry_run);
                        // The receiver lives until every step has answered.
                        let _ = done.send((index, outcome, begun.elapsed()));
                    });
                }
            }
            if board.running == 0 {
                break;
            }
            let Ok((index, outcome, took)) = done_rx.recv() else { break };
            finish(&mut board, events, index, outcome, took);
        }
    });
    board.report(hosts, interrupt.is_set())
}

fn finish(board: &mut Board<'_>, events: &Events, index: usize, outcome: Outcome, took: Duration) {
    send_finished(events, &board.plan.steps[index], outcome.clone(), took);
    for blocked in board.done(index, outcome, took) {
        let by = board.blocked_by(blocked);
        send_finished(events, &board.plan.steps[blocked], Outcome::Blocked { by }, Duration::ZERO);
    }
}

fn send_finished(events: &Events, step: &Step, outcome: Outcome, took: Duration) {
    events.send(&Event::StepFinished {
        host: step.host.clone(),
        step: step.id.to_string(),
        title: step.title.clone(),
        outcome,
        weight: step.weight,
        took_ms: millis(took),
    });
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
    events.send(&Event::StepStarted { host: step.host.clone(), step: step.id.to_string(), title: step.title.clone() });
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
            host: step.host.clone(),
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

/// Where every step stands.
struct Board<'p> {
    plan: &'p Plan,
    state: Vec<State>,
    took: Vec<Duration>,
    index: HashMap<&'p StepId, usize>,
    busy: HashSet<Option<&'p str>>,
    running: usize,
}

#[derive(Clone, PartialEq)]
enum State {
    Waiting,
    Running,
    Done(Outcome),
}

impl State {
    fn is_good(&self) -> bool {
        matches!(self, Self::Done(Outcome::Satisfied | Outcome::Changed))
    }
}

impl<'p> Board<'p> {
    fn new(plan: &'p Plan) -> Self {
        Self {
            plan,
            state: vec![State::Waiting; plan.steps.len()],
            took: vec![Duration::ZERO; plan.steps.len()],
            index: plan.steps.iter().enumerate().map(|(i, s)| (&s.id, i)).collect(),
            busy: HashSet::new(),
            running: 0,
        }
    }

    /// The next step that may start now, marked as running.
    fn next_ready(&mut self, forks: usize) -> Option<usize> {
        if self.running >= forks {
            return None;
        }
        let mut seen = self.busy.clone();
        let found = (0..self.plan.steps.len()).find(|&i| {
            let step = &self.plan.steps[i];
            // Only the first waiting step of a lane may start.
            self.state[i] == State::Waiting && seen.insert(step.host.as_deref()) && self.needs_hold(step)
        })?;
        self.state[found] = State::Running;
        self.busy.insert(self.plan.steps[found].host.as_deref());
        self.running += 1;
        Some(found)
    }

    // A step that names one which is not in this plan waits for nothing: it was left out because it is not needed.
    fn needs_hold(&self, step: &Step) -> bool {
        step.after.iter().all(|id| self.index.get(id).is_none_or(|&i| self.state[i].is_good()))
    }

    /// Takes a result in; returns the steps that can never start because of it.
    fn done(&mut self, index: usize, outcome: Outcome, took: Duration) -> Vec<usize> {
        self.running -= 1;
        self.busy.remove(&self.plan.steps[index].host.as_deref());
        self.took[index] = took;
        self.state[index] = State::Done(outcome);
        let mut blocked = Vec::new();
        // Steps stand in an order in which nothing waits for a later one, so one pass finds all; a lane's own order too.
        for i in 0..self.plan.steps.len() {
            if self.state[i] == State::Waiting && self.stopper(i).is_some() {
                self.state[i] = State::Done(Outcome::Blocked { by: String::new() });
                blocked.push(i);
            }
        }
        blocked
    }

    /// The ended step that keeps step `i` from ever starting.
    fn stopper(&self, i: usize) -> Option<usize> {
        let step = &self.plan.steps[i];
        let lane = (0..i).find(|&j| self.plan.steps[j].host == step.host && self.ended_badly(j));
        lane.or_else(|| step.after.iter().filter_map(|id| self.index.get(id).copied()).find(|&j| self.ended_badly(j)))
    }

    fn ended_badly(&self, i: usize) -> bool {
        matches!(self.state[i], State::Done(Outcome::Failed { .. } | Outcome::Blocked { .. }))
    }

    /// The failed step at the root of why step `i` was not tried, in words.
    fn blocked_by(&self, i: usize) -> String {
        let mut at = i;
        while let Some(next) = self.stopper(at) {
            at = next;
            if matches!(self.state[at], State::Done(Outcome::Failed { .. })) {
                break;
            }
        }
        let step = &self.plan.steps[at];
        match &step.host {
            Some(host) => format!("{} on {host} failed", step.title),
            None => format!("{} failed", step.title),
        }
    }

    /// A run that was to end, and did not come to its own end, was interrupted: also when the step that was running gave up
    /// for that reason and nothing else was waiting but what needs it.
    fn report(&self, hosts: &RunHosts, to_end: bool) -> RunReport {
        let mut results: BTreeMap<&str, HostResult> = BTreeMap::new();
        for (i, step) in self.plan.steps.iter().enumerate() {
            let Some(name) = step.host.as_deref() else { continue };
            let entry = results.entry(name).or_insert_with(|| HostResult {
                host: name.to_owned(),
                result: HostState::Ok,
                changed: 0,
                took_ms: 0,
                route: hosts.get(name).and_then(super::context::RunHost::route),
            });
            entry.took_ms += millis(self.took[i]);
            match &self.state[i] {
                State::Done(Outcome::Changed) => entry.changed += 1,
                State::Done(Outcome::Satisfied) => {}
                State::Done(Outcome::Failed { failure }) => {
                    entry.result = if failure.unreachable { HostState::Unreachable } else { HostState::Failed };
                }
                State::Done(Outcome::Blocked { .. }) if entry.result == HostState::Ok => {
                    entry.result = HostState::Blocked;
                }
                State::Done(Outcome::Blocked { .. }) => {}
                State::Waiting | State::Running if entry.result == HostState::Ok => {
                    entry.result = HostState::Untouched;
                }
                State::Waiting | State::Running => {}
            }
        }
        let ok = self.state.iter().all(State::is_good);
        let control = |(i, step): (usize, &Step)| step.host.is_some() || self.state[i].is_good();
        let control_ok = self.plan.steps.iter().enumerate().all(control);
        RunReport { hosts: results.into_values().collect(), interrupted: to_end && !ok, ok, control_ok }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Work that needs no host: it writes its name down.
    #[derive(Debug)]
    struct Say(&'static str, Arc<Mutex<Vec<&'static str>>>, bool);

    impl super::super::step::Work for Say {
        fn check(&self, _: &Cx<'_>) -> Result<Check, StepError> {
            let said = self.1.lock().unwrap().contains(&self.0);
            Ok(if said { Check::Satisfied } else { Check::Needed(vec![format!("say {}", self.0)]) })
        }
        fn apply(&self, _: &Cx<'_>) -> Result<(), StepError> {
            if self.2 {
                return Err(StepError::failed("lost my voice"));
            }
            self.1.lock().unwrap().push(self.0);
            Ok(())
        }
    }

    fn plan(said: &Arc<Mutex<Vec<&'static str>>>, fail: &str) -> Plan {
        let mut plan = Plan::default();
        let mut last = None;
        for name in ["a", "b", "c"] {
            let step = Step::control(name, name, Say(name, Arc::clone(said), name == fail)).after(last.take());
            last = Some(step.id.clone());
            plan.push(step);
        }
        plan
    }

    fn go(plan: &Plan, dry_run: bool) -> (RunReport, Vec<Event>) {
        let events = Events::new();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&seen);
        events.listen(move |e: &Event| sink.lock().unwrap().push(e.clone()));
        let report = run(plan, &RunHosts::new(), &events, &Interrupt::default(), RunMode { forks: 4, dry_run });
        let seen = seen.lock().unwrap().clone();
        (report, seen)
    }

    fn outcomes(events: &[Event]) -> Vec<String> {
        let mut out = Vec::new();
        for event in events {
            if let Event::StepFinished { step, outcome, .. } = event {
                out.push(format!("{step} {outcome:?}"));
            }
        }
        out
    }

    #[test]
    fn runs_in_order_and_a_second_run_changes_nothing() {
        let said = Arc::default();
        let (report, _) = go(&plan(&said, ""), false);
        assert!(report.ok);
        assert_eq!(*said.lock().unwrap(), ["a", "b", "c"]);
        let (report, events) = go(&plan(&said, ""), false);
        assert!(report.ok);
        assert_eq!(outcomes(&events), ["/a Satisfied", "/b Satisfied", "/c Satisfied"]);
    }

    #[test]
    fn a_dry_run_changes_nothing() {
        let said: Arc<Mutex<Vec<&'static str>>> = Arc::default();
        let (report, events) = go(&plan(&said, ""), true);
        assert!(report.ok && said.lock().unwrap().is_empty());
        assert_eq!(events.iter().filter(|e| matches!(e, Event::WouldChange { .. })).count(), 3);
    }

    #[test]
    fn a_failure_blocks_what_waits_for_it_and_says_by_what() {
        let said = Arc::default();
        let (report, events) = go(&plan(&said, "b"), false);
        assert!(!report.ok);
        let outcomes = outcomes(&events);
        assert_eq!(outcomes.len(), 3);
        assert!(outcomes[1].contains("lost my voice"));
        assert!(outcomes[2].contains("b failed"), "{}", outcomes[2]);
    }

    /// Work that waits until it is told to stop.
    #[derive(Debug)]
    struct Wait;

    impl super::super::step::Work for Wait {
        fn check(&self, _: &Cx<'_>) -> Result<Check, StepError> {
            Ok(Check::Needed(Vec::new()))
        }
        fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
            cx.interrupt.set();
            Err(StepError::Interrupted)
        }
    }

    #[test]
    fn a_step_that_gives_up_when_interrupted_makes_no_failure_of_the_run() {
        let mut plan = Plan::default();
        plan.push(Step::control("wait", "wait", Wait));
        plan.push(Step::control("next", "next", Wait).after([StepId::control("wait")]));
        let mode = RunMode { forks: 1, dry_run: false };
        let report = run(&plan, &RunHosts::new(), &Events::new(), &Interrupt::default(), mode);
        assert!(report.interrupted && !report.ok);
    }

    #[test]
    fn an_interrupt_starts_nothing() {
        let said: Arc<Mutex<Vec<&'static str>>> = Arc::default();
        let interrupt = Interrupt::default();
        interrupt.set();
        let plan = plan(&said, "");
        let report = run(&plan, &RunHosts::new(), &Events::new(), &interrupt, RunMode { forks: 1, dry_run: false });
        assert!(report.interrupted && !report.ok);
        assert!(said.lock().unwrap().is_empty());
    }
}
