//! What a plan costs: decided from the facts of hosts, compared with what hosts have, and every step scheduled with work that
//! does nothing.
//!
//! `make bench-plan` prints a line for each size: a cluster with five etcd members, three control plane nodes, and every host a
//! worker node, made from a bundle that brings every component. `decide` makes the plan that creates it, `diff`
//! the plan that removes all workers again, `schedule` runs the first plan's steps with their real edges; `ms` is the sum. Every size runs in a
//! process of its own, so that its memory is its own.
#![allow(clippy::print_stdout, clippy::expect_used)] // a benchmark prints, and stops at what it did not expect

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use camino::Utf8Path;
use payload::{Bundle, MemberKind, NewMember, RpmId, Source};
use sunshine_installer::flow::bench::Site;
use sunshine_installer::flow::constructed::bundle_of;
use sunshine_installer::plan::{Event, Events, Interrupt, Outcome, Plan, run_with};

const SIZES: [usize; 4] = [10, 100, 1_000, 5_000];
const FORKS: usize = 64;
const ROUNDS: usize = 3;
const PACKAGES: [&str; 6] = ["etcd", "kubernetes-master", "kubernetes-node", "kubernetes-client", "haproxy", "chrony"];

fn main() {
    let size = std::env::args().skip(1).find_map(|arg| arg.strip_prefix("hosts=").and_then(|n| n.parse().ok()));
    if let Some(hosts) = size {
        measure(hosts);
        return;
    }
    // Sizes by hand: `cargo bench --features bench --bench plan -- 10 30 100`.
    let named: Vec<usize> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let own = std::env::current_exe().expect("the path of this program");
    for hosts in if named.is_empty() { SIZES.to_vec() } else { named } {
        let ended = Command::new(&own).arg(format!("hosts={hosts}")).status().expect("this program runs again");
        assert!(ended.success(), "{hosts} hosts: {ended}");
    }
}

/// The best of three: other work on the machine only ever adds to it.
fn measure(hosts: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let root = Utf8Path::from_path(folder.path()).expect("a name in UTF-8");
    let site = Site::new(root, bundle(root), hosts).expect("hosts");
    let create = site.create().expect("a plan");
    let best = |work: &dyn Fn()| (0..ROUNDS).map(|_| timed(work)).fold(f64::INFINITY, f64::min);
    let decide = best(&|| drop(site.create().expect("a plan")));
    let diff = best(&|| drop(site.remove().expect("a plan")));
    let schedule = best(&|| schedule(&create));
    let edges: usize = create.steps.iter().map(|step| step.after.len()).sum();
    let (steps, ms) = (create.steps.len(), decide + diff + schedule);
    let parts = format!("decide={decide:.1} diff={diff:.1} schedule={schedule:.1}");
    println!("hosts={hosts} steps={steps} edges={edges} {parts} ms={ms:.1} mib={}", peak_mib());
}

/// Milliseconds.
fn timed(work: &dyn Fn()) -> f64 {
    let begun = Instant::now();
    work();
    begun.elapsed().as_secs_f64() * 1000.0
}

fn schedule(plan: &Plan) {
    let events = Events::new();
    let finished = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&finished);
    events.listen(move |event: &Event| {
        if matches!(event, Event::StepFinished { .. }) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    let report = run_with(plan, &events, &Interrupt::default(), FORKS, &|_| Outcome::Changed);
    let report = report.expect("a plan without a fault");
    assert!(report.ok && finished.load(Ordering::Relaxed) == plan.steps.len());
}

/// A bundle that has packages by their names only.
fn bundle(root: &Utf8Path) -> Bundle {
    let member = |name: &&str| {
        let (file, source) = (format!("rpms/{name}-1.20.2-1.x86_64.rpm"), Source::Bytes(name.as_bytes().to_vec()));
        let (version, release, arch) = ("1.20.2".into(), "1".into(), "x86_64".into());
        let rpm = Some(RpmId { name: (*name).into(), epoch: 0, version, release, arch });
        NewMember { name: file, kind: MemberKind::Rpm, source, rpm, mtime: 1_700_000_000, sha256: None }
    };
    bundle_of(PACKAGES.iter().map(member).collect(), &root.join("bench.bin")).expect("a bundle")
}

/// The most memory that this process ever had in use.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()).map_or(0, |kib| kib / 1024)
}
