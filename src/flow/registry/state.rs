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

impl Registry {
    const DOCUMENT: &'static str = "registry";

    pub fn load(environment: &Environment) -> Result<Option<Self>, FlowError> {
        environment.load(Self::DOCUMENT)
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

    /// `HOST:PORT` of each host.
    pub fn addresses(&self) -> impl Iterator<Item = String> {
        self.hosts.values().map(|machine| SocketAddr::new(machine.address, self.port).to_string())
    }

    /// All `NAME:PORT` by which it may be called, each with the `HOST:PORT` that answers: the address, the host's own name, and
    /// the name by which the site knows the host.
    pub fn names(&self) -> BTreeMap<String, String> {
        let mut names = BTreeMap::new();
        for (host, machine) in &self.hosts {
            let address = SocketAddr::new(machine.address, self.port).to_string();
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
