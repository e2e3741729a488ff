//! Answers about tasks, kept for a moment: hundreds of clients that poll one task cost one look into the store, and most are
//! answered on the thread that read their request.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

/// How old an answer may be.
const MOMENT: Duration = Duration::from_millis(100);
/// Answers kept at most.
const KEPT: usize = 256;

/// The answers of the last moment, by environment and type.
#[derive(Debug, Default)]
pub(crate) struct Recent(Mutex<Answers>);

#[derive(Debug, Default)]
struct Answers {
    /// Counts what this listener changed: what was read before a change is not kept after it.
    changes: u64,
    answers: HashMap<(String, u8), (Instant, Bytes)>,
}

/// Taken before the store is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticket(u64);

impl Recent {
    /// The answer of a moment ago, or a ticket to keep a new one with.
    pub(crate) fn get(&self, environment: &str, number: u8) -> Result<Bytes, Ticket> {
        let answers = self.lock();
        match answers.answers.get(&(environment.to_owned(), number)) {
            Some((when, answer)) if when.elapsed() < MOMENT => Ok(answer.clone()),
            _ => Err(Ticket(answers.changes)),
        }
    }

    pub(crate) fn put(&self, ticket: Ticket, environment: &str, number: u8, answer: Bytes) {
        let mut answers = self.lock();
        if answers.changes != ticket.0 {
            return;
        }
        if answers.answers.len() >= KEPT {
            answers.answers.clear();
        }
        answers.answers.insert((environment.to_owned(), number), (Instant::now(), answer));
    }

    /// A task was started or an environment forgotten: whoever asks from now on sees that.
    pub(crate) fn changed(&self) {
        let mut answers = self.lock();
        answers.changes += 1;
        answers.answers.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Answers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_kept_for_a_moment_and_not_over_a_change() {
        let recent = Recent::default();
        let ticket = recent.get("a", 1).unwrap_err();
        recent.put(ticket, "a", 1, Bytes::from_static(b"old"));
        assert_eq!(recent.get("a", 1).unwrap(), "old");
        assert!(recent.get("a", 3).is_err() && recent.get("b", 1).is_err());
        recent.changed();
        let late = recent.get("a", 1);
        assert!(late.is_err());
        recent.put(ticket, "a", 1, Bytes::from_static(b"read before the change"));
        assert!(recent.get("a", 1).is_err());
        recent.put(late.unwrap_err(), "a", 1, Bytes::from_static(b"new"));
        std::thread::sleep(MOMENT);
        assert!(recent.get("a", 1).is_err(), "a moment later it is asked anew");
    }
}
