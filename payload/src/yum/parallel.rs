//! Work on many files on all cores, its results taken in order, with a bound on how many wait.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, PoisonError};

/// How far the fastest worker may be ahead of the taker.
const WINDOW: usize = 64;

struct State<R> {
    /// Items that are begun, by index.
    begun: Vec<bool>,
    taken: usize,
    ready: BTreeMap<usize, R>,
}

/// What a worker does next.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Item(usize),
    /// A result must be taken first.
    Wait,
    /// Every item is begun.
    End,
}

impl<R> State<R> {
    /// Of the items in the window the largest, so that no core is left alone with a large file at the end. Only whole MiB
    /// count: small files stay in order, and their results need not wait.
    fn next(&mut self, sizes: &[u64]) -> Next {
        let window = self.taken..sizes.len().min(self.taken + WINDOW);
        let next = window.filter(|&at| !self.begun[at]).max_by_key(|&at| (sizes[at] >> 20, Reverse(at)));
        match next {
            Some(at) => {
                self.begun[at] = true;
                Next::Item(at)
            }
            None if self.taken + WINDOW >= sizes.len() => Next::End,
            None => Next::Wait,
        }
    }
}

/// Calls `work` for every item on all cores and `take` with the results, in the items' order, on this thread. `size` is
/// about how long an item takes.
pub(super) fn in_order<T: Sync, R: Send>(
    items: &[T],
    size: impl Fn(&T) -> u64,
    work: impl Fn(&T) -> R + Sync,
    mut take: impl FnMut(R),
) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(items.len());
    let sizes: Vec<u64> = items.iter().map(size).collect();
    let state = Mutex::new(State { begun: vec![false; items.len()], taken: 0, ready: BTreeMap::new() });
    let changed = Condvar::new();
    let lock = || state.lock().unwrap_or_else(PoisonError::into_inner);
    let next = || {
        let mut state = lock();
        loop {
            match state.next(&sizes) {
                Next::Item(index) => return Some(index),
                Next::End => return None,
                Next::Wait => state = changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(index) = next() {
                    let result = work(&items[index]);
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
        let same = |_: &u64| 0;
        in_order(&items, same, slow_at_times, |n| taken.push(n));
        assert_eq!(taken, items.iter().map(|n| n * 2).collect::<Vec<_>>());
        in_order(&[] as &[u64], same, slow_at_times, |_| panic!("there is nothing to take"));
    }

    #[test]
    fn the_largest_in_the_window_is_begun_first() {
        let mut state: State<()> = State { begun: vec![false; 100], taken: 0, ready: BTreeMap::new() };
        let mut sizes = vec![1000; 100];
        (sizes[3], sizes[40], sizes[WINDOW]) = (2 << 20, 5 << 20, 9 << 20);
        let first: Vec<_> = (0..4).map(|_| state.next(&sizes)).collect();
        assert_eq!(first, [Next::Item(40), Next::Item(3), Next::Item(0), Next::Item(1)]);
        state.taken = 2;
        assert_eq!(state.next(&sizes), Next::Item(WINDOW));
        (0..WINDOW).for_each(|at| state.begun[at] = true);
        state.begun[WINDOW + 1] = true;
        assert_eq!(state.next(&sizes), Next::Wait, "results must be taken before more is begun");
        (state.taken, state.begun) = (100, vec![true; 100]);
        assert_eq!(state.next(&sizes), Next::End);
    }
}
