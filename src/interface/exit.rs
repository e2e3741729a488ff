//! The exit codes of the command line (contract, section 5).

use std::process::ExitCode;

use payload::BundleError;

use crate::flow::{FlowError, JobReport};

/// How an invocation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 0: all done.
    Done,
    /// 1: the work failed on some host.
    Failed,
    /// 2: the command line, a file or a parameter is wrong; nothing was touched.
    Usage,
    /// 3: the bundle is damaged.
    Damaged,
    /// 130: interrupted.
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Damaged => 3,
            Exit::Interrupted => 130,
        })
    }
}

/// What a job's end means for the exit code.
pub(crate) fn of_job(result: &Result<JobReport, FlowError>) -> Exit {
    match result {
        Ok(report) if report.interrupted => Exit::Interrupted,
        Ok(report) if report.ok => Exit::Done,
        Ok(_) => Exit::Failed,
        Err(e) => of_error(e),
    }
}

/// What an error means for the exit code.
pub(crate) fn of_error(error: &FlowError) -> Exit {
    match error {
        FlowError::Request { .. } => Exit::Usage,
        FlowError::Bundle(e) => of_bundle(e),
        FlowError::Deliver(e) if e.is_damage() => Exit::Damaged,
        FlowError::Packages(e) if e.is_damage() => Exit::Damaged,
        _ => Exit::Failed,
    }
}

/// A damaged bundle, a disk that failed, or a file that the user named wrongly.
fn of_bundle(error: &BundleError) -> Exit {
    match error {
        _ if error.is_damage() => Exit::Damaged,
        BundleError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Exit::Usage,
        _ if error.is_io() => Exit::Failed,
        _ => Exit::Usage,
    }
}
