//! Why something could not be kept or read.

use camino::Utf8PathBuf;

/// The store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{path}: {source}")]
    Io { path: Utf8PathBuf, source: std::io::Error },
    #[error("{path}: {source}")]
    Sql { path: Utf8PathBuf, source: rusqlite::Error },
    #[error("{path}: {why}")]
    Damaged { path: Utf8PathBuf, why: String },
    #[error(
        "{path} was written by a newer version of this program (schema {found}; this version, {}, knows up to {known})",
        env!("CARGO_PKG_VERSION")
    )]
    Newer { path: Utf8PathBuf, found: i64, known: i64 },
    #[error("environment {environment} is in use by an earlier version of this program")]
    InUse { environment: String },
    #[error("{path}: {why}")]
    Vault { path: Utf8PathBuf, why: String },
}

impl StoreError {
    /// What the operator can do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Newer { .. } => Some("use that version, or name another folder with SUNSHINE_STATE_DIR".to_owned()),
            Self::InUse { .. } => Some("wait until that run has ended; its state is imported then".to_owned()),
            Self::Damaged { .. } | Self::Sql { .. } => {
                Some("it is left as it is; restore it from a backup (docs/state.md)".to_owned())
            }
            Self::Io { .. } | Self::Vault { .. } => None,
        }
    }
}
