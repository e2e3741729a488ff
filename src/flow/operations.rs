//! What an operation comes to: one flow, or several that run in order and hand each other the clusters they plan.

use super::error::FlowError;
use super::request::{ClusterRemove, EtcdChange, Operation};
use super::reset::Reset;
use super::scene::{Asked, Flow};
use super::{certs, ec2, etcd, kubernetes};

/// The flows of an operation, in the order they run.
pub(super) fn flows_of(operation: &Operation, asked: &Asked<'_>) -> Result<Vec<Box<dyn Flow>>, FlowError> {
    Ok(match operation {
        Operation::EtcdCreate(request) => vec![Box::new(etcd::Create::new(request.clone()))],
        Operation::ClusterCreate(request) => vec![Box::new(kubernetes::Create::new((**request).clone()))],
        Operation::ClusterAdd(change) => {
            let mut flows: Vec<Box<dyn Flow>> = Vec::new();
            if !change.etcd.is_empty() {
                let etcd = EtcdChange { members: change.etcd.clone(), rpms: change.etcd_rpms.clone(), force: false };
                flows.push(Box::new(etcd::Create::add(etcd)));
            }
            flows.push(Box::new(kubernetes::Create::add(change.clone())));
            flows
        }
        Operation::ClusterRemove(change) => {
            let mut flows: Vec<Box<dyn Flow>> = Vec::new();
            if !change.etcd.is_empty() {
                let etcd = EtcdChange { members: change.etcd.clone(), rpms: Vec::new(), force: change.force };
                flows.push(Box::new(etcd::Remove::new(etcd)));
            }
            flows.push(Box::new(kubernetes::Remove::new(change.clone())));
            if !change.etcd.is_empty() {
                flows.extend(tell(asked, change)?);
            }
            flows
        }
        Operation::ClusterReset(request) => vec![Box::new(Reset::new(request.clone()))],
        Operation::EtcdAdd(change) => {
            let mut flows: Vec<Box<dyn Flow>> = vec![Box::new(etcd::Create::add(change.clone()))];
            flows.extend(tell(asked, &ClusterRemove::default())?);
            flows
        }
        Operation::EtcdRemove(change) => {
            let mut flows: Vec<Box<dyn Flow>> = vec![Box::new(etcd::Remove::new(change.clone()))];
            flows.extend(tell(asked, &ClusterRemove::default())?);
            flows
        }
        Operation::CertsRenew(also) => certs::flows(asked, also)?,
        Operation::Ec2Create(request) => vec![Box::new(ec2::Create::new((**request).clone()))],
        Operation::Ec2Terminate(request) => vec![Box::new(ec2::Terminate::new(request.clone()))],
    })
}

/// The API servers of the environment's cluster, when it has one, learn of the etcd members.
fn tell(asked: &Asked<'_>, change: &ClusterRemove) -> Result<Option<Box<dyn Flow>>, FlowError> {
    let cluster = kubernetes::Cluster::load(asked.environment)?;
    Ok(cluster.map(|_| -> Box<dyn Flow> { Box::new(kubernetes::Create::tell(change)) }))
}
