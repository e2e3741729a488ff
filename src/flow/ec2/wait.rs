//! Waiting for instances, with a line for whoever watches.

use std::thread;
use std::time::{Duration, Instant};

use crate::plan::{Cx, StepError};

use super::cloud::{Cloud, Mark};
use super::error::Ec2Error;
use super::instance::Instance;

/// A limit on a wait, and how often EC2 is asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    limit: Duration,
    first: Duration,
    longest: Duration,
}

impl Patience {
    pub(super) fn minutes(minutes: u64) -> Self {
        Self {
            limit: Duration::from_secs(minutes * 60),
            first: Duration::from_secs(1),
            longest: Duration::from_secs(8),
        }
    }
}

/// Asks until `done` says so. `done` gives a word on how it stands else.
pub(super) fn until(
    cx: &Cx<'_>,
    patience: Patience,
    mut done: impl FnMut() -> Result<Option<String>, StepError>,
) -> Result<(), StepError> {
    let begun = Instant::now();
    let mut pause = patience.first;
    let mut last = String::new();
    loop {
        let Some(word) = done()? else { return Ok(()) };
        if begun.elapsed() >= patience.limit {
            return Err(StepError::with_help(
                format!("after {} minutes: {word}", patience.limit.as_secs() / 60),
                "run the same command again: it continues to wait for these; `ec2 terminate` terminates them",
            ));
        }
        if word != last {
            cx.note(word.clone());
            last = word;
        }
        let end = Instant::now() + pause;
        while Instant::now() < end {
            if cx.interrupt.is_set() {
                return Err(StepError::Interrupted);
            }
            thread::sleep(Duration::from_millis(100));
        }
        pause = (pause * 3 / 2).min(patience.longest);
    }
}

/// The instances of one request, alive or not.
pub(super) fn of_request(cloud: &Cloud, mark: Mark<'_>, token: &str) -> Result<Vec<Instance>, Ec2Error> {
    let mut found = cloud.instances(mark)?;
    found.retain(|instance| instance.request.as_deref() == Some(token));
    found.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(found)
}
