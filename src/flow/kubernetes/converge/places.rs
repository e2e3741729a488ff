//! What a run's hosts are called and where they are reached, as they answered.

use super::super::preflight;
use super::super::state::{Cluster, Machine};
use super::Converge;
use crate::flow::error::FlowError;
use crate::flow::etcd;
use crate::flow::scene::Seen;
use crate::host::Target;

impl Converge {
    /// Names and addresses of this run's hosts, as they answered.
    pub(super) fn place(&self, cluster: &mut Cluster, seen: &Seen<'_>) -> Result<(), FlowError> {
        for target in &self.control_plane {
            cluster.control_plane.insert(target.id(), machine(target, seen)?);
        }
        for target in &self.workers {
            if let Some(node) = cluster.workers.get_mut(&target.id()) {
                node.machine = machine(target, seen)?;
            }
        }
        Ok(())
    }
}

fn machine(target: &Target, seen: &Seen<'_>) -> Result<Machine, FlowError> {
    let host = target.id();
    let facts = seen.facts.get(&host).copied();
    let address = facts.and_then(|f| etcd::member_address(target, f)).filter(|ip| preflight::ipv4(*ip).is_some());
    match (facts, address) {
        (Some(facts), Some(address)) => Ok(Machine { name: facts.hostname.to_ascii_lowercase(), address }),
        _ => Err(FlowError::Failed {
            error: format!("{host} has no IPv4 address that the others could reach"),
            help: Some("give it an address and a default route".to_owned()),
        }),
    }
}
