//! What happens during a run, as values. Everything that shows or keeps something of a run (the terminal, the log file,
//! `--json`, the journal, REST, the page) reads this one stream, and nothing else leaves a run.
//!
//! Events never hold a secret: titles and texts are made from [`crate::host::Command`]s and targets, which print stars.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use crate::host::HostId;

/// One thing that happened. Readers of stored events skip kinds they do not know ([`Event::Unknown`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A run begins; the steps are not known yet.
    RunStarted {
        run: String,
        environment: String,
        operations: Vec<String>,
        hosts: Vec<String>,
        dry_run: bool,
    },
    /// A line of the run that belongs to no step: what the preflight found, which route a host took, what is next.
    Note {
        host: Option<String>,
        level: Level,
        text: String,
        help: Option<String>,
    },
    /// The plan stands: how many steps, their weight together, and the weight of each host's own.
    Planned {
        steps: usize,
        weight: u64,
        #[serde(default)]
        hosts: BTreeMap<HostId, u64>,
    },
    /// What a step would change (`--dry-run`).
    WouldChange {
        host: Option<String>,
        step: String,
        title: String,
        changes: Vec<String>,
    },
    StepStarted {
        host: Option<String>,
        step: String,
        title: String,
    },
    /// A line of a running step, such as the package manager's.
    StepNote {
        host: Option<String>,
        step: String,
        text: String,
    },
    StepFinished {
        host: Option<String>,
        step: String,
        title: String,
        outcome: Outcome,
        weight: u64,
        took_ms: u64,
    },
    /// A command that a host ran (`-v`).
    Command {
        host: String,
        command: String,
        status: Option<i32>,
        took_ms: u64,
    },
    /// What the run made, for those who asked for it: the contract's object of type 5.
    Made {
        made: serde_json::Value,
    },
    /// The run is over; the last event of every run that was not killed.
    RunFinished {
        ok: bool,
        interrupted: bool,
        hosts: Vec<HostResult>,
        took_ms: u64,
    },
    #[serde(other)]
    Unknown,
}

/// How much a note matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Info,
    Warning,
    Error,
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Outcome {
    /// It was so already.
    Satisfied,
    /// It was not, and now it is.
    Changed,
    Failed {
        failure: Failure,
    },
    /// Not tried: `by` says what it would have needed.
    Blocked {
        by: String,
    },
}

/// Why a step failed, in the words the operator reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What went wrong, with command, exit status and last lines where a command did.
    pub error: String,
    /// What to do about it.
    pub help: Option<String>,
    pub unreachable: bool,
}

/// One line of the closing table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostResult {
    pub host: HostId,
    pub result: HostState,
    pub changed: usize,
    pub took_ms: u64,
    /// The repository's way to this host, when it needed one.
    pub route: Option<String>,
}

/// How a host came out of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostState {
    Ok,
    Failed,
    /// It never answered or was lost; nothing is known to be wrong with it.
    Unreachable,
    /// Steps of it waited for another host that failed.
    Blocked,
    /// Nothing was done on it: the run ended before.
    Untouched,
}

/// Somebody who is told of every event, in order.
pub trait Listener: Send {
    fn event(&mut self, event: &Event);
}

impl<F: FnMut(&Event) + Send> Listener for F {
    fn event(&mut self, event: &Event) {
        self(event);
    }
}

/// Hands every event to every listener, one at a time, so that all see the same order.
#[derive(Default)]
pub struct Events {
    listeners: Mutex<Vec<Box<dyn Listener>>>,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

impl Events {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn listen(&self, listener: impl Listener + 'static) {
        self.lock().push(Box::new(listener));
    }

    pub fn send(&self, event: &Event) {
        for listener in self.lock().iter_mut() {
            listener.event(event);
        }
    }

    pub fn note(&self, host: Option<&str>, level: Level, text: impl Into<String>, help: Option<String>) {
        self.send(&Event::Note { host: host.map(str::to_owned), level, text: text.into(), help });
    }

    // A listener that panicked must not silence the others.
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Box<dyn Listener>>> {
        self.listeners.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_kinds_are_tolerated_when_read_back() {
        let event: Event = serde_json::from_str(r#"{"event":"from_the_future","x":1}"#).unwrap();
        assert_eq!(event, Event::Unknown);
    }

    #[test]
    fn events_survive_a_round_trip() {
        let event = Event::StepFinished {
            host: Some("10.8.14.200".into()),
            step: "etcd.install".into(),
            title: "install etcd".into(),
            outcome: Outcome::Failed {
                failure: Failure { error: "dnf: exit status 1".into(), help: None, unreachable: false },
            },
            weight: 10,
            took_ms: 12,
        };
        let text = serde_json::to_string(&event).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
    }
}
