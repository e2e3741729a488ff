//! Why something could not be kept or read.

use camino::Utf8PathBuf;

/// The store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{path}: {source}")]
    Io { path: Utf8PathBuf, source: std::io::Error },
    #[error("{path}: {source}")]
    Sql { path: Utf8PathBuf, source: rusqlite::Error },
    #[error("{path} was written by a newer version of this program (format {found}, this one knows {known})")]
    Newer { path: Utf8PathBuf, found: i64, known: i64 },
    #[error("{path}: {why}")]
    Vault { path: Utf8PathBuf, why: String },
}
