//! Progress of work on several threads. They count in an atomic number that one thread looks at now and then: a message
//! for every piece would wake that thread a thousand times a second, on the cores that are busy hashing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// How often the progress is told.
const EVERY: Duration = Duration::from_millis(50);

/// Bytes done, counted by all threads.
#[derive(Debug, Default)]
pub(crate) struct Done(AtomicU64);

impl Done {
    pub(crate) fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Tells `progress` the count, from the start until all workers' ends of the channel are dropped, and once more then.
    pub(crate) fn watch(&self, finished: &Receiver<()>, progress: &mut dyn FnMut(u64)) {
        progress(0);
        while let Err(RecvTimeoutError::Timeout) = finished.recv_timeout(EVERY) {
            progress(self.0.load(Ordering::Relaxed));
        }
        progress(self.0.load(Ordering::Relaxed));
    }
}

/// The channel whose closing says that all workers are done.
pub(crate) fn until_finished() -> (Sender<()>, Receiver<()>) {
    channel()
}
