//! What a plan costs by itself: edges resolved and every step scheduled, with work that does nothing.
//!
//! `make bench-plan` prints a line for each size. Every size runs in a process of its own, so that its memory is its own.
//! Each host has the steps of all roles (etcd member, control plane node, worker node); the edges between hosts are those
//! of the real flows: control plane and flannel wait for the etcd members, each kubelet for the API servers.
#![allow(clippy::print_stdout, clippy::expect_used)] // a benchmark prints, and stops at what it did not expect

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use sunshine_installer::host::HostId;
use sunshine_installer::plan::{
    Check, Cx, Event, Events, Interrupt, Outcome, Plan, Step, StepError, StepId, Work, run_with,
};

const SIZES: [usize; 4] = [10, 100, 1_000, 5_000];
const ETCD: usize = 5;
const MASTERS: usize = 3;
const FORKS: usize = 64;
const ROUNDS: usize = 3;

const OF_ETCD: [&str; 7] =
    ["etcd.install", "etcd.firewall", "etcd.configure", "etcd.start", "etcd.tidy", "etcd.promote", "etcd.answers"];
const OF_MASTER: [&str; 11] = [
    "kubernetes.install",
    "chronyd.start",
    "master.firewall",
    "master.configure",
    "kube-apiserver.start",
    "kubernetes.answers",
    "kube-controller-manager.start",
    "kube-scheduler.start",
    "kubernetes.leads",
    "keepalived.configure",
    "keepalived.start",
];
const OF_NODE: [&str; 22] = [
    "kernel.configure",
    "kernel.set",
    "node.firewall",
    "flannel.configure",
    "flannel.key",
    "flannel.start",
    "cni.folder",
    "runtime.configure",
    "runtime.start",
    "images.load",
    "cluster.list",
    "sunshine-cluster.configure",
    "sunshine-cluster.start",
    "balancer.selinux",
    "balancer.configure",
    "balancer.start",
    "kubelet.configure",
    "kubelet.start",
    "kube-proxy.configure",
    "kube-proxy.start",
    "node.ready",
    "cluster.publish",
];

#[derive(Debug)]
struct Nothing;

impl Work for Nothing {
    fn check(&self, _: &Cx<'_>) -> Result<Check, StepError> {
        Ok(Check::Satisfied)
    }

    fn apply(&self, _: &Cx<'_>) -> Result<(), StepError> {
        Ok(())
    }
}

fn main() {
    let size = std::env::args().skip(1).find_map(|arg| arg.strip_prefix("hosts=").and_then(|n| n.parse().ok()));
    if let Some(hosts) = size {
        measure(hosts);
        return;
    }
    // Sizes by hand: `cargo bench --bench plan -- 10 30 100`.
    let named: Vec<usize> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let own = std::env::current_exe().expect("the path of this program");
    for hosts in if named.is_empty() { SIZES.to_vec() } else { named } {
        let ended = Command::new(&own).arg(format!("hosts={hosts}")).status().expect("this program runs again");
        assert!(ended.success(), "{hosts} hosts: {ended}");
    }
}

/// The best of three: other work on the machine only ever adds to it.
fn measure(hosts: usize) {
    let plan = plan(hosts);
    let ms = (0..ROUNDS).map(|_| schedule(&plan)).fold(f64::INFINITY, f64::min);
    let edges: usize = plan.steps.iter().map(|step| step.after.len()).sum();
    println!("hosts={hosts} steps={} edges={edges} ms={ms:.1} mib={}", plan.steps.len(), peak_mib());
}

/// The milliseconds of one run.
fn schedule(plan: &Plan) -> f64 {
    let events = Events::new();
    let finished = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&finished);
    events.listen(move |event: &Event| {
        if matches!(event, Event::StepFinished { .. }) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    let begun = Instant::now();
    let report = run_with(plan, &events, &Interrupt::default(), FORKS, &|_| Outcome::Changed);
    let took = begun.elapsed();
    let report = report.expect("a plan without a fault");
    assert!(report.ok && finished.load(Ordering::Relaxed) == plan.steps.len());
    took.as_secs_f64() * 1000.0
}

fn plan(hosts: usize) -> Plan {
    let name = |i: usize| format!("10.{}.{}.{}", i / 65_536, i / 256 % 256, i % 256);
    let names: Vec<HostId> = (0..hosts).map(|i| name(i).into()).collect();
    let wait_for = |what: &str, first: usize| -> Vec<StepId> {
        names.iter().take(first).map(|host| StepId::on(host, what)).collect()
    };
    let etcd = wait_for("etcd.answers", ETCD);
    let api = wait_for("kubernetes.answers", MASTERS);
    let mut plan = Plan::default();
    for steps in [&OF_ETCD[..], &OF_MASTER, &OF_NODE] {
        for host in &names {
            for what in steps {
                let step = Step::on(host, what, format!("make {what} what it should be"), Nothing);
                plan.push(match *what {
                    "kube-apiserver.start" | "flannel.key" => step.after(etcd.clone()),
                    "kubelet.start" | "cluster.publish" => step.after(api.clone()),
                    _ => step,
                });
            }
        }
    }
    plan
}

/// The most memory that this process ever had in use.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()).map_or(0, |kib| kib / 1024)
}
