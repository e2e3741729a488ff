//! The same work for each of many things, on a bounded number of threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

/// Does `work` for every item, on at most `forks` threads, the caller's own among them; the results in the items' order.
/// Where the system gives fewer threads, the work is done by those there are. An item whose work panics has no result.
pub fn for_each<T: Sync, R: Send>(items: &[T], forks: usize, work: impl Fn(&T) -> R + Sync) -> Vec<Option<R>> {
    let results: Vec<Mutex<Option<R>>> = items.iter().map(|_| Mutex::new(None)).collect();
    let next = AtomicUsize::new(0);
    let keep = |at: usize, done: Option<R>| {
        let Some(place) = results.get(at) else { return false };
        *place.lock().unwrap_or_else(PoisonError::into_inner) = done;
        true
    };
    let one_after_another = || one_after_another(items, &next, &work, keep);
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

/// As [`for_each`], but each result comes as soon as it is there, with its item's position; `forks` threads work while the
/// caller reads. When the caller reads no more, no further item is begun.
pub fn for_each_as_it_comes<T, R>(
    items: Vec<T>,
    forks: usize,
    work: impl Fn(&T) -> R + Send + Sync + 'static,
) -> impl Iterator<Item = (usize, Option<R>)>
where
    T: Send + Sync + 'static,
    R: Send + 'static,
{
    let (send, receive) = mpsc::channel();
    let wanted = forks.clamp(1, items.len().max(1));
    let shared = Arc::new((items, AtomicUsize::new(0), work));
    for started in 0..wanted {
        let (own_send, own) = (send.clone(), Arc::clone(&shared));
        let run = move || {
            let (items, next, work) = &*own;
            one_after_another(items, next, work, |at, done| own_send.send((at, done)).is_ok());
        };
        if let Err(error) = thread::Builder::new().spawn(run) {
            tracing::warn!(%error, "fewer threads than asked for: the work takes longer");
            if started == 0 {
                let (items, next, work) = &*shared;
                one_after_another(items, next, work, |at, done| send.send((at, done)).is_ok());
            }
            break;
        }
    }
    receive.into_iter()
}

/// Takes item after item that no other thread has taken, until there is none or `keep` wants no more.
fn one_after_another<T, R>(
    items: &[T],
    next: &AtomicUsize,
    work: &impl Fn(&T) -> R,
    keep: impl Fn(usize, Option<R>) -> bool,
) {
    loop {
        let at = next.fetch_add(1, Ordering::Relaxed);
        let Some(item) = items.get(at) else { return };
        if !keep(at, catch_unwind(AssertUnwindSafe(|| work(item))).ok()) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Doubles 0 to 39, at most `forks` at once.
    struct Doubling {
        now: AtomicUsize,
        most: AtomicUsize,
    }

    impl Doubling {
        fn new() -> Arc<Self> {
            Arc::new(Self { now: AtomicUsize::new(0), most: AtomicUsize::new(0) })
        }

        fn of(&self, n: u64) -> u64 {
            self.most.fetch_max(self.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(n % 3));
            self.now.fetch_sub(1, Ordering::SeqCst);
            n * 2
        }
    }

    #[test]
    fn results_come_in_order_from_no_more_threads_than_asked_for() {
        let doubling = Doubling::new();
        let items: Vec<u64> = (0..40).collect();
        let doubled = for_each(&items, 4, |n| doubling.of(*n));
        assert_eq!(doubled, items.iter().map(|n| Some(n * 2)).collect::<Vec<_>>());
        assert!(doubling.most.load(Ordering::SeqCst) <= 4);
    }

    #[test]
    fn results_that_come_as_they_are_ready_name_their_items() {
        let doubling = Doubling::new();
        let own = Arc::clone(&doubling);
        let mut doubled: Vec<_> = for_each_as_it_comes((0..40).collect(), 4, move |n| own.of(*n)).collect();
        doubled.sort_unstable();
        assert_eq!(doubled, (0..40).map(|n| (usize::try_from(n).unwrap(), Some(n * 2))).collect::<Vec<_>>());
        assert!(doubling.most.load(Ordering::SeqCst) <= 4);
    }

    #[test]
    fn a_result_is_not_held_back_by_work_that_goes_on() {
        let (go_on, wait) = mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        let mut results = for_each_as_it_comes(vec![false, true], 2, move |waits| {
            if *waits {
                let _ = wait.lock().unwrap().recv();
            }
            *waits
        });
        assert_eq!(results.next(), Some((0, Some(false))));
        drop(go_on);
        assert_eq!(results.next(), Some((1, Some(true))));
        assert_eq!(results.next(), None);
    }

    #[test]
    fn nothing_to_do_and_no_forks_end_too() {
        assert_eq!(for_each(&[] as &[u8], 4, |n| *n), []);
        assert_eq!(for_each(&[1, 2, 3], 0, |n| *n), [Some(1), Some(2), Some(3)]);
        assert_eq!(for_each_as_it_comes(Vec::<u8>::new(), 4, |n| *n).count(), 0);
        assert_eq!(for_each_as_it_comes(vec![1, 2, 3], 0, |n| *n).count(), 3);
    }

    #[test]
    fn an_item_whose_work_panics_has_no_result_and_the_others_have() {
        let work = |n: &i32| {
            assert!(*n != 2, "on purpose");
            *n
        };
        assert_eq!(for_each(&[1, 2, 3], 2, work), [Some(1), None, Some(3)]);
        let mut results: Vec<_> = for_each_as_it_comes(vec![1, 2, 3], 2, work).collect();
        results.sort_unstable();
        assert_eq!(results, [(0, Some(1)), (1, None), (2, Some(3))]);
    }
}
