//! When the cluster's certificates end: those that the control host keeps, and those that kubeadm has made on the hosts.

use std::net::SocketAddr;

use tracing::warn;

use crate::flow::error::FlowError;
use crate::flow::pki::{self, Kept};
use crate::flow::state::Environment;
use crate::flow::tlsclient;

use super::keys::ClusterKeys;
use super::state::{API_PORT, Cluster};

/// All certificates of an environment, those that end first coming first. kubeadm makes and renews all of a host's together: they
/// are one entry, by the API server's own. A host that does not answer has none.
///
/// # Errors
/// When the state cannot be read.
pub fn certificates(environment: &Environment) -> Result<Vec<Kept>, FlowError> {
    let mut all = pki::kept(&environment.dir.join("pki"));
    if let Some(cluster) = Cluster::load(environment)?.filter(|c| c.distribution.rules().runs_control_plane()) {
        let ca = ClusterKeys::new(environment.pki(), &cluster).ca.issue()?;
        for (host, machine) in &cluster.control_plane {
            match tlsclient::certificate_ends(&ca.cert, SocketAddr::new(machine.address, API_PORT)) {
                Ok(ends) => all.push(Kept::new(format!("kubernetes/kubeadm on {host}"), ends)),
                Err(why) => warn!(host = host.as_str(), "the API server's certificate is not known: {why}"),
            }
        }
    }
    all.sort_by(|a, b| (a.ends, &a.name).cmp(&(b.ends, &b.name)));
    Ok(all)
}
