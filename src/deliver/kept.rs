//! Which of the server's connections can be closed so that another client gets its place: those that wait for their
//! client's next request, the longest waiting first. An answer that is on its way is never cut off.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The connections that wait, in the order in which they began to.
#[derive(Debug, Default)]
pub(super) struct Kept {
    waiting: Mutex<Waiting>,
    /// Another one waits.
    came: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    by_order: BTreeMap<u64, Arc<Notify>>,
}

/// One connection's own entry; dropped, it is gone.
#[derive(Debug)]
pub(super) struct Seat {
    kept: Arc<Kept>,
    end: Arc<Notify>,
    order: Mutex<Option<u64>>,
}

impl Kept {
    /// Ends the connection that has waited longest; false when none waits.
    pub(super) fn end_one(&self) -> bool {
        let first = self.lock().by_order.pop_first();
        first.inspect(|(_, end)| end.notify_one()).is_some()
    }

    /// Returns when another connection begins to wait.
    pub(super) async fn another(&self) {
        self.came.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// A connection that has just been made: its first request is on its way.
    pub(super) fn new(kept: &Arc<Kept>) -> Self {
        Self { kept: Arc::clone(kept), end: Arc::default(), order: Mutex::new(None) }
    }

    /// It waits for a request.
    pub(super) fn waits(&self) {
        let mut own = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let mut waiting = self.kept.lock();
        waiting.next += 1;
        let order = waiting.next;
        if let Some(before) = own.replace(order) {
            waiting.by_order.remove(&before);
        }
        waiting.by_order.insert(order, Arc::clone(&self.end));
        self.kept.came.notify_waiters();
    }

    /// It has a request to answer.
    pub(super) fn works(&self) {
        let mut own = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = own.take() {
            self.kept.lock().by_order.remove(&before);
        }
    }

    /// Returns when it is to end.
    pub(super) async fn told_to_end(&self) {
        self.end.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.works();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of the seat that was told to end.
    fn ended(seats: &[Seat]) -> Option<usize> {
        let told = |seat: &Seat| {
            let told = std::pin::pin!(seat.told_to_end());
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            told.poll(&mut cx).is_ready()
        };
        seats.iter().position(told)
    }

    #[test]
    fn the_longest_waiting_goes_first_and_one_at_work_never() {
        let kept = Arc::new(Kept::default());
        let seats: Vec<Seat> = (0..4).map(|_| Seat::new(&kept)).collect();
        assert!(!kept.end_one(), "their first requests are on their way");
        for seat in &seats {
            seat.waits();
        }
        seats[0].works();
        seats[1].works();
        seats[1].waits();
        let order: Vec<_> = (0..3).map(|_| (kept.end_one(), ended(&seats))).collect();
        assert_eq!(order, [(true, Some(2)), (true, Some(3)), (true, Some(1))]);
        assert!(!kept.end_one());
    }

    #[test]
    fn one_that_is_gone_is_not_told() {
        let kept = Arc::new(Kept::default());
        let seat = Seat::new(&kept);
        seat.waits();
        drop(seat);
        assert!(!kept.end_one());
    }
}
