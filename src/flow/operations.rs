//! What an operation comes to: one flow, or several that run in order and hand each other the clusters they plan.

use std::collections::BTreeSet;

use crate::host::{HostId, Target};

use super::error::FlowError;
use super::problem::Problem;
use super::request::{ClusterCreate, ClusterRemove, EtcdChange, Operation};
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
    let job = Job { registry_comes: operations.iter().any(registry), flannel: for_flannel(operations, asked)? };
    for operation in operations {
        flows.extend(flows_of(operation, &job, asked)?);
    }
    for flow in &mut flows {
        problems.extend(flow.check_request(asked)?);
    }
    Ok((flows, problems))
}

/// What flows have to know of the other operations of their job.
struct Job {
    /// One of them brings a registry.
    registry_comes: bool,
    flannel: Flannel,
}

/// What flannel's package needs of the environment's etcd.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flannel {
    Nothing,
    /// An etcd that the job makes, or comes to, serves it.
    Created,
    /// An etcd that stands is to serve it first.
    Standing,
}

/// The etcd that a cluster of the job keeps the subnets of flannel's package in, where that is the environment's own.
fn for_flannel(operations: &[Operation], asked: &Asked<'_>) -> Result<Flannel, FlowError> {
    let known = etcd::Cluster::load(asked.environment)?;
    let create =
        operations.iter().find_map(|o| if let Operation::EtcdCreate(create) = o { Some(create) } else { None });
    let mut members: BTreeSet<HostId> = known.iter().flat_map(|known| known.members.keys().cloned()).collect();
    members.extend(create.iter().flat_map(|create| &create.members).map(Target::id));
    for operation in operations {
        let Operation::ClusterCreate(cluster) = operation else { continue };
        let is_own = !members.is_empty() && cluster.etcd.iter().all(|target| members.contains(&target.id()));
        if is_own && kubernetes::Converge::keeps_subnets_in_etcd(cluster, asked)? {
            // A cluster that stands has a flannel that works.
            let stands = kubernetes::Cluster::load(asked.environment)?.is_some_and(|cluster| cluster.standing);
            return Ok(match known {
                _ if create.is_some() => Flannel::Created,
                Some(known) if !known.flannel && !stands => Flannel::Standing,
                _ => Flannel::Nothing,
            });
        }
    }
    Ok(Flannel::Nothing)
}

/// The flows of an operation, in the order they run.
fn flows_of(operation: &Operation, job: &Job, asked: &Asked<'_>) -> Result<Flows, FlowError> {
    Ok(match operation {
        Operation::EtcdCreate(request) => {
            let is_for_flannel = job.flannel == Flannel::Created;
            vec![Box::new(etcd::Converge::create(request.clone()).for_flannel(is_for_flannel))]
        }
        Operation::ClusterCreate(request) => {
            let mut flows: Flows = Vec::new();
            if job.flannel == Flannel::Standing {
                flows.push(serve_flannel(request, asked)?);
            }
            let cluster = kubernetes::Converge::create((**request).clone());
            flows.push(Box::new(cluster.beside_registry(job.registry_comes)));
            flows
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

/// The environment's etcd, which serves flannel's package from now on.
fn serve_flannel(request: &ClusterCreate, asked: &Asked<'_>) -> Result<Box<dyn Flow>, FlowError> {
    let known = etcd::Cluster::load(asked.environment)?;
    let named: Vec<Target> =
        [&request.control_plane, &request.workers, &request.etcd].into_iter().flatten().cloned().collect();
    let members = known.iter().flat_map(|known| known.members.keys());
    let members = asked.logins(members, &named, "etcd's version 2 API must be switched on for the package flannel")?;
    Ok(Box::new(etcd::Converge::refresh(members, "let etcd serve flannel").for_flannel(true)))
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
