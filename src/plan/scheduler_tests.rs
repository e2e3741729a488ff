//! The scheduler beside a model that knows nothing of queues and counters, on plans and failures chosen at random.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::super::step::tests::Nothing;
use super::super::step::{Plan, Step, StepId};
use super::*;

/// A plan as the tests see it: for each step its lane, the earlier steps it names, whether it fails.
#[derive(Debug, Clone)]
struct Model {
    steps: Vec<(usize, Vec<usize>, bool)>,
}

impl Model {
    fn id(&self, step: usize) -> StepId {
        StepId::on(&format!("h{}", self.steps[step].0).into(), &step.to_string())
    }

    fn plan(&self) -> Plan {
        let mut plan = Plan::default();
        for (i, (lane, after, _)) in self.steps.iter().enumerate() {
            let step = Step::on(&format!("h{lane}").into(), &i.to_string(), "do it", Nothing);
            plan.push(step.after(after.iter().map(|&j| self.id(j))));
        }
        plan
    }

    fn before(&self, step: usize) -> impl Iterator<Item = usize> {
        let (lane, after, _) = &self.steps[step];
        after.iter().copied().chain((0..step).rev().find(|&j| self.steps[j].0 == *lane))
    }

    /// For each step the failed steps that keep it from being tried, found without any cleverness.
    fn stoppers(&self) -> Vec<BTreeSet<usize>> {
        let mut stoppers: Vec<BTreeSet<usize>> = Vec::new();
        for i in 0..self.steps.len() {
            let mut own = BTreeSet::new();
            for j in self.before(i) {
                own.extend(stoppers[j].iter().copied());
                if stoppers[j].is_empty() && self.steps[j].2 {
                    own.insert(j);
                }
            }
            stoppers.push(own);
        }
        stoppers
    }
}

fn models() -> impl Strategy<Value = Model> {
    let step = (0..5usize, prop::collection::vec(any::<prop::sample::Index>(), 0..3), 0..10u8);
    prop::collection::vec(step, 0..40).prop_map(|raw| {
        let steps = raw.into_iter().enumerate().map(|(i, (lane, after, fails))| {
            let after = if i == 0 { Vec::new() } else { after.into_iter().map(|a| a.index(i)).collect() };
            (lane, after, fails == 0)
        });
        Model { steps: steps.collect() }
    })
}

/// What a run did, in the order it was seen.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Seen {
    Began(usize),
    Ended(usize),
    Blocked(usize, usize),
}

struct Recording<'a> {
    model: &'a Model,
    seen: Mutex<Vec<Seen>>,
    at_once: AtomicUsize,
    most: AtomicUsize,
    /// Interrupts the run when this many steps have begun.
    interrupt: Option<(usize, &'a Interrupt)>,
}

impl<'a> Recording<'a> {
    fn new(model: &'a Model, interrupt: Option<(usize, &'a Interrupt)>) -> Self {
        Self { model, seen: Mutex::default(), at_once: AtomicUsize::new(0), most: AtomicUsize::new(0), interrupt }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    fn count(&self, is: impl Fn(&Seen) -> bool) -> usize {
        self.seen().iter().filter(|s| is(s)).count()
    }
}

impl Runner for Recording<'_> {
    fn run(&self, step: usize) -> bool {
        let now = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        let begun = {
            let mut seen = self.seen.lock().unwrap();
            seen.push(Seen::Began(step));
            seen.iter().filter(|s| matches!(s, Seen::Began(_))).count()
        };
        if let Some((limit, interrupt)) = self.interrupt
            && begun >= limit
        {
            interrupt.set();
        }
        thread::yield_now();
        self.seen.lock().unwrap().push(Seen::Ended(step));
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        !self.model.steps[step].2
    }

    fn blocked(&self, step: usize, cause: usize) {
        self.seen.lock().unwrap().push(Seen::Blocked(step, cause));
    }
}

/// Nothing begins before what it waits for has ended well, and each step is begun or blocked at most once.
fn in_order(model: &Model, seen: &[Seen]) {
    let mut ended = BTreeSet::new();
    let mut touched = BTreeSet::new();
    for event in seen {
        match *event {
            Seen::Began(step) => {
                assert!(touched.insert(step), "{step} began twice or was blocked before");
                for before in model.before(step) {
                    assert!(ended.contains(&before) && !model.steps[before].2, "{step} began before {before}");
                }
            }
            Seen::Ended(step) => assert!(ended.insert(step)),
            Seen::Blocked(step, cause) => {
                assert!(touched.insert(step), "{step} was blocked twice or began before");
                assert!(ended.contains(&cause) && model.steps[cause].2);
            }
        }
    }
}

