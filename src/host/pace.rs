//! Paces the start of connections: an sshd drops unauthenticated connections beyond its `MaxStartups` (10 by default,
//! at random from there on), so only a few are begun at once, and a dropped one is tried again a little later.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Logins under way at once, over all hosts of this process: enough to keep both ends busy.
const AT_ONCE: usize = 64;
/// How often a dropped connection is tried in all.
pub(super) const TRIES: u32 = 8;

static GATE: Gate = Gate { busy: Mutex::new(0), freed: Condvar::new() };

struct Gate {
    busy: Mutex<usize>,
    freed: Condvar,
}

/// A place among the logins under way; dropped, it is free again.
#[derive(Debug)]
pub(super) struct Place(());

/// Waits for a place.
pub(super) fn place() -> Place {
    let mut busy = GATE.busy.lock().unwrap_or_else(PoisonError::into_inner);
    while *busy >= AT_ONCE {
        busy = GATE.freed.wait(busy).unwrap_or_else(PoisonError::into_inner);
    }
    *busy += 1;
    Place(())
}

impl Drop for Place {
    fn drop(&mut self) {
        *GATE.busy.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        GATE.freed.notify_one();
    }
}

/// How long to wait before try number `tried` + 1: doubling from 100 ms, with up to half of it drawn by chance, so that
/// those who were dropped together do not come back together.
pub(super) fn back_off(tried: u32) -> Duration {
    let base = 100u64 << tried.min(5);
    Duration::from_millis(base + rand::random_range(0..=base / 2))
}
