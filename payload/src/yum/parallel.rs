//! Work on many files on all cores, its results taken in order, with a bound on how many wait.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, PoisonError};

/// How far the fastest worker may be ahead of the taker.
const WINDOW: usize = 64;

struct State<R> {
    next: usize,
    taken: usize,
    ready: BTreeMap<usize, R>,
}

/// Calls `work` for every item on all cores and `take` with the results, in the items' order, on this thread.
pub(super) fn in_order<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync, mut take: impl FnMut(R)) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(items.len());
    let state = Mutex::new(State { next: 0, taken: 0, ready: BTreeMap::new() });
    let changed = Condvar::new();
    let lock = || state.lock().unwrap_or_else(PoisonError::into_inner);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let index = {
                        let mut state = lock();
                        while state.next < items.len() && state.next >= state.taken + WINDOW {
                            state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                        }
                        state.next += 1;
                        state.next - 1
                    };
                    let Some(item) = items.get(index) else { return };
                    let result = work(item);
                    lock().ready.insert(index, result);
                    changed.notify_all();
                }
            });
        }
        for index in 0..items.len() {
            let mut state = lock();
            let result = loop {
                if let Some(result) = state.ready.remove(&index) {
                    break result;
                }
                state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            };
            state.taken = index + 1;
            drop(state);
            changed.notify_all();
            take(result);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order() {
        let items: Vec<u64> = (0..500).collect();
        let mut taken = Vec::new();
        let slow_at_times = |n: &u64| {
            std::thread::sleep(std::time::Duration::from_micros(n % 7 * 100));
            n * 2
        };
        in_order(&items, slow_at_times, |n| taken.push(n));
        assert_eq!(taken, items.iter().map(|n| n * 2).collect::<Vec<_>>());
        in_order(&[] as &[u64], slow_at_times, |_| panic!("there is nothing to take"));
    }
}
