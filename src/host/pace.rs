//! Paces the start of connections: an sshd drops unauthenticated connections beyond its `MaxStartups` (10 by default,
//! at random from there on), so only a few are begun at once, and a dropped one is tried again a little later.

use std::collections::HashMap;
use std::sync::{Condvar, LazyLock, Mutex, PoisonError};
use std::time::Duration;

/// Logins under way at once, over all hosts of this process: enough to keep both ends busy.
const AT_ONCE: usize = 64;
/// And to one sshd: it may have other callers than us.
const AT_ONE_SSHD: usize = 4;
/// How often a dropped connection is tried in all.
pub(super) const TRIES: u32 = 10;

static GATE: LazyLock<Gate> = LazyLock::new(Gate::default);

#[derive(Default)]
struct Gate {
    busy: Mutex<Busy>,
    freed: Condvar,
}

#[derive(Default)]
struct Busy {
    all: usize,
    sshds: HashMap<String, usize>,
}

/// A place among the logins under way; dropped, it is free again.
#[derive(Debug)]
pub(super) struct Place(String);

/// Waits for a place for a login to `sshd` (`address:port`).
pub(super) fn place(sshd: &str) -> Place {
    let mut busy = GATE.busy.lock().unwrap_or_else(PoisonError::into_inner);
    while busy.all >= AT_ONCE || busy.sshds.get(sshd).is_some_and(|n| *n >= AT_ONE_SSHD) {
        busy = GATE.freed.wait(busy).unwrap_or_else(PoisonError::into_inner);
    }
    busy.all += 1;
    *busy.sshds.entry(sshd.to_owned()).or_default() += 1;
    Place(sshd.to_owned())
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut busy = GATE.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.all -= 1;
        if let Some(n) = busy.sshds.get_mut(&self.0) {
            *n -= 1;
            if *n == 0 {
                busy.sshds.remove(&self.0);
            }
        }
        // All: whoever waits may wait for another sshd than this one.
        GATE.freed.notify_all();
    }
}

/// How long to wait before try number `tried` + 1: doubling from 100 ms, with up to half of it chosen at random, so that
/// those who were dropped together do not come back together.
pub(super) fn back_off(tried: u32) -> Duration {
    let base = 100u64 << tried.min(5);
    Duration::from_millis(base + rand::random_range(0..=base / 2))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn one_sshd_gets_few_logins_at_once() {
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    let _place = place("192.0.2.1:22");
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    thread::sleep(Duration::from_millis(5));
                    now.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        assert_eq!(most.load(Ordering::SeqCst), AT_ONE_SSHD);
    }
}
