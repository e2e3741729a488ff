//! How the etcd cluster is now, asked from its members.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use crate::flow::error::FlowError;
use crate::flow::retry::Patience;
use crate::flow::state::Environment;
use crate::host::HostId;

use super::client::Client;
use super::state::Cluster;

/// The live cluster.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// By host.
    pub members: BTreeMap<HostId, MemberStatus>,
    /// Such as `NOSPACE`, with the member that raised it.
    pub alarms: Vec<String>,
}

/// One member.
#[derive(Debug, Clone, Default, Serialize)]
pub struct MemberStatus {
    pub name: String,
    pub endpoint: String,
    pub healthy: bool,
    pub leader: bool,
    pub learner: bool,
    pub version: String,
    /// Bytes.
    pub db_size: u64,
    /// Why it is not healthy; empty when it is.
    pub error: String,
}

impl Status {
    pub fn is_whole(&self) -> bool {
        self.alarms.is_empty() && self.members.values().all(|m| m.healthy)
    }
}

/// Nothing to add to, remove from or ask.
pub(super) fn no_cluster(environment: &Environment) -> FlowError {
    FlowError::request_with_help(
        format!("environment {} has no etcd cluster", environment.name),
        "create one with `etcd create`, or name another with --environment",
    )
}

/// Asks the environment's cluster. Members that do not answer are in the result, with why.
///
/// # Errors
/// When there is none.
pub fn status(environment: &Environment) -> Result<Status, FlowError> {
    let cluster = Cluster::load(environment)?.ok_or_else(|| no_cluster(environment))?;
    let client = Client::open(environment, &cluster, Patience::ONCE)?;
    let mut members = BTreeMap::new();
    let mut alarms = Vec::new();
    for (host, member) in &cluster.members {
        let endpoint = cluster.client_url(member.address);
        let mut status = MemberStatus { name: member.name.clone(), endpoint: endpoint.clone(), ..Default::default() };
        let said = client
            .health(&endpoint)
            .and_then(|()| client.ask(&endpoint, "maintenance/status", &json!({})).map_err(|e| e.to_string()));
        match said {
            Ok(said) => {
                status.healthy = true;
                status.leader = said["leader"] == said["header"]["member_id"];
                status.learner = said["isLearner"] == true;
                status.version = said["version"].as_str().unwrap_or_default().to_owned();
                status.db_size = said["dbSize"].as_str().and_then(|n| n.parse().ok()).unwrap_or(0);
                alarms.extend(
                    said["errors"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned),
                );
            }
            Err(why) => status.error = why,
        }
        members.insert(host.clone(), status);
    }
    alarms.sort();
    alarms.dedup();
    Ok(Status { members, alarms })
}
