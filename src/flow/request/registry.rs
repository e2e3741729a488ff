//! Requests about registries: one on hosts of the environment, and one that the site runs itself.

use camino::Utf8PathBuf;

use crate::host::{Secret, Target};
use crate::registry::Place;

/// A registry of container images on each of these hosts, and what they are made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryCreate {
    pub hosts: Vec<Target>,
    pub settings: RegistrySettings,
}

/// Hosts that stop being a registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistryRemove {
    pub hosts: Vec<Target>,
    /// Go on when one of them does not answer.
    pub force: bool,
    /// Hosts of the cluster, named for their credentials: its nodes forget the registry.
    pub also: Vec<Target>,
}

/// A registry that is to be cleaned up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistryCollect {
    /// Empty: all of the environment.
    pub hosts: Vec<Target>,
    /// Images without a tag are deleted too.
    pub untagged: bool,
}

/// What a registry is made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrySettings {
    pub port: u16,
    /// The folder that holds the images.
    pub storage: String,
    /// Without any, everybody who reaches the port may push and pull.
    pub users: Vec<RegistryUser>,
    /// A certificate of the site's own.
    pub certificate: Option<CertificateFiles>,
}

/// A certificate with its key, as PEM files of the control host.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CertificateFiles {
    pub certificate: Utf8PathBuf,
    pub key: Utf8PathBuf,
    /// The authority that signed it, where clients do not trust it anyway.
    pub ca: Option<Utf8PathBuf>,
}

/// A registry that the site runs itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteRegistrySettings {
    pub place: Place,
    pub ca_file: Option<Utf8PathBuf>,
    pub user: Option<String>,
    /// `None`: the current one is kept.
    pub password: Option<Secret>,
}

/// Who may push to a registry and pull from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryUser {
    pub name: String,
    /// `None`: the current one is kept.
    pub password: Option<Secret>,
}

impl Default for RegistrySettings {
    fn default() -> Self {
        Self { port: 5000, storage: "/var/lib/registry".to_owned(), users: Vec::new(), certificate: None }
    }
}
