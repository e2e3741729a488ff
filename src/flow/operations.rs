//! What an operation comes to: one flow, or several that run in order and hand each other the clusters they plan.

use std::collections::BTreeSet;

use crate::host::{HostId, Target};

use super::error::FlowError;
use super::problem::Problem;
use super::request::{ClusterRemove, EtcdChange, Operation};
use super::reset::Reset;
use super::scene::{Asked, Flow, Flows};
use super::{certs, ec2, etcd, kubernetes, registry};

/// The flows of all operations, and what each finds wrong in its request.
///
/// # Errors
/// When a request is refused.
pub(super) fn checked_flows(operations: &[Operation], asked: &Asked<'_>) -> Result<(Flows, Vec<Problem>), FlowError> {
    let (mut flows, mut problems) = (Vec::new(), Vec::new());
    let registry =
        |operation: &Operation| matches!(operation, Operation::RegistryCreate(_) | Operation::RegistryUse(Some(_)));
    let registry_comes = operations.iter().any(registry);
    for operation in operations {
        flows.extend(flows_of(operation, registry_comes, asked)?);
    }
    for flow in &mut flows {
        problems.extend(flow.check_request(asked)?);
    }
    Ok((flows, problems))
}

/// The flows of an operation, in the order they run; `registry_comes`: one of the job's operations brings a registry.
fn flows_of(operation: &Operation, registry_comes: bool, asked: &Asked<'_>) -> Result<Flows, FlowError> {
    Ok(match operation {
        Operation::EtcdCreate(request) => vec![Box::new(etcd::Converge::create(request.clone()))],
        Operation::ClusterCreate(request) => {
            vec![Box::new(kubernetes::Converge::create((**request).clone()).beside_registry(registry_comes))]
        }
        Operation::ClusterAdd(change) => {
            let cluster = kubernetes::Converge::add(change);
            if change.etcd.is_empty() {
                return Ok(vec![Box::new(cluster)]);
            }
            let etcd = EtcdChange { members: change.etcd.clone(), rpms: change.etcd_rpms.clone(), force: false };
            let cluster = match change.api_servers_later {
                true => cluster,
                false => cluster.and_refresh(control_plane(asked, &change.also, &change.control_plane)?),
            };
            vec![Box::new(etcd::Converge::add(etcd)), Box::new(cluster)]
        }
        Operation::ClusterRemove(change) if change.etcd.is_empty() => {
            vec![Box::new(kubernetes::Remove::new(change.clone()))]
        }
        Operation::ClusterRemove(change) => {
            let etcd = EtcdChange { members: change.etcd.clone(), rpms: Vec::new(), force: change.force };
            let mut flows: Flows =
                vec![Box::new(etcd::Remove::new(etcd)), Box::new(kubernetes::Remove::new(change.clone()))];
            if !change.api_servers_later {
                flows.extend(with_new_etcd(asked, change)?);
            }
            flows
        }
        Operation::ClusterReset(request) => vec![Box::new(Reset::new(request.clone()))],
        Operation::EtcdAdd(change) => {
            let mut flows: Flows = vec![Box::new(etcd::Converge::add(change.clone()))];
            flows.extend(with_new_etcd(asked, &ClusterRemove::default())?);
            flows
        }
        Operation::EtcdRemove(change) => {
            let mut flows: Flows = vec![Box::new(etcd::Remove::new(change.clone()))];
            flows.extend(with_new_etcd(asked, &ClusterRemove::default())?);
            flows
        }
        Operation::CertsRenew(also) => certs::flows(asked, also)?,
        Operation::ImagesSync(also) => vec![Box::new(kubernetes::ImageSync::new(asked, also)?)],
        Operation::RegistryCreate(request) => vec![Box::new(registry::Converge::create(request.clone()))],
        Operation::RegistryRemove(request) => {
            let mut flows: Flows = vec![Box::new(registry::Remove::new(request.clone()))];
            flows.extend(forgetting_registry(asked, &request.also)?);
            flows
        }
        Operation::RegistryUse(settings) => vec![Box::new(registry::Use::new(settings.clone()))],
        Operation::RegistryCollect(request) => vec![Box::new(registry::Collect::new(request.clone()))],
        Operation::Ec2Create(request) => vec![Box::new(ec2::Create::new((**request).clone()))],
        Operation::Ec2Terminate(request) => vec![Box::new(ec2::Terminate::new(request.clone()))],
    })
}

/// The control plane of the environment's cluster, when it has one, with the etcd members that there are then.
fn with_new_etcd(asked: &Asked<'_>, change: &ClusterRemove) -> Result<Option<Box<dyn Flow>>, FlowError> {
    if kubernetes::Cluster::load(asked.environment)?.is_none() {
        return Ok(None);
    }
    let staying = control_plane(asked, &change.also, &change.control_plane)?;
    let reason = "update the API servers' list of etcd members";
    Ok(Some(Box::new(kubernetes::Converge::refresh(staying, reason))))
}

/// The hosts of the environment's cluster, which forget a registry.
fn forgetting_registry(asked: &Asked<'_>, also: &[Target]) -> Result<Option<Box<dyn Flow>>, FlowError> {
    let Some(cluster) = kubernetes::Cluster::load(asked.environment)? else { return Ok(None) };
    let hosts: BTreeSet<&HostId> = cluster.control_plane.keys().chain(cluster.workers.keys()).collect();
    let hosts = asked.logins(hosts, also, "they must forget the registry")?;
    Ok(Some(Box::new(kubernetes::Converge::refresh(hosts, "let the nodes forget the registry"))))
}

/// The control plane nodes of the environment's cluster without `others`: their API servers must know etcd's members.
fn control_plane(asked: &Asked<'_>, also: &[Target], others: &[Target]) -> Result<Vec<Target>, FlowError> {
    let Some(cluster) = kubernetes::Cluster::load(asked.environment)? else { return Ok(Vec::new()) };
    let staying = cluster.control_plane.keys().filter(|host| others.iter().all(|t| t.id() != **host));
    asked.logins(staying, also, "their API servers must be updated with the etcd members")
}
