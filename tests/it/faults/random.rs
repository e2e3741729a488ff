//! Random scenarios: the same seed makes the same ones.

#![allow(clippy::print_stderr, reason = "how each went, and the seed, are what is asked for")]
#![allow(clippy::expect_used, clippy::panic, reason = "a helper of tests: a panic is how a test fails")]

use std::sync::Mutex;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::run;
use super::scenario::{Fault, Hostile, Kind, Lasting, Moment, Scenario, Signal, Verb};
use super::world::World;
use crate::chance::seeded;
use crate::lab::Lab;

/// Out of every eight clusters so many are of etcd alone: those take seconds, the others minutes.
const CLUSTERS: [Kind; 8] =
    [Kind::Etcd, Kind::Etcd, Kind::Etcd, Kind::Kubeadm, Kind::Etcd, Kind::Etcd, Kind::Etcd, Kind::Systemd];

/// So many clusters at once: a scenario waits for most of its time.
const AT_ONCE: usize = 3;

/// Scenarios that one cluster goes through, each with its number in the run.
type Chain = Vec<(usize, Scenario)>;

/// How many steps a flow of this kind has, about: the moment is one of them.
fn steps(kind: Kind, verb: Verb) -> usize {
    match (kind, verb) {
        (Kind::Etcd, Verb::Create) => 19,
        (Kind::Etcd, Verb::Replace | Verb::Add) => 9,
        (Kind::Etcd, Verb::Renew) => 9,
        (Kind::Etcd, _) => 3,
        (_, Verb::Create) => 45,
        (_, Verb::Replace | Verb::Add) => 18,
        (_, Verb::Renew) => 10,
        (_, _) => 4,
    }
}

fn faults(verb: Verb) -> Vec<Fault> {
    let signals = [Signal::Kill, Signal::Interrupt, Signal::Terminate, Signal::Hangup].map(Fault::Deployer);
    let hostile = [Hostile::Endless, Hostile::Escapes, Hostile::Lies].map(Fault::Hostile);
    let mut all = vec![
        Fault::ControlDiskFull,
        Fault::BundleDamaged,
        Fault::Second { same_state: true },
        Fault::Second { same_state: false },
        Fault::PowerCut,
        Fault::Reboot,
        Fault::Frozen,
        Fault::Cut,
        Fault::Mute,
        Fault::NoWayBack,
        Fault::DiskFull,
        Fault::ReadOnly,
        Fault::WrongClock,
        Fault::PackageLock,
        Fault::SshdCrash,
        Fault::SudoWithdrawn,
        Fault::DnsSilent,
    ];
    all.extend(signals);
    all.extend(hostile);
    if !matches!(verb, Verb::Create | Verb::Reset) {
        all.push(Fault::CorruptWal);
    }
    all
}

fn scenario(chance: &mut StdRng, kind: Kind, verb: Verb) -> Scenario {
    let fault = *faults(verb).choose(chance).expect("there are some");
    let before = matches!(
        fault,
        Fault::WrongClock | Fault::DnsSilent | Fault::PackageLock | Fault::CorruptWal | Fault::Hostile(_)
    );
    let moment = if before { Moment::Before } else { Moment::Step(chance.random_range(1..=steps(kind, verb))) };
    let seconds = chance.random_range(2..=12);
    let lasting = if chance.random_bool(0.5) { Lasting::Run } else { Lasting::For(Duration::from_secs(seconds)) };
    Scenario { kind, verb, fault, victim: chance.random_range(0..4), moment, lasting }
}

/// The first `count` scenarios of a seed, by cluster.
fn chains(seed: u64, count: usize) -> Vec<Chain> {
    let mut chance = StdRng::seed_from_u64(seed);
    let mut numbers = 1..=count;
    let mut chains = Vec::new();
    for kind in CLUSTERS.into_iter().cycle() {
        let chain: Chain = numbers
            .by_ref()
            .take(Verb::ALL.len())
            .zip(Verb::ALL)
            .map(|(number, verb)| (number, scenario(&mut chance, kind, verb)))
            .collect();
        if chain.is_empty() {
            break;
        }
        chains.push(chain);
    }
    chains
}

/// A number of the environment.
fn number(name: &str) -> Option<usize> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// Goes through a chain, and returns what did not hold.
fn go_through(chain: &Chain) -> Vec<String> {
    let mut world = None;
    let mut found = Vec::new();
    for (number, scenario) in chain {
        let begun = Instant::now();
        let here = world.get_or_insert_with(|| World::new(scenario.kind));
        match run::held(here, scenario) {
            Ok(how) => eprintln!("{number:>4} {scenario}: {how}, {} s", begun.elapsed().as_secs()),
            Err(what) => {
                eprintln!("{number:>4} {scenario}: FAILED after {} s: {what}", begun.elapsed().as_secs());
                found.push(format!("{number} {scenario}: {what}"));
                // What is left of it would be taken for the next one's.
                world = None;
            }
        }
    }
    found
}

#[test]
fn random_scenarios_hold() {
    if !Lab::here() {
        return;
    }
    let seed = seeded().random::<u64>();
    let mut chains = chains(seed, number("SUNSHINE_SCENARIOS").unwrap_or(100));
    if let Some(only) = number("SUNSHINE_ONLY") {
        chains.iter_mut().for_each(|chain| chain.retain(|(number, _)| *number == only));
    }
    // Those that take longest first.
    chains.sort_by_key(|chain| chain.first().is_none_or(|(_, scenario)| scenario.kind == Kind::Etcd));
    let (waiting, found) = (Mutex::new(chains.into_iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().expect("the chains").next();
                    let Some(chain) = next else { break };
                    // By itself: a lock taken in the same statement would be held all the while.
                    let new = go_through(&chain);
                    found.lock().expect("what was found").extend(new);
                }
            });
        }
    });
    let found = found.into_inner().expect("what was found");
    assert!(found.is_empty(), "{} scenario(s) did not hold:\n{}", found.len(), found.join("\n"));
}
