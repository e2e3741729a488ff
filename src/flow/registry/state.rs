//! What is kept of an environment's registry, in the document `registry`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use crate::flow::error::FlowError;
use crate::flow::pki::{Ask, Material, Pki, Purpose};
use crate::flow::state::Environment;
use crate::host::HostId;

/// A registry as it was set up; each of its hosts has images of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registry {
    pub port: u16,
    /// The folder that holds the images.
    pub storage: String,
    /// Hashes of passwords (bcrypt), by user.
    pub users: BTreeMap<String, String>,
    pub hosts: BTreeMap<HostId, Machine>,
}

/// A host with a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The host's own name.
    pub name: String,
    /// By which others reach it.
    pub address: IpAddr,
}

/// Nothing to remove from, to clean up or to ask.
fn no_registry(environment: &Environment) -> FlowError {
    FlowError::request_with_help(
        format!("environment {} has no registry", environment.name),
        "give a host the role registry in cluster.yaml, or name another environment with --environment",
    )
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
        SocketAddr::new(machine.address, self.port).to_string()
    }

    /// `HOST:PORT` of each host.
    pub fn addresses(&self) -> impl Iterator<Item = String> {
        self.hosts.values().map(|machine| self.address(machine))
    }

    /// All `NAME:PORT` by which it may be called, each with the `HOST:PORT` that answers: the address, the host's own name, and
    /// the name by which the site knows the host.
    pub fn names(&self) -> BTreeMap<String, String> {
        let mut names = BTreeMap::new();
        for (host, machine) in &self.hosts {
            let address = self.address(machine);
            for name in
                [machine.name.as_str(), host.address()].into_iter().filter(|name| name.parse::<IpAddr>().is_err())
            {
                names.insert(format!("{name}:{}", self.port), address.clone());
            }
            names.insert(address.clone(), address);
        }
        names
    }

    /// The file on the control host that its clients trust.
    pub fn authority_file(environment: &Environment) -> Utf8PathBuf {
        environment.pki().authority_file(Purpose::Registry)
    }

    /// The certificate that its clients trust.
    pub fn authority(pki: &Pki) -> Material {
        pki.material(Purpose::Registry, Ask::Authority)
    }
}
