//! The executor's rules, on plans that need no host.

use std::sync::{Arc, Mutex};

use super::super::step::StepId;
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
    let mode = RunMode { forks: 4, dry_run };
    let report = run(plan, &RunHosts::new(), &events, &Interrupt::default(), mode).unwrap();
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
    let report = run(&plan, &RunHosts::new(), &Events::new(), &Interrupt::default(), mode).unwrap();
    assert!(report.interrupted && !report.ok);
}

#[test]
fn an_interrupt_starts_nothing() {
    let said: Arc<Mutex<Vec<&'static str>>> = Arc::default();
    let interrupt = Interrupt::default();
    interrupt.set();
    let plan = plan(&said, "");
    let mode = RunMode { forks: 1, dry_run: false };
    let report = run(&plan, &RunHosts::new(), &Events::new(), &interrupt, mode).unwrap();
    assert!(report.interrupted && !report.ok);
    assert!(said.lock().unwrap().is_empty());
}

/// Steps that wait for a failed one of another host, and steps after them.
fn two_lanes() -> Plan {
    let mut plan = Plan::default();
    for host in ["a", "b"] {
        for what in ["1", "2", "3"] {
            let step = Step::on(&host.into(), what, format!("do {what}"), Wait);
            let after = (host == "b" && what == "2").then(|| StepId::on(&"a".into(), "2"));
            plan.push(step.after(after));
        }
    }
    plan
}

fn with(plan: &Plan, work: impl Fn(&Step) -> Outcome + Sync) -> (RunReport, Vec<Event>) {
    let events = Events::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    events.listen(move |e: &Event| sink.lock().unwrap().push(e.clone()));
    let report = run_with(plan, &events, &Interrupt::default(), 2, &work).unwrap();
    let seen = seen.lock().unwrap().clone();
    (report, seen)
}

fn failed(unreachable: bool) -> Outcome {
    Outcome::Failed { failure: Failure { error: "no".to_owned(), help: None, unreachable } }
}

#[test]
fn a_failure_ends_its_lane_and_blocks_the_lanes_that_wait_for_it() {
    let plan = two_lanes();
    let (report, events) =
        with(&plan, |s| if s.id == StepId::on(&"a".into(), "2") { failed(true) } else { Outcome::Changed });
    let states: Vec<_> = report.hosts.iter().map(|h| (h.host.as_str(), h.result, h.changed)).collect();
    assert_eq!(states, [("a", HostState::Unreachable, 1), ("b", HostState::Blocked, 1)]);
    let blocked = outcomes(&events).into_iter().filter(|o| o.ends_with(r#"Blocked { by: "do 2 on a failed" }"#));
    assert_eq!(blocked.count(), 3);
    assert!(!report.ok && report.control_ok && !report.interrupted);
}

#[test]
fn a_step_without_a_connection_says_so_to_those_that_wait_for_it() {
    let (report, events) = {
        let events = Events::new();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&seen);
        events.listen(move |e: &Event| sink.lock().unwrap().push(e.clone()));
        let mode = RunMode { forks: 2, dry_run: false };
        let report = run(&two_lanes(), &RunHosts::new(), &events, &Interrupt::default(), mode).unwrap();
        let seen = seen.lock().unwrap().clone();
        (report, seen)
    };
    assert!(report.hosts.iter().all(|h| h.result == HostState::Blocked));
    assert!(outcomes(&events).contains(&r#"a/3 Blocked { by: "no connection to a" }"#.to_owned()));
}

#[test]
fn a_step_that_panics_is_a_failed_step() {
    let plan = two_lanes();
    let (report, events) = with(&plan, |s| {
        assert!(s.id != StepId::on(&"b".into(), "1"), "on purpose");
        Outcome::Satisfied
    });
    let states: Vec<_> = report.hosts.iter().map(|h| (h.host.as_str(), h.result)).collect();
    assert_eq!(states, [("a", HostState::Ok), ("b", HostState::Failed)]);
    assert!(outcomes(&events).iter().any(|o| o.starts_with("b/1 Failed") && o.contains("ended unexpectedly")));
}

#[test]
fn a_plan_that_cannot_be_resolved_begins_nothing() {
    let mut plan = two_lanes();
    plan.push(Step::control("x", "x", Wait).after([StepId::on(&"c".into(), "1")]));
    let events = Events::new();
    events.listen(|e: &Event| panic!("{e:?}"));
    let error = run_with(&plan, &events, &Interrupt::default(), 2, &|_| Outcome::Changed).unwrap_err();
    assert_eq!(error.to_string(), "step /x waits for c/1, which is not in the plan");
}
