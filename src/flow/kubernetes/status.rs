//! How the cluster is now, asked from the live cluster: its nodes from the API, each component from itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use payload::Reference;
use serde::Serialize;
use serde_json::Value;

use crate::flow::error::FlowError;
use crate::flow::retry::Patience;
use crate::flow::state::Environment;
use crate::flow::{etcd, tlsclient};

use super::api::Api;
use super::certificates::certificates;
use super::converge::no_cluster;
use super::drift;
use super::endpoint;
use super::state::Cluster;

/// A scheduler or controller manager that has not renewed its lease for so long is not at work.
const LEASE: i64 = 30;

/// The live cluster.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// By node name.
    pub nodes: BTreeMap<String, NodeStatus>,
    /// By component: `kube-apiserver HOST`, `kube-scheduler`, `kube-controller-manager`, `etcd HOST`.
    pub components: BTreeMap<String, ComponentStatus>,
    /// Days until the first certificate of the cluster ends.
    pub certificates_days: Option<i64>,
}

/// One node.
#[derive(Debug, Clone, Serialize)]
pub struct NodeStatus {
    /// `Ready`, `NotReady` or `Unknown`, with `,SchedulingDisabled` when it is cordoned, as kubectl says it.
    pub status: String,
    pub roles: Vec<String>,
    /// Seconds since the node joined.
    pub age_seconds: i64,
    pub version: String,
    pub address: String,
    /// What the node says when it is not Ready.
    pub message: String,
    /// What is of another version than the cluster.
    pub drift: Vec<String>,
    pub images: ImagesStatus,
}

/// The bundle's images on one node, as its kubelet tells.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ImagesStatus {
    /// How many the node is to have.
    pub wanted: usize,
    /// How many of them it has.
    pub present: usize,
    /// Those that it does not have. Of an image that is neither the kubelet has not told.
    pub missing: Vec<String>,
}

/// One component.
#[derive(Debug, Clone, Serialize)]
pub struct ComponentStatus {
    pub healthy: bool,
    /// What it says of itself.
    pub message: String,
    /// Why it is not healthy; empty when it is.
    pub error: String,
}

impl ComponentStatus {
    fn of(result: Result<String, String>) -> Self {
        match result {
            Ok(message) => Self { healthy: true, message, error: String::new() },
            Err(error) => Self { healthy: false, message: String::new(), error },
        }
    }
}

impl Status {
    /// Every node Ready, with all images and of the cluster's version, every component healthy.
    pub fn is_whole(&self) -> bool {
        let is_well =
            |n: &NodeStatus| n.status.starts_with("Ready") && n.images.missing.is_empty() && n.drift.is_empty();
        self.nodes.values().all(is_well) && self.components.values().all(|c| c.healthy)
    }
}

/// Asks the environment's cluster.
///
/// # Errors
/// When there is none, or no control plane node's API answers.
pub fn status(environment: &Environment) -> Result<Status, FlowError> {
    let cluster = Cluster::load(environment)?.ok_or_else(|| no_cluster(environment))?;
    let api = Api::open(&environment.pki(), &cluster, Patience::SHORT)?;
    let mut components = BTreeMap::new();
    for (host, machine) in &cluster.control_plane {
        let server = endpoint::of_machine(machine);
        let health = api.healthz(&server).and_then(|()| of_the_version(&api, &server, &cluster));
        components.insert(format!("kube-apiserver {host}"), ComponentStatus::of(health));
    }
    for (member, health) in etcd_members(environment, &cluster)? {
        components.insert(format!("etcd {member}"), health);
    }
    let nodes = api.get("/api/v1/nodes")?;
    for name in ["kube-scheduler", "kube-controller-manager"] {
        components.insert(name.to_owned(), ComponentStatus::of(leader(&api, name)));
    }
    let certificates_days = certificates(environment)?.first().map(|first| first.days_left);
    let nodes = nodes["items"].as_array().map_or(&[][..], Vec::as_slice);
    let mut drift = drift::of_nodes(nodes, &cluster);
    let of_node = |node: &Value| {
        let (name, status) = node_status(node, &cluster);
        let drift = drift.remove(&name).unwrap_or_default();
        (name, NodeStatus { drift, ..status })
    };
    let nodes = nodes.iter().map(of_node).collect();
    Ok(Status { nodes, components, certificates_days })
}

