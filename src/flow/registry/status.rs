//! How the environment's registry is now, asked from its hosts.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::flow::error::FlowError;
use crate::flow::state::Environment;
use crate::host::HostId;
use crate::registry::{self, Client};

use super::state::Registry;

/// The live registry, by host.
#[derive(Debug, Clone, Serialize)]
pub struct Status(pub BTreeMap<HostId, HostStatus>);

/// The registry of one host.
#[derive(Debug, Clone, Serialize)]
pub struct HostStatus {
    /// `HOST:PORT`
    pub address: String,
    pub healthy: bool,
    /// Why it is not healthy; empty when it is.
    pub error: String,
}

impl Status {
    pub fn is_whole(&self) -> bool {
        self.0.values().all(|host| host.healthy)
    }
}

/// Asks the environment's registry over TLS, under its authority. Hosts that do not answer are in the result, with why.
///
/// # Errors
/// When there is none, or its state cannot be read.
pub fn status(environment: &Environment) -> Result<Status, FlowError> {
    let registry = Registry::of(environment)?;
    let ca = registry.authority_file(&environment.pki());
    let ask = |address: String| {
        let ca = ca.clone();
        let at = registry::Registry { address: address.clone(), plain_http: false, ca, login: None };
        let error = Client::new(at).and_then(|mut client| client.answers()).err().map(|e| e.to_string());
        HostStatus { address, healthy: error.is_none(), error: error.unwrap_or_default() }
    };
    let hosts = registry.hosts.iter();
    Ok(Status(hosts.map(|(host, machine)| (host.clone(), ask(registry.address(machine)))).collect()))
}
