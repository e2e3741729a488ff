//! A client that writes to etcd while something goes wrong. What was acknowledged must be there afterwards.

#![allow(clippy::expect_used, reason = "a helper of tests: a panic is how a test fails")]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::world::World;
use crate::lab::Host;

/// No key is written twice in a run of tests.
static NEXT: AtomicU64 = AtomicU64::new(0);

fn put(host: &Host) -> Option<u64> {
    let key = NEXT.fetch_add(1, Ordering::Relaxed);
    let put = format!("timeout 5 bash -lc 'etcdctl put faults/{key} {key}'");
    host.exec(&put).ok().then_some(key)
}

/// Writes through these members in turn until told to stop, and returns the keys that were acknowledged.
pub(super) fn write(world: &World, members: &[usize], stop: &AtomicBool) -> Vec<u64> {
    let mut acknowledged = Vec::new();
    for member in members.iter().cycle() {
        acknowledged.extend(put(world.host(*member)));
        if stop.load(Ordering::Relaxed) {
            break;
        }
        std::thread::sleep(Duration::from_millis(300));
    }
    acknowledged
}

/// The acknowledged keys that a member does not have.
pub(super) fn lost(world: &World) -> Result<Vec<u64>, String> {
    let member = world.host(world.members()[0]);
    let output = member.exec("timeout 20 bash -lc 'etcdctl get --prefix faults/ --keys-only'");
    if !output.ok() {
        return Err(format!("etcdctl on {}: {}{}", member.name(), output.stdout, output.stderr));
    }
    let there: BTreeSet<u64> = output.stdout.lines().filter_map(|l| l.strip_prefix("faults/")?.parse().ok()).collect();
    Ok(world.acknowledged.iter().filter(|key| !there.contains(key)).copied().collect())
}
