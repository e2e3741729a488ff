//! The administrator's kubeconfig, for people outside the cluster.

use camino::Utf8Path;

use crate::flow::error::FlowError;
use crate::flow::files::write_private_here;
use crate::flow::state::Environment;
use crate::host::Secret;

use super::converge::no_cluster;
use super::endpoint;
use super::keys::ClusterKeys;
use super::state::Cluster;

/// The kubeconfig of the environment's cluster.
///
/// # Errors
/// When there is no cluster, or its keys cannot be read.
pub fn kubeconfig(environment: &Environment) -> Result<Secret, FlowError> {
    let cluster = Cluster::load(environment)?.ok_or_else(|| no_cluster(environment))?;
    Ok(ClusterKeys::new(environment.pki(), &cluster).admin(&endpoint::for_people(&cluster)).issue()?)
}

/// Writes it, mode 0600, by rename.
///
/// # Errors
/// What the file system says, with the path.
pub fn write_kubeconfig(path: &Utf8Path, config: &Secret) -> Result<(), FlowError> {
    write_private_here(path, config.expose().as_bytes())
        .map_err(|source| FlowError::Failed { error: format!("{path}: {source}"), help: None })
}
