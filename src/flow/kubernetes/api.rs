//! The cluster's API, asked from this machine with the administrator's certificate: any master that answers will do.

use std::cell::Cell;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use ureq::Agent;
use ureq::http::{Request, Response};

use crate::flow::error::FlowError;
use crate::flow::state::Environment;
use crate::flow::tlsclient;

use super::endpoint;
use super::keys::ClusterKeys;
use super::state::Cluster;

/// Longest wait for one answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait while all masters that answer say "later"; an election in etcd takes one to three seconds.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(500);

/// A client of the API.
#[derive(Debug)]
pub(super) struct Api {
    agent: Agent,
    /// `https://HOST:PORT`, in the order they are tried.
    servers: Vec<String>,
    /// The one that answered last.
    good: Cell<usize>,
}

/// Why the API gave no answer, or not the one that was wanted.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error("no master's API answers this machine: {0}")]
    Unreachable(String),
    #[error("{method} {path}: the API says {status}: {message}")]
    Refused { method: &'static str, path: String, status: u16, message: String },
}

impl ApiError {
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// An eviction that a PodDisruptionBudget does not allow now.
    pub(super) fn is_too_many(&self) -> bool {
        matches!(self, Self::Refused { status: 429, .. })
    }

    /// The server starts, ends, or waits for etcd.
    fn is_later(&self) -> bool {
        match self {
            Self::Refused { status: 503 | 504, .. } => true,
            // A server that is being restarted still answers, and does not reach itself any more.
            Self::Refused { status: 500, message, .. } => {
                message.contains("etcdserver:") || message.contains("connect: connection refused")
            }
            _ => false,
        }
    }

    pub(super) fn help(&self) -> Option<String> {
        match self {
            Self::Unreachable(_) => {
                Some("this machine must reach port 6443 of a master; is one of them up?".to_owned())
            }
            Self::Refused { .. } => None,
        }
    }
}

impl From<ApiError> for FlowError {
    fn from(error: ApiError) -> Self {
        Self::Failed { help: error.help(), error: error.to_string() }
    }
}

impl Api {
    /// A client for this cluster.
    ///
    /// # Errors
    /// When the administrator's certificate cannot be made or read.
    pub(super) fn open(environment: &Environment, cluster: &Cluster) -> Result<Self, FlowError> {
        let keys = ClusterKeys::open(environment, cluster)?;
        let agent = tlsclient::agent(&keys.ca.cert, &keys.admin_keys()?, TIMEOUT)
            .map_err(|e| FlowError::Failed { error: format!("the administrator's certificate: {e}"), help: None })?;
        let mut servers: Vec<String> = cluster.masters.values().map(endpoint::of_master).collect();
        let people = endpoint::for_people(cluster);
        if !servers.contains(&people) {
            servers.push(people);
        }
        Ok(Self { agent, servers, good: Cell::new(0) })
    }

    pub(super) fn get(&self, path: &str) -> Result<Value, ApiError> {
        self.call("GET", path, None, "application/json")
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Value, ApiError> {
        self.call("POST", path, Some(body), "application/json")
    }

    /// A strategic merge patch.
    pub(super) fn patch(&self, path: &str, body: &Value) -> Result<Value, ApiError> {
        self.call("PATCH", path, Some(body), "application/strategic-merge-patch+json")
    }

    pub(super) fn delete(&self, path: &str) -> Result<Value, ApiError> {
        self.call("DELETE", path, None, "application/json")
    }

    /// Whether this one server says that it is healthy; what it says else.
    pub(super) fn healthz(&self, server: &str) -> Result<(), String> {
        match self.send(server, "GET", "/healthz", None, "application/json") {
            Ok(answer) if answer.0 == 200 => Ok(()),
            Ok((status, text)) => Err(format!("{status}: {}", first_line(&text))),
            Err(why) => Err(why),
        }
    }

    /// Asks until a master answers for good: while etcd chooses a leader, as when a member leaves, all of them say "later".
    fn call(&self, method: &'static str, path: &str, body: Option<&Value>, kind: &str) -> Result<Value, ApiError> {
        let begun = Instant::now();
        loop {
            match self.ask_each(method, path, body, kind) {
                Err(error) if error.is_later() && begun.elapsed() < PATIENCE => thread::sleep(PAUSE),
                answered => return answered,
            }
        }
    }

    fn ask_each(&self, method: &'static str, path: &str, body: Option<&Value>, kind: &str) -> Result<Value, ApiError> {
        let mut whys = Vec::new();
        let mut later = None;
        for turn in 0..self.servers.len() {
            let at = (self.good.get() + turn) % self.servers.len();
            let server = &self.servers[at];
            match self.send(server, method, path, body, kind).map(|(status, text)| read(method, path, status, &text)) {
                Ok(Err(error)) if error.is_later() => later = Some(error),
                Ok(answer) => {
                    self.good.set(at);
                    return answer;
                }
                Err(why) => whys.push(format!("{server}: {why}")),
            }
        }
        Err(later.unwrap_or_else(|| ApiError::Unreachable(whys.join("; "))))
    }

    fn send(
        &self,
        server: &str,
        method: &'static str,
        path: &str,
        body: Option<&Value>,
        kind: &str,
    ) -> Result<(u16, String), String> {
        let request = Request::builder().method(method).uri(format!("{server}{path}")).header("content-type", kind);
        let answered: Result<Response<ureq::Body>, ureq::Error> = match body {
            Some(body) => {
                request.body(body.to_string()).map_err(ureq::Error::from).and_then(|request| self.agent.run(request))
            }
            None => request.body(()).map_err(ureq::Error::from).and_then(|request| self.agent.run(request)),
        };
        let mut answer = answered.map_err(|e| e.to_string())?;
        let status = answer.status().as_u16();
        let text = answer.body_mut().with_config().limit(64 << 20).read_to_string().map_err(|e| e.to_string())?;
        Ok((status, text))
    }
}

fn read(method: &'static str, path: &str, status: u16, text: &str) -> Result<Value, ApiError> {
    let value: Value = serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()));
    if (200..300).contains(&status) {
        return Ok(value);
    }
    let message = value["message"].as_str().map_or_else(|| first_line(text), str::to_owned);
    Err(ApiError::Refused { method, path: path.to_owned(), status, message })
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_election_in_etcd_is_waited_out_and_a_refusal_is_not() {
        let said = |status, message: &str| {
            read("GET", "/api/v1/nodes/a", status, &serde_json::json!({"message": message}).to_string()).unwrap_err()
        };
        assert!(said(500, "etcdserver: leader changed").is_later());
        assert!(said(503, "starting").is_later());
        let ends = r#"Get "https://[::1]:6443/apis/policy/v1beta1": dial tcp [::1]:6443: connect: connection refused"#;
        assert!(said(500, ends).is_later());
        assert!(!said(500, "boom").is_later());
        assert!(!said(404, "not found").is_later());
    }
}
