//! What the nodes of a cluster must know of a registry to pull from it, whoever runs it.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::flow::error::FlowError;
use crate::flow::pki::{Ask, Pki, Purpose};
use crate::flow::scene::Seen;
use crate::flow::state::Environment;
use crate::host::HostId;
use crate::plan::Made;

use super::site::SiteRegistry;
use super::state::{Registry, names};

/// One server.
#[derive(Debug, Clone)]
pub(crate) struct Served {
    /// All `HOST[:PORT]` by which an image there may be named.
    pub names: BTreeSet<String>,
    /// The `HOST[:PORT]` that answers.
    pub address: String,
    /// What stands before upstream's names there; empty for nothing.
    pub prefix: String,
    /// The authority that signs its certificate; `None`: one that hosts trust anyway.
    pub ca: Option<Arc<dyn Made>>,
    /// `NAME:PASSWORD` in base64, as HTTP's basic authentication has it (RFC 7617).
    pub login: Option<Arc<dyn Made>>,
}

impl Served {
    /// Open to everybody on this host, by a certificate of the environment's authority.
    pub(in crate::flow) fn open(pki: &Pki, host: &HostId, name: &str, address: IpAddr, port: u16) -> Self {
        Self {
            names: names(host, name, address, port),
            address: SocketAddr::new(address, port).to_string(),
            prefix: String::new(),
            ca: Some(pki.material(Purpose::Registry, Ask::Authority).cert()),
            login: None,
        }
    }
}

/// The registries of an environment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Registries {
    /// On hosts with the role.
    pub own: Option<Registry>,
    /// Another, which the site runs.
    pub site: Option<SiteRegistry>,
}

impl Registries {
    /// Those that are kept.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub(crate) fn load(environment: &Environment) -> Result<Self, FlowError> {
        Ok(Self { own: Registry::load(environment)?, site: SiteRegistry::load(environment)? })
    }

    /// What an earlier operation of the same job plans instead.
    pub(in crate::flow) fn learn(&mut self, seen: &Seen<'_>) {
        let Seen { registry, site_registry, .. } = seen;
        if let Some(registry) = registry {
            self.own = Some(registry.clone()).filter(|registry| !registry.hosts.is_empty());
        }
        if let Some(site) = site_registry {
            self.site.clone_from(&site.0);
        }
    }

    /// All servers, the environment's own first.
    pub(crate) fn served(&self, pki: &Pki) -> Vec<Served> {
        let own = self.own.iter().flat_map(|registry| registry.served(pki));
        own.chain(self.site.iter().map(|site| site.served(pki))).collect()
    }
}
