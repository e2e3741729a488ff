//! What `collect` can fail with, in words that say what to do.

use super::distro::Distro;

/// One thing that is in the way.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Problem {
    text: String,
    help: Option<String>,
    /// The network, a repository or this machine failed, not the request.
    machine: bool,
}

impl Problem {
    /// An option, an input or what a repository holds is wrong.
    pub(super) fn input(text: impl Into<String>, help: impl Into<String>) -> Self {
        Self { text: text.into(), help: Some(help.into()), machine: false }
    }

    /// The machine or the network failed.
    pub(super) fn machine(text: impl Into<String>, help: impl Into<String>) -> Self {
        Self { text: text.into(), help: Some(help.into()), machine: true }
    }

    /// The same, of one distribution.
    pub(super) fn of(self, distro: &Distro) -> Self {
        Self { text: format!("{distro}: {}", self.text), ..self }
    }

    pub(crate) fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }

    pub(crate) fn is_machine(&self) -> bool {
        self.machine
    }
}
