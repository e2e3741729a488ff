//! etcd asked from this machine, by the JSON gateway of its client port (etcd documentation, "gRPC gateway": `/v3/` from
//! 3.4, `/v3beta/` in 3.3, `/v3alpha/` in 3.2).

use std::time::Duration;

use serde_json::{Value, json};
use ureq::Agent;

use crate::flow::error::FlowError;
use crate::flow::pki::Authority;
use crate::flow::state::Environment;
use crate::flow::tlsclient;

use super::config::client_keys;
use super::state::Cluster;

/// Longest wait for one answer.
const TIMEOUT: Duration = Duration::from_secs(5);
const VERSIONS: [&str; 3] = ["v3", "v3beta", "v3alpha"];

/// A client of a cluster's members.
#[derive(Debug)]
pub(super) struct Client {
    agent: Agent,
    endpoints: Vec<String>,
}

/// A member as the cluster lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    /// Decimal, as the gateway writes 64-bit numbers.
    pub id: String,
    pub name: String,
    pub peer_urls: Vec<String>,
    pub learner: bool,
}

impl Client {
    /// # Errors
    /// When the client's certificate cannot be made or read.
    pub(super) fn open(environment: &Environment, cluster: &Cluster) -> Result<Self, FlowError> {
        let agent = if cluster.tls {
            let authority = Authority::open_or_create(&environment.pki("etcd"), "sunshine etcd CA")?;
            let keys = client_keys(&authority, "root")?;
            tlsclient::agent(&authority.cert, &keys, TIMEOUT)
                .map_err(|e| FlowError::Failed { error: format!("etcd's client certificate: {e}"), help: None })?
        } else {
            tlsclient::plain(TIMEOUT, None)
        };
        Ok(Self { agent, endpoints: cluster.endpoints() })
    }

    /// One member's own word on its health; what it says else.
    pub(super) fn health(&self, endpoint: &str) -> Result<(), String> {
        health(&self.agent, endpoint)
    }

    /// A call to one member.
    pub(super) fn ask(&self, endpoint: &str, path: &str, body: &Value) -> Result<Value, String> {
        for version in VERSIONS {
            let sent = self.agent.post(format!("{endpoint}/{version}/{path}")).send(body.to_string());
            let mut answer = sent.map_err(|e| e.to_string())?;
            let text = answer.body_mut().read_to_string().map_err(|e| e.to_string())?;
            match answer.status().as_u16() {
                404 => {}
                200 => return serde_json::from_str(&text).map_err(|e| e.to_string()),
                status => {
                    let value: Value = serde_json::from_str(&text).unwrap_or_default();
                    return Err(format!("{status}: {}", value["error"].as_str().unwrap_or(text.trim())));
                }
            }
        }
        Err("it has no JSON gateway".to_owned())
    }

    /// A call to whichever member answers first.
    fn any(&self, path: &str, body: &Value) -> Result<Value, String> {
        let mut whys = Vec::new();
        for endpoint in &self.endpoints {
            match self.ask(endpoint, path, body) {
                Ok(value) => return Ok(value),
                Err(why) => whys.push(format!("{endpoint}: {why}")),
            }
        }
        Err(whys.join("; "))
    }

    /// The members, as the cluster knows them.
    pub(super) fn members(&self) -> Result<Vec<Listed>, String> {
        let list = self.any("cluster/member/list", &json!({}))?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let member = |m: &Value| Listed {
            id: text(&m["ID"]),
            name: text(&m["name"]),
            peer_urls: m["peerURLs"].as_array().into_iter().flatten().map(text).collect(),
            learner: m["isLearner"] == true,
        };
        Ok(list["members"].as_array().into_iter().flatten().map(member).collect())
    }

    /// Takes a member out of the cluster.
    pub(super) fn remove(&self, id: &str) -> Result<(), String> {
        self.any("cluster/member/remove", &json!({"ID": id})).map(|_| ())
    }
}

/// A member's own word on its health, by `/health` of its client port; what it says else.
///
/// # Errors
/// Its answer, or why there was none.
pub(crate) fn health(agent: &Agent, endpoint: &str) -> Result<(), String> {
    let mut answer = agent.get(format!("{endpoint}/health")).call().map_err(|e| e.to_string())?;
    let text = answer.body_mut().read_to_string().map_err(|e| e.to_string())?;
    let value: Value = serde_json::from_str(&text).unwrap_or_default();
    if value["health"] == "true" { Ok(()) } else { Err(text.trim().to_owned()) }
}
