//! From a description and an intent to the operations that flows run: the one place that knows both.

use crate::flow::request::{
    ClusterChange, ClusterCreate, ClusterRemove, ClusterReset, EtcdChange, EtcdCreate, Operation, RegistryCreate,
    RegistryRemove,
};

use super::cluster::{ClusterSpec, Intent, Request, Role, SiteRegistry};

/// The operations of several requests, in their order.
pub fn of_all(requests: &[Request]) -> Vec<Operation> {
    requests.iter().flat_map(operations).collect()
}

/// The operations that a request comes to, in the order in which they are to run.
pub fn operations(request: &Request) -> Vec<Operation> {
    let spec = &request.spec;
    match &request.intent {
        Intent::Converge { wipe_data } => converge(spec, wipe_data),
        Intent::Add => vec![add(spec)],
        Intent::Remove { force, .. } if !spec.hosts(Role::Registry).is_empty() => {
            let (hosts, also) = (spec.hosts(Role::Registry), spec.named());
            vec![Operation::RegistryRemove(RegistryRemove { hosts, force: *force, also })]
        }
        Intent::Remove { force, drain_timeout } => vec![match spec.kubernetes {
            Some(_) => Operation::ClusterRemove(ClusterRemove {
                control_plane: spec.hosts(Role::ControlPlane),
                workers: spec.hosts(Role::Worker),
                etcd: spec.hosts(Role::Etcd),
                force: *force,
                drain_timeout: *drain_timeout,
                also: spec.named(),
                api_servers_later: spec.api_servers_later,
            }),
            None => {
                Operation::EtcdRemove(EtcdChange { members: spec.hosts(Role::Etcd), rpms: Vec::new(), force: *force })
            }
        }],
        Intent::Renew => vec![Operation::CertsRenew(spec.named())],
        Intent::SyncImages => vec![Operation::ImagesSync(spec.named())],
        Intent::Reset { wipe_data, wipe_all, recorded_by } => vec![Operation::ClusterReset(ClusterReset {
            hosts: spec.named(),
            wipe_data: wipe_data.clone(),
            wipe_all: *wipe_all,
            recorded_by: recorded_by.clone(),
        })],
    }
}

/// etcd comes first: the API servers keep their data there; then the registry, which nodes are to trust.
fn converge(spec: &ClusterSpec, wipe_data: &[String]) -> Vec<Operation> {
    let mut operations = Vec::new();
    let members = spec.hosts(Role::Etcd);
    if !members.is_empty() {
        operations.push(Operation::EtcdCreate(EtcdCreate {
            members,
            rpms: spec.etcd.rpms.clone(),
            tls: spec.etcd.tls,
            wipe_data: wipe_data.to_vec(),
        }));
    }
    let hosts = spec.hosts(Role::Registry);
    if !hosts.is_empty() {
        operations.push(Operation::RegistryCreate(RegistryCreate { hosts, settings: spec.registry.clone() }));
    }
    operations.extend(spec.site_registry.as_ref().map(|site| match site {
        SiteRegistry::Use(settings) => Operation::RegistryUse(Some(settings.clone())),
        SiteRegistry::Forget => Operation::RegistryUse(None),
    }));
    if let Some(kubernetes) = &spec.kubernetes {
        operations.push(Operation::ClusterCreate(Box::new(ClusterCreate {
            control_plane: spec.hosts(Role::ControlPlane),
            workers: spec.hosts(Role::Worker),
            etcd: kubernetes.external_etcd.clone(),
            control_plane_rpms: kubernetes.control_plane_rpms.clone(),
            worker_rpms: kubernetes.worker_rpms.clone(),
            settings: kubernetes.settings.clone(),
            described: kubernetes.described,
        })));
    }
    operations
}

fn add(spec: &ClusterSpec) -> Operation {
    match &spec.kubernetes {
        Some(kubernetes) => Operation::ClusterAdd(ClusterChange {
            control_plane: spec.hosts(Role::ControlPlane),
            workers: spec.hosts(Role::Worker),
            etcd: spec.hosts(Role::Etcd),
            control_plane_rpms: kubernetes.control_plane_rpms.clone(),
            worker_rpms: kubernetes.worker_rpms.clone(),
            etcd_rpms: spec.etcd.rpms.clone(),
            also: spec.named(),
            api_servers_later: spec.api_servers_later,
        }),
        None => Operation::EtcdAdd(EtcdChange {
            members: spec.hosts(Role::Etcd),
            rpms: spec.etcd.rpms.clone(),
            force: false,
        }),
    }
}