/// `ok`, or that an API server is of another version than the cluster.
fn of_the_version(api: &Api<'_>, server: &str, cluster: &Cluster) -> Result<String, String> {
    let version = api.version(server)?;
    drift::of_program("it", &version, cluster).map_or_else(|| Ok("ok".to_owned()), Err)
}

pub(super) fn node_status(node: &Value, cluster: &Cluster) -> (String, NodeStatus) {
    let name = node["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let conditions = node["status"]["conditions"].as_array();
    let ready = conditions.and_then(|c| c.iter().find(|c| c["type"] == "Ready"));
    let mut status = match ready.and_then(|c| c["status"].as_str()) {
        Some("True") => "Ready",
        Some("False") => "NotReady",
        _ => "Unknown",
    }
    .to_owned();
    let message = match ready.and_then(|c| c["message"].as_str()) {
        Some(text) if status != "Ready" => text.to_owned(),
        _ => String::new(),
    };
    if node["spec"]["unschedulable"] == true {
        status.push_str(",SchedulingDisabled");
    }
    let address = node["status"]["addresses"].as_array().and_then(|a| a.iter().find(|a| a["type"] == "InternalIP"));
    let is_control_plane = cluster.control_plane.values().any(|machine| machine.name == name);
    let is_worker = cluster.workers.values().any(|node| node.machine.name == name);
    let roles = [(is_control_plane, "control-plane"), (is_worker, "worker")];
    let roles = roles.into_iter().filter(|(has, _)| *has).map(|(_, role)| role.to_owned()).collect();
    let of_node = NodeStatus {
        status,
        roles,
        age_seconds: seconds_since(&node["metadata"]["creationTimestamp"]).unwrap_or(0),
        version: node["status"]["nodeInfo"]["kubeletVersion"].as_str().unwrap_or_default().to_owned(),
        address: address.and_then(|a| a["address"].as_str()).unwrap_or_default().to_owned(),
        message,
        drift: Vec::new(),
        images: images_status(node, &name, cluster),
    };
    (name, of_node)
}

/// How many images a kubelet tells unless it is told otherwise, the largest ones (`nodeStatusMaxImages`).
const TOLD: usize = 50;

fn images_status(node: &Value, name: &str, cluster: &Cluster) -> ImagesStatus {
    let workers = cluster.workers.iter().map(|(host, node)| (host, &node.machine));
    let mut machines = cluster.control_plane.iter().chain(workers);
    let Some((host, _)) = machines.find(|(_, machine)| machine.name == name) else {
        return ImagesStatus::default();
    };
    let told: Vec<&Value> = node["status"]["images"].as_array().into_iter().flatten().collect();
    let names = told.iter().flat_map(|image| image["names"].as_array().into_iter().flatten());
    let full = |name: &Value| Some(name.as_str()?.parse::<Reference>().ok()?.to_string());
    let there: BTreeSet<String> = names.filter_map(full).collect();
    let (present, others): (Vec<_>, Vec<_>) = cluster.images_of(host).cloned().partition(|name| there.contains(name));
    let wanted = present.len() + others.len();
    // A kubelet that has just started tells none yet; which are left out of a list that was cut short cannot be known.
    let missing = if told.is_empty() || told.len() == TOLD { Vec::new() } else { others };
    ImagesStatus { wanted, present: present.len(), missing }
}

fn seconds_since(time: &Value) -> Option<i64> {
    let then: Timestamp = time.as_str()?.parse().ok()?;
    Some(Timestamp::now().as_second() - then.as_second())
}

/// Who leads a component, when its lease is fresh. Before 1.20 the lease was an annotation of an Endpoints object.
fn leader(api: &Api<'_>, name: &str) -> Result<String, String> {
    let lease = api.get(&format!("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/{name}"));
    let (holder, renewed) = match lease {
        Ok(lease) => (lease["spec"]["holderIdentity"].clone(), lease["spec"]["renewTime"].clone()),
        Err(e) if e.is_not_found() => {
            let path = format!("/api/v1/namespaces/kube-system/endpoints/{name}");
            let object = match api.get(&path) {
                Err(e) if e.is_not_found() => return Err("nobody leads yet".to_owned()),
                other => other.map_err(|e| e.to_string())?,
            };
            let record = object["metadata"]["annotations"]["control-plane.alpha.kubernetes.io/leader"].as_str();
            let record: Value = record.and_then(|r| serde_json::from_str(r).ok()).unwrap_or_default();
            (record["holderIdentity"].clone(), record["renewTime"].clone())
        }
        Err(e) => return Err(e.to_string()),
    };
    let holder = holder.as_str().and_then(|h| h.split('_').next()).unwrap_or("nobody").to_owned();
    match seconds_since(&renewed) {
        Some(age) if age <= LEASE => Ok(format!("{holder} leads")),
        Some(age) => Err(format!("nobody leads: {holder} was last heard of {age} s ago")),
        None => Err("nobody leads".to_owned()),
    }
}

/// Each member's own word on its health, `/health` of its client port.
fn etcd_members(environment: &Environment, cluster: &Cluster) -> Result<Vec<(String, ComponentStatus)>, FlowError> {
    let timeout = Duration::from_secs(5);
    let agent = if cluster.etcd.tls {
        let pki = environment.pki();
        let (ca, keys) = (etcd::authority(&pki).issue()?, etcd::client_keys(&pki, "kube-apiserver").issue()?);
        tlsclient::agent(&ca.cert, &keys, timeout)
            .map_err(|e| FlowError::Failed { error: format!("etcd's client certificate: {e}"), help: None })?
    } else {
        tlsclient::plain(timeout, None)
    };
    let host = |url: &str| url.split("://").last().unwrap_or(url).rsplit_once(':').map_or(url, |(h, _)| h).to_owned();
    let ask = |url: &String| etcd::health(&agent, url).and_then(|()| etcd::version(&agent, url));
    let said: Vec<Result<String, String>> = cluster.etcd.endpoints.iter().map(ask).collect();
    let versions: Vec<String> = said.iter().flatten().cloned().collect();
    let most = drift::most(&versions);
    let of = |version: String| match most.filter(|most| *most != version) {
        Some(most) => Err(format!("it is {version}, most members are {most}")),
        None => Ok("ok".to_owned()),
    };
    let members = cluster.etcd.endpoints.iter().zip(said);
    Ok(members.map(|(url, said)| (host(url), ComponentStatus::of(said.and_then(of)))).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cluster() -> Cluster {
        let machine = |name: &str| json!({"name": name, "address": "10.0.0.1"});
        serde_json::from_value(json!({
            "settings": {}, "network": {"manifest": "flannel"}, "minor": 36, "version": "1.36.3", "distribution": "kubeadm",
            "containerd": true, "etcd": {"endpoints": [], "tls": true},
            "images": ["registry.k8s.io/kube-apiserver:v1.36.3", "docker.io/library/busybox:1.36", "registry.k8s.io/pause:3.10.2"],
            "control_plane": {"10.0.0.1": machine("host1")},
            "workers": {"10.0.0.2": {"name": "host2", "address": "10.0.0.2", "subnet": 0}},
        }))
        .unwrap()
    }

    /// A node that tells these names, each of an image of its own.
    fn node(names: &[&str]) -> Value {
        let images: Vec<Value> = names.iter().map(|name| json!({"names": [name], "sizeBytes": 1})).collect();
        json!({"status": {"images": images}})
    }

    #[test]
    fn what_a_node_lacks_is_named() {
        let names = ["busybox:1.36", "registry.k8s.io/pause@sha256:00", "registry.k8s.io/pause:3.10.2"];
        let of = |name: &str, node: &Value| images_status(node, name, &cluster());
        let worker = of("host2", &node(&names));
        assert_eq!((worker.wanted, worker.present, worker.missing.len()), (2, 2, 0), "a worker runs no API server");
        let control_plane = of("host1", &node(&names));
        assert_eq!((control_plane.wanted, control_plane.present), (3, 2));
        assert_eq!(control_plane.missing, ["registry.k8s.io/kube-apiserver:v1.36.3"]);
        assert_eq!(of("another", &node(&names)), ImagesStatus::default());
    }

    #[test]
    fn a_list_that_was_cut_short_or_is_empty_proves_nothing() {
        assert!(images_status(&node(&[]), "host2", &cluster()).missing.is_empty());
        let others: Vec<String> = (0..50).map(|n| format!("x.io/{n}:1")).collect();
        let others: Vec<&str> = others.iter().map(String::as_str).collect();
        let status = images_status(&node(&others), "host2", &cluster());
        assert_eq!((status.wanted, status.present, status.missing.len()), (2, 0, 0));
        let more = images_status(&node(&[&others[..], &["x.io/51:1"]].concat()), "host2", &cluster());
        assert_eq!(more.missing.len(), 2);
    }
}
