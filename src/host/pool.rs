//! The same work for each of many things, on a bounded number of threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Does `work` for every item, on at most `forks` threads, the caller's own among them; the results in the items' order.
/// Where the system gives fewer threads, the work is done by those there are. An item whose work panics has no result.
pub fn for_each<T: Sync, R: Send>(items: &[T], forks: usize, work: impl Fn(&T) -> R + Sync) -> Vec<Option<R>> {
    let results: Vec<Mutex<Option<R>>> = items.iter().map(|_| Mutex::new(None)).collect();
    let next = AtomicUsize::new(0);
    let one_after_another = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let (Some(item), Some(place)) = (items.get(at), results.get(at)) else { return };
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(item)));
            *place.lock().unwrap_or_else(PoisonError::into_inner) = done.ok();
        }
    };
    thread::scope(|scope| {
        for _ in 1..forks.min(items.len()) {
            if let Err(error) = thread::Builder::new().spawn_scoped(scope, one_after_another) {
                tracing::warn!(%error, "fewer threads than asked for: the work takes longer");
                break;
            }
        }
        one_after_another();
    });
    results.into_iter().map(|place| place.into_inner().unwrap_or_else(PoisonError::into_inner)).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn results_come_in_order_from_no_more_threads_than_asked_for() {
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let items: Vec<u64> = (0..40).collect();
        let doubled = for_each(&items, 4, |n| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(n % 3));
            now.fetch_sub(1, Ordering::SeqCst);
            n * 2
        });
        assert_eq!(doubled, items.iter().map(|n| Some(n * 2)).collect::<Vec<_>>());
        assert!(most.load(Ordering::SeqCst) <= 4);
    }

    #[test]
    fn nothing_to_do_and_no_forks_end_too() {
        assert_eq!(for_each(&[] as &[u8], 4, |n| *n), []);
        assert_eq!(for_each(&[1, 2, 3], 0, |n| *n), [Some(1), Some(2), Some(3)]);
    }

    #[test]
    fn an_item_whose_work_panics_has_no_result_and_the_others_have() {
        let results = for_each(&[1, 2, 3], 2, |n| {
            assert!(*n != 2, "on purpose");
            *n
        });
        assert_eq!(results, [Some(1), None, Some(3)]);
    }
}
