//! What a step may use while it runs.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::host::{Facts, Host, HostId};
use crate::packages::HostRepo;

use super::error::StepError;
use super::event::{Event, Events};
use super::owner::Owner;

/// A host of this run: connected, its facts read.
#[derive(Debug)]
pub struct RunHost {
    pub host: Host,
    pub facts: Facts,
    /// Its view of the temporary repository; `None` when nothing is to be installed on it.
    pub repo: Mutex<Option<HostRepo>>,
    /// In whose name its change record is written.
    pub owner: Owner,
}

impl RunHost {
    pub fn new(host: Host, facts: Facts, owner: Owner) -> Self {
        Self { host, facts, repo: Mutex::new(None), owner }
    }

    /// The repository's way to this host, when it has one.
    pub fn route(&self) -> Option<String> {
        let repo = self.repo.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        repo.as_ref().map(|r| r.route().to_string())
    }
}

/// The hosts of a run.
pub type RunHosts = BTreeMap<HostId, RunHost>;

/// Set by SIGINT, SIGTERM, SIGHUP or a REST listener that ends: no further step starts.
#[derive(Debug, Default)]
pub struct Interrupt(AtomicBool);

impl Interrupt {
    pub fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// A running step's surroundings.
#[derive(Debug)]
pub struct Cx<'a> {
    pub hosts: &'a RunHosts,
    pub events: &'a Events,
    pub interrupt: &'a Interrupt,
    pub(super) host: Option<&'a RunHost>,
    pub(super) step: &'a str,
    pub(super) dry_run: bool,
}

impl<'a> Cx<'a> {
    /// The host this step runs on.
    ///
    /// # Errors
    /// When a step made for the control host asks for one: the plan is wrong, and says so instead of panicking.
    pub fn run_host(&self) -> Result<&'a RunHost, StepError> {
        self.host.ok_or_else(|| StepError::failed(format!("step {} has no host", self.step)))
    }

    /// The connection to this step's host.
    ///
    /// # Errors
    /// As [`Cx::run_host`].
    pub fn host(&self) -> Result<&'a Host, StepError> {
        Ok(&self.run_host()?.host)
    }

    /// In whose name the change record of this step's host is written.
    ///
    /// # Errors
    /// As [`Cx::run_host`].
    pub fn owner(&self) -> Result<&'a Owner, StepError> {
        Ok(&self.run_host()?.owner)
    }

    /// A dry run prints what would change; any other run has no use for diffs.
    pub fn wants_detail(&self) -> bool {
        self.dry_run
    }

    /// A line for whoever watches this step.
    pub fn note(&self, text: impl Into<String>) {
        let host = self.host.map(|h| h.host.name().to_string());
        self.events.send(&Event::StepNote { host, step: self.step.to_owned(), text: text.into() });
    }
}
