//! The dozen of every `make test`: some of each kind of fault, on three clusters.

use std::time::Duration;

use super::run;
use super::scenario::{Fault, Hostile, Kind, Lasting, Moment, Scenario, Signal, Verb};
use super::world::World;
use crate::lab::Lab;

const fn at(kind: Kind, verb: Verb, fault: Fault, victim: usize, step: usize) -> Scenario {
    let moment = if step == 0 { Moment::Before } else { Moment::Step(step) };
    Scenario { kind, verb, fault, victim, moment, lasting: Lasting::Run }
}

const fn brief(scenario: Scenario) -> Scenario {
    Scenario { lasting: Lasting::For(Duration::from_secs(5)), ..scenario }
}

fn all_hold(scenarios: &[Scenario]) {
    if !Lab::here() {
        return;
    }
    let mut world = World::new(scenarios[0].kind);
    for scenario in scenarios {
        let held = run::held(&mut world, scenario);
        assert!(held.is_ok(), "{scenario}: {}", held.unwrap_or_else(|what| what));
    }
}

#[test]
fn etcd_through_faults_of_hosts() {
    use Verb::{Add, Create, Remove, Renew, Replace};
    all_hold(&[
        at(Kind::Etcd, Create, Fault::DiskFull, 1, 4),
        at(Kind::Etcd, Replace, Fault::PowerCut, 1, 3),
        brief(at(Kind::Etcd, Add, Fault::Frozen, 0, 4)),
        at(Kind::Etcd, Renew, Fault::Hostile(Hostile::Escapes), 1, 0),
        at(Kind::Etcd, Remove, Fault::CorruptWal, 1, 0),
    ]);
}

#[test]
fn etcd_through_faults_of_the_deployer() {
    use Verb::{Add, Create, Renew, Reset};
    all_hold(&[
        at(Kind::Etcd, Create, Fault::Second { same_state: true }, 0, 2),
        at(Kind::Etcd, Add, Fault::BundleDamaged, 0, 1),
        at(Kind::Etcd, Renew, Fault::ControlDiskFull, 0, 2),
        at(Kind::Etcd, Reset, Fault::Deployer(Signal::Kill), 0, 6),
    ]);
}

#[test]
fn kubernetes_through_faults() {
    use Verb::{Add, Create, Reset};
    all_hold(&[
        brief(at(Kind::Kubeadm, Create, Fault::Mute, 1, 15)),
        at(Kind::Kubeadm, Add, Fault::Deployer(Signal::Terminate), 0, 8),
        at(Kind::Kubeadm, Reset, Fault::ReadOnly, 1, 2),
    ]);
}
