//! How the cluster is now, asked from the live cluster: its nodes from the API, each component from itself.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::flow::error::FlowError;
use crate::flow::pki;
use crate::flow::retry::Patience;
use crate::flow::state::Environment;
use crate::flow::{etcd, tlsclient};

use super::api::Api;
use super::converge::no_cluster;
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
    /// Every node Ready, every component healthy.
    pub fn is_whole(&self) -> bool {
        self.nodes.values().all(|n| n.status.starts_with("Ready")) && self.components.values().all(|c| c.healthy)
    }
}

/// Asks the environment's cluster.
///
/// # Errors
/// When there is none, or no control plane node's API answers.
pub fn status(environment: &Environment) -> Result<Status, FlowError> {
    let cluster = Cluster::load(environment)?.ok_or_else(|| no_cluster(environment))?;
    let api = Api::open(environment, &cluster, Patience::SHORT)?;
    let mut components = BTreeMap::new();
    for (host, master) in &cluster.masters {
        let health = api.healthz(&endpoint::of_master(master)).map(|()| "ok".to_owned());
        components.insert(format!("kube-apiserver {host}"), ComponentStatus::of(health));
    }
    for (member, health) in etcd_members(environment, &cluster)? {
        components.insert(format!("etcd {member}"), health);
    }
    let nodes = api.get("/api/v1/nodes")?;
    for name in ["kube-scheduler", "kube-controller-manager"] {
        components.insert(name.to_owned(), ComponentStatus::of(leader(&api, name)));
    }
    let masters: Vec<&str> = cluster.masters.values().map(|m| m.name.as_str()).collect();
    let nodes = nodes["items"].as_array().into_iter().flatten().map(|node| node_status(node, &masters)).collect();
    Ok(Status { nodes, components, certificates_days: pki::days_left(&environment.dir.join("pki")) })
}

fn node_status(node: &Value, masters: &[&str]) -> (String, NodeStatus) {
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
    let mut roles = vec!["node".to_owned()];
    if masters.contains(&name.as_str()) {
        roles.insert(0, "master".to_owned());
    }
    let of_node = NodeStatus {
        status,
        roles,
        age_seconds: seconds_since(&node["metadata"]["creationTimestamp"]).unwrap_or(0),
        version: node["status"]["nodeInfo"]["kubeletVersion"].as_str().unwrap_or_default().to_owned(),
        address: address.and_then(|a| a["address"].as_str()).unwrap_or_default().to_owned(),
        message,
    };
    (name, of_node)
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
    let ask = |url: &str| ComponentStatus::of(etcd::health(&agent, url).map(|()| "ok".to_owned()));
    let host = |url: &str| url.split("://").last().unwrap_or(url).rsplit_once(':').map_or(url, |(h, _)| h).to_owned();
    Ok(cluster.etcd.endpoints.iter().map(|url| (host(url), ask(url))).collect())
}
