//! Why a step did not do what it should, or a plan cannot be run at all.

use crate::deliver::DeliverError;
use crate::host::HostError;
use crate::packages::PackageError;

use super::event::Failure;
use super::step::StepId;

/// A plan whose edges cannot be resolved: a defect of whatever made it, found before anything is begun.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error("step {step} waits for {after}, which is not in the plan")]
    Unresolved { step: StepId, after: StepId },
    #[error("step {step} stands twice in the plan")]
    Twice { step: StepId },
    #[error("steps wait for each other: {}", list(steps))]
    Cycle { steps: Vec<StepId> },
}

fn list(steps: &[StepId]) -> String {
    steps.iter().map(StepId::as_str).collect::<Vec<_>>().join(", ")
}

/// A step's failure. The executor adds host and step; `help` says what the operator can do.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    #[error(transparent)]
    Host(#[from] HostError),
    #[error(transparent)]
    Packages(#[from] PackageError),
    #[error(transparent)]
    Deliver(#[from] DeliverError),
    /// The check still asks for changes after they were made.
    #[error("done, but the check afterwards still wants: {}", .0.join("; "))]
    NotVerified(Vec<String>),
    /// The run was interrupted before this step began.
    #[error("interrupted")]
    Interrupted,
    /// Something a flow found out, in its own words.
    #[error("{error}")]
    Failed { error: String, help: Option<String> },
}

/// What to do when nothing better is known: there is always something.
fn again() -> Option<String> {
    Some("fix the problem above on that host, then run the same command again: it continues here".to_owned())
}

impl StepError {
    pub fn failed(error: impl Into<String>) -> Self {
        Self::Failed { error: error.into(), help: None }
    }

    pub fn with_help(error: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Failed { error: error.into(), help: Some(help.into()) }
    }

    /// The operator's view of it.
    pub fn failure(&self) -> Failure {
        let (help, unreachable) = match self {
            Self::Host(e) => (e.help().or_else(again), e.is_unreachable()),
            Self::Packages(e) => (e.help().or_else(again), e.is_unreachable()),
            Self::Deliver(e) => (e.help().or_else(again), e.is_unreachable()),
            Self::NotVerified(_) => (
                Some(
                    "something on the host changes it back, or another tool manages it; see the host's journal".into(),
                ),
                false,
            ),
            Self::Interrupted => (Some("run the same command again: it continues from here".into()), false),
            Self::Failed { help, .. } => (help.clone().or_else(again), false),
        };
        Failure { error: self.to_string(), help, unreachable }
    }
}
