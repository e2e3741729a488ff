//! What can go wrong between the bundle and a host.

use std::io;
use std::net::SocketAddr;

use camino::Utf8PathBuf;
use payload::BundleError;

use crate::host::{HostError, HostId};

/// An error of this module. Its text says what was tried and why it failed; [`DeliverError::help`] what the user can do.
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    /// The server's port.
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    /// An rpm given with -f.
    #[error("cannot use the package {path}: {why}")]
    LocalRpm { path: Utf8PathBuf, why: String },
    /// An archive of images that is to be served.
    #[error("cannot serve the images in {path}: {why}")]
    Archive { path: Utf8PathBuf, why: String },
    /// The run's key.
    #[error("cannot sign the repository's metadata: {why}")]
    Signing { why: String },
    /// The yum metadata, or a package that it describes.
    #[error("cannot describe the packages given: {why}")]
    Metadata { why: String },
    /// The bundle is damaged or cannot be read.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The session with the host.
    #[error(transparent)]
    Host(#[from] HostError),
    /// What arrived is not what the signed metadata promises.
    #[error("{host} refused {what}: it is damaged ({detail})")]
    Damaged { host: HostId, what: String, detail: String },
}

impl DeliverError {
    /// What the user can do about it.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Bundle(error) => error.help(),
            Self::Host(error) => error.help(),
            Self::Listen { .. } => Some("another program may listen there: choose another port".into()),
            Self::Damaged { .. } => {
                Some("check the bundle with `bundle verify`, then run the same command again".into())
            }
            Self::LocalRpm { .. } | Self::Archive { .. } | Self::Signing { .. } | Self::Metadata { .. } => None,
        }
    }

    /// The host was not there, or went away: nothing is known to be wrong with it.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Host(error) if error.is_unreachable())
    }

    /// Whether the bundle, or what a host got of it, is damaged (exit code 3).
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Damaged { .. } => true,
            Self::Bundle(error) => error.is_damage(),
            _ => false,
        }
    }
}
