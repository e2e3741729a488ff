//! What is kept of an environment's registry, in the document `registry`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use crate::flow::error::FlowError;
use crate::flow::pki::{Ask, Pki, Purpose};
use crate::flow::state::Environment;
use crate::host::HostId;
use crate::plan::Made;

use super::certificate::SiteCertificate;
use super::served::Served;
use super::users::NodeLogin;

/// A registry as it was set up; each of its hosts has images of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registry {
    pub port: u16,
    /// The folder that holds the images.
    pub storage: String,
    /// Hashes of passwords (bcrypt), by user.
    pub users: BTreeMap<String, String>,
    /// The site's own, in place of one that the environment's authority signs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<SiteCertificate>,
    pub hosts: BTreeMap<HostId, Machine>,
}

/// A host with a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The host's own name.
    pub name: String,
    /// By which others reach it.
    pub address: IpAddr,
    /// By which clients call it instead, where its certificate is not for the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub called: Option<String>,
}

/// Nothing to remove from, to clean up or to ask.
fn no_registry(environment: &Environment) -> FlowError {
    FlowError::request_with_help(
        format!("environment {} has no registry", environment.name),
        "give a host the role registry in cluster.yaml, or name another environment with --environment",
    )
}

/// All `NAME:PORT` of a server on this host, which calls itself `name`.
pub(super) fn names(host: &HostId, name: &str, address: IpAddr, port: u16) -> BTreeSet<String> {
    let names = [name, host.address()].into_iter().filter(|name| name.parse::<IpAddr>().is_err());
    let names = names.map(|name| format!("{name}:{port}"));
    names.chain([SocketAddr::new(address, port).to_string()]).collect()
}

impl Registry {
    const DOCUMENT: &'static str = "registry";

    /// The environment's registry.
    ///
    /// # Errors
    /// When it has none, or the state cannot be read.
    pub fn of(environment: &Environment) -> Result<Self, FlowError> {
        Self::load(environment)?.ok_or_else(|| no_registry(environment))
    }

    pub fn load(environment: &Environment) -> Result<Option<Self>, FlowError> {
        environment.load(Self::DOCUMENT)
    }

    /// There is none any more; its authority stays, for one that may come again.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub fn forget(environment: &Environment) -> Result<(), FlowError> {
        environment.forget(Self::DOCUMENT)
    }

    pub fn save(&self, environment: &Environment) -> Result<(), FlowError> {
        environment.save(Self::DOCUMENT, self)
    }

    /// The hosts of the environment's registry; none where it has none.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn hosts_of(environment: &Environment) -> Result<BTreeSet<HostId>, FlowError> {
        Ok(Self::load(environment)?.into_iter().flat_map(|registry| registry.hosts.into_keys()).collect())
    }

    /// `HOST:PORT` of one of its hosts.
    pub fn address(&self, machine: &Machine) -> String {
        match &machine.called {
            Some(name) => format!("{name}:{}", self.port),
            None => SocketAddr::new(machine.address, self.port).to_string(),
        }
    }

    /// `HOST:PORT` of each host.
    pub fn addresses(&self) -> impl Iterator<Item = String> {
        self.hosts.values().map(|machine| self.address(machine))
    }

    /// All `NAME:PORT` by which a host of it may be called: the address, the host's own name, and the name by which the site
    /// knows the host.
    fn names(&self, host: &HostId, machine: &Machine) -> BTreeSet<String> {
        let mut names = names(host, &machine.name, machine.address, self.port);
        names.insert(self.address(machine));
        names
    }

    /// Whether it may be called so: `NAME:PORT`.
    pub fn is_called(&self, name: &str) -> bool {
        self.hosts.iter().any(|(host, machine)| self.names(host, machine).contains(name))
    }

    /// What nodes must know of each of its hosts.
    pub(super) fn served(&self, pki: &Pki) -> impl Iterator<Item = Served> {
        self.hosts.iter().map(|(host, machine)| Served {
            names: self.names(host, machine),
            address: self.address(machine),
            prefix: String::new(),
            ca: self.authority(pki),
            login: (!self.users.is_empty()).then(|| Arc::new(NodeLogin::new(pki)) as Arc<dyn Made>),
        })
    }

    /// The file on the control host that its clients trust; `None` where they trust the certificate anyway.
    pub fn authority_file(&self, pki: &Pki) -> Option<Utf8PathBuf> {
        match &self.certificate {
            Some(site) => site.ca_file(pki),
            None => Some(pki.authority_file(Purpose::Registry)),
        }
    }

    /// The certificate that its clients trust; `None` likewise.
    pub(super) fn authority(&self, pki: &Pki) -> Option<Arc<dyn Made>> {
        match &self.certificate {
            Some(site) => site.ca(pki),
            None => Some(pki.material(Purpose::Registry, Ask::Authority).cert()),
        }
    }
}
