//! In whose name a run changes a host.

/// Who writes a host's change record and holds its lease: an environment, by this product's version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The environment's id: other control hosts may have an environment of the same name.
    pub environment: String,
    pub version: String,
}

impl Owner {
    /// This program, working for an environment.
    pub fn of(environment: impl Into<String>) -> Self {
        Self { environment: environment.into(), version: env!("CARGO_PKG_VERSION").to_owned() }
    }
}
