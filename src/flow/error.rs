//! Why a job ended before, or apart from, its steps. Steps have their own ([`crate::plan::StepError`]).

use camino::Utf8PathBuf;

use crate::deliver::DeliverError;
use crate::flow::pki::PkiError;
use crate::packages::PackageError;
use crate::plan::{LockError, PlanError};

/// A job that did not get to run, or not to its end. The kind decides the exit code.
#[derive(Debug, thiserror::Error)]
pub enum FlowError {
    /// The request is wrong; no host was touched. Exit code 2.
    #[error("{error}")]
    Request { error: String, help: Option<String> },
    /// The bundle is damaged. Exit code 3.
    #[error(transparent)]
    Bundle(#[from] payload::BundleError),
    #[error("{path}: {source}")]
    State { path: Utf8PathBuf, source: std::io::Error },
    #[error(transparent)]
    Pki(#[from] PkiError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Deliver(#[from] DeliverError),
    #[error(transparent)]
    Packages(#[from] PackageError),
    /// The plan is wrong in itself; nothing of it was begun.
    #[error("the plan is wrong: {0}")]
    Plan(#[from] PlanError),
    /// Hosts are not fit for it, nothing was changed; every problem was already sent as an event. Exit code 1.
    #[error("{problems} problem(s) found on the hosts; nothing was changed")]
    Preflight { problems: usize },
    /// The environment's clusters are lost, and nothing else stands in the way of new ones: [`super::request::RunOptions::recreate`].
    /// Exit code 1.
    #[error("the environment's cluster is lost; nothing was changed")]
    Lost,
    /// The work failed for a reason that is no single step's.
    #[error("{error}")]
    Failed { error: String, help: Option<String> },
}

impl FlowError {
    pub fn request(error: impl Into<String>) -> Self {
        Self::Request { error: error.into(), help: None }
    }

    pub fn request_with_help(error: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Request { error: error.into(), help: Some(help.into()) }
    }

    /// What the operator can do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Request { help, .. } | Self::Failed { help, .. } => help.clone(),
            Self::Lock(LockError::Held { .. }) => {
                Some("wait until that run has ended, or name another --environment".into())
            }
            Self::Deliver(e) => e.help(),
            Self::Packages(e) => e.help(),
            Self::Plan(_) => {
                Some("this is a defect of this program: report it with the output of `support-bundle`".into())
            }
            Self::Lost => {
                Some("to create a new, empty cluster in its place, run the same command with --recreate".into())
            }
            Self::Preflight { .. } => Some("fix the problems above and run the same command again".into()),
            _ => None,
        }
    }
}