proptest! {
    #[test]
    fn what_runs_and_what_is_blocked_is_as_the_model_says(model in models(), forks in 1..8usize) {
        let graph = Graph::resolve(&model.plan()).unwrap();
        let recording = Recording::new(&model, None);
        let board = drive(&graph, forks, &Interrupt::default(), &recording);
        in_order(&model, &recording.seen());
        prop_assert!(recording.most.load(Ordering::SeqCst) <= forks);
        let stoppers = model.stoppers();
        for (step, stoppers) in stoppers.iter().enumerate() {
            match board.state(step) {
                State::Good => prop_assert!(stoppers.is_empty() && !model.steps[step].2),
                State::Bad => prop_assert!(stoppers.is_empty() && model.steps[step].2),
                State::Blocked(cause) => {
                    prop_assert!(stoppers.contains(&cause), "{step} by {cause}, not one of {stoppers:?}");
                    prop_assert!(recording.seen().contains(&Seen::Blocked(step, cause)));
                }
                other => prop_assert!(false, "{step} is {other:?}"),
            }
        }
        let blocked = stoppers.iter().filter(|s| !s.is_empty()).count();
        prop_assert_eq!(recording.count(|s| matches!(s, Seen::Blocked(..))), blocked);
        prop_assert_eq!(board.is_good(), model.steps.iter().all(|s| !s.2));
    }

    #[test]
    fn an_interrupt_begins_no_other(model in models(), forks in 1..8usize, after in 1..20usize) {
        let graph = Graph::resolve(&model.plan()).unwrap();
        let interrupt = Interrupt::default();
        let recording = Recording::new(&model, Some((after, &interrupt)));
        let board = drive(&graph, forks, &interrupt, &recording);
        in_order(&model, &recording.seen());
        let began = recording.count(|s| matches!(s, Seen::Began(_)));
        prop_assert_eq!(began, recording.count(|s| matches!(s, Seen::Ended(_))));
        // Those that other threads had taken already begin all the same.
        prop_assert!(began < after + forks, "{began} began, interrupted at {after}");
        let waiting = (0..graph.len()).filter(|&i| board.state(i) == State::Waiting).count();
        prop_assert_eq!(began + waiting + recording.count(|s| matches!(s, Seen::Blocked(..))), graph.len());
    }
}

#[test]
fn with_one_thread_the_plans_own_order_is_kept() {
    let steps = [0, 1, 0, 2, 1, 0].map(|lane| (lane, Vec::new(), false)).to_vec();
    let model = Model { steps };
    let graph = Graph::resolve(&model.plan()).unwrap();
    let recording = Recording::new(&model, None);
    drive(&graph, 1, &Interrupt::default(), &recording);
    let began: Vec<_> = recording.seen().into_iter().filter(|s| matches!(s, Seen::Began(_))).collect();
    assert_eq!(began, (0..6).map(Seen::Began).collect::<Vec<_>>());
}

#[test]
fn no_plan_and_no_forks_end_too() {
    let model = Model { steps: Vec::new() };
    let graph = Graph::resolve(&model.plan()).unwrap();
    assert!(drive(&graph, 0, &Interrupt::default(), &Recording::new(&model, None)).is_good());
    let model = Model { steps: vec![(0, Vec::new(), false); 3] };
    let graph = Graph::resolve(&model.plan()).unwrap();
    assert!(drive(&graph, 0, &Interrupt::default(), &Recording::new(&model, None)).is_good());
}

#[test]
fn a_failure_blocks_each_step_once_and_names_the_first_cause() {
    // 0 fails; 1 (same lane), 2 (waits for both) and 3 (waits for 2) are never tried; 4 is.
    let steps =
        vec![(0, vec![], true), (0, vec![], false), (1, vec![0, 1], false), (2, vec![2], false), (3, vec![], false)];
    let model = Model { steps };
    let graph = Graph::resolve(&model.plan()).unwrap();
    let mut board = Board::new(&graph);
    assert_eq!(board.start(), Some(0));
    assert_eq!(board.end(0, false), Ended { ready: 0, blocked: vec![1, 2, 3] });
    assert_eq!(board.start(), Some(4));
    assert_eq!(board.end(4, true), Ended::default());
    assert_eq!((board.start(), board.running), (None, 0));
    assert_eq!(board.state(3), State::Blocked(0));
}
