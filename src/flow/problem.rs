//! What stands in the way of a job, found before anything changes.

use crate::host::HostId;
use crate::plan::Level;

/// One problem, of one host or of the whole request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub host: Option<HostId>,
    /// [`Level::Error`] stops the job; a warning is told.
    pub level: Level,
    pub text: String,
    pub help: Option<String>,
}

impl Problem {
    pub fn error(host: &HostId, text: impl Into<String>, help: impl Into<String>) -> Self {
        Self { host: Some(host.clone()), level: Level::Error, text: text.into(), help: Some(help.into()) }
    }

    /// `HOST: TEXT`.
    pub(super) fn line(&self) -> String {
        self.host.as_ref().map_or_else(|| self.text.clone(), |host| format!("{host}: {}", self.text))
    }

    /// Told, and no reason to stop.
    pub fn info(host: &HostId, text: impl Into<String>) -> Self {
        Self { host: Some(host.clone()), level: Level::Info, text: text.into(), help: None }
    }

    pub fn warning(host: Option<&HostId>, text: impl Into<String>, help: Option<String>) -> Self {
        Self { host: host.cloned(), level: Level::Warning, text: text.into(), help }
    }
}
