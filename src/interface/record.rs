//! What the list of environments keeps of a job: its kind and its request, without a secret.

use serde_json::{Map, Value, json};

use crate::flow::ec2::Ec2Create;
use crate::flow::request::{Job, Network, Operation};
use crate::host::Target;
use crate::store::{Kind, NewTask};

/// The task that a job is.
pub(crate) fn new_task(job: &Job) -> NewTask {
    let mut params = Map::new();
    for operation in &job.operations {
        describe(operation, &mut params);
    }
    NewTask { kind: kind(job), params: Value::Object(params) }
}

/// The contract's number of what a job does; the first operation that has one counts.
fn kind(job: &Job) -> Kind {
    let kinds = job.operations.iter().map(|operation| match operation {
        Operation::EtcdCreate(_) | Operation::ClusterCreate(_) => Kind::Create,
        Operation::EtcdAdd(_) | Operation::ClusterAdd(_) => Kind::Add,
        Operation::EtcdRemove(_) | Operation::ClusterRemove(_) => Kind::Remove,
        Operation::Ec2Create(_) => Kind::Ec2,
        _ => Kind::Other,
    });
    kinds.into_iter().find(|kind| *kind != Kind::Other).unwrap_or(Kind::Other)
}

fn describe(operation: &Operation, params: &mut Map<String, Value>) {
    let mut put = |key: &str, targets: &[Target]| {
        if !targets.is_empty() {
            let names: Vec<String> = targets.iter().map(ToString::to_string).collect();
            params.insert(key.to_owned(), json!(names));
        }
    };
    match operation {
        Operation::EtcdCreate(etcd) => put("etcd-host-list", &etcd.members),
        Operation::EtcdAdd(etcd) | Operation::EtcdRemove(etcd) => put("etcd-host-list", &etcd.members),
        Operation::ClusterCreate(cluster) => {
            put("master-host-list", &cluster.control_plane);
            put("node-host-list", &cluster.workers);
            put("etcd-host-list", &cluster.etcd);
            if cluster.settings.network != Network::Auto {
                params.insert("cni".to_owned(), json!(network_word(&cluster.settings.network)));
            }
        }
        Operation::ClusterAdd(change) => {
            put("master-host-list", &change.control_plane);
            put("node-host-list", &change.workers);
            put("etcd-host-list", &change.etcd);
        }
        Operation::ClusterRemove(change) => {
            put("master-host-list", &change.control_plane);
            put("node-host-list", &change.workers);
            put("etcd-host-list", &change.etcd);
        }
        Operation::Ec2Create(request) => describe_ec2(request, params),
        _ => {}
    }
}

/// By the contract's names.
fn describe_ec2(request: &Ec2Create, params: &mut Map<String, Value>) {
    let mut put = |key: &str, value: Value| params.insert(key.to_owned(), value);
    put("ImageId", json!(request.image));
    put("certificate_Name", json!(request.key_name));
    put("MinCount", json!(request.min));
    put("MaxCount", json!(request.max));
    put("node_type", json!("EC2"));
    put("InstanceType", json!(request.instance_type));
    if let Some(subnet) = &request.subnet {
        put("SubnetId", json!(subnet));
    }
    if !request.security_groups.is_empty() {
        put("SecurityGroupIds", json!(request.security_groups));
    }
    if let Some(region) = &request.access.region {
        put("Region", json!(region));
    }
}

fn network_word(network: &Network) -> &str {
    match network {
        Network::Auto => "auto",
        Network::Flannel => "flannel",
        Network::Direct => "direct",
        Network::Manifest(name) => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::request::{EtcdCreate, RunOptions};
    use crate::host::TargetDefaults;

    #[test]
    fn a_task_keeps_no_password() {
        let member = Target::parse("root:geheim@10.8.14.200:2222", &TargetDefaults::default()).unwrap();
        let create = EtcdCreate { members: vec![member], rpms: vec![], tls: true, wipe_data: vec![] };
        let job = Job { operations: vec![Operation::EtcdCreate(create)], options: RunOptions::default() };
        let task = new_task(&job);
        assert_eq!(task.kind, Kind::Create);
        assert_eq!(task.params.to_string(), r#"{"etcd-host-list":["root@10.8.14.200:2222"]}"#);
    }
}
