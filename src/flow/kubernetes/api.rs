//! The cluster's API, asked from the control host with the administrator's certificate: any API server that answers will do.
//!
//! Reading, patching and deleting are idempotent and repeated while the failure passes, on all control plane nodes, for as long as the
//! client's [`Patience`] says. Creating is not, and is sent once.

use std::cell::Cell;
use std::time::Duration;

use serde_json::Value;
use ureq::Agent;
use ureq::http::Request;

use crate::flow::error::FlowError;
use crate::flow::pki::Pki;
use crate::flow::retry::{self, Patience, Transient, noted};
use crate::flow::tlsclient::{self, NoAnswer};

use super::endpoint;
use super::keys::ClusterKeys;
use super::state::Cluster;

/// Longest wait for one answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A client of the API.
#[derive(Debug)]
pub(super) struct Api<'a> {
    agent: Agent,
    /// `https://HOST:PORT`, in the order they are tried.
    servers: Vec<String>,
    /// The one that answered last.
    good: Cell<usize>,
    patience: Patience<'a>,
}

/// Why the API gave no answer, or not the one that was wanted.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error("no API server answers the control host: {why}")]
    Unreachable { why: String, passes: bool },
    #[error("{method} {path}: the API says {status}: {message}")]
    Refused { method: &'static str, path: String, status: u16, message: String },
}

impl ApiError {
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    pub(super) fn help(&self) -> Option<String> {
        match self {
            Self::Unreachable { .. } => {
                Some("the control host must reach port 6443 of a control plane node; is one of them up?".to_owned())
            }
            Self::Refused { .. } => None,
        }
    }
}

impl Transient for ApiError {
    fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { passes, .. } => *passes,
            Self::Refused { status, .. } => retry::status_passes(*status),
        }
    }

    fn with_note(self, note: &str) -> Self {
        match self {
            Self::Unreachable { why, passes } => Self::Unreachable { why: noted(why, note), passes },
            Self::Refused { method, path, status, message } => {
                Self::Refused { method, path, status, message: noted(message, note) }
            }
        }
    }
}

impl From<ApiError> for FlowError {
    fn from(error: ApiError) -> Self {
        Self::Failed { help: error.help(), error: error.to_string() }
    }
}

impl<'a> Api<'a> {
    /// A client for this cluster, whose calls are repeated for as long as `patience` says.
    ///
    /// # Errors
    /// When the administrator's certificate cannot be made or read.
    pub(super) fn open(pki: &Pki, cluster: &Cluster, patience: Patience<'a>) -> Result<Self, FlowError> {
        let keys = ClusterKeys::new(pki.clone(), cluster);
        let (ca, admin) = (keys.ca.issue()?, keys.admin_keys().issue()?);
        let agent = tlsclient::agent(&ca.cert, &admin, TIMEOUT)
            .map_err(|e| FlowError::Failed { error: format!("the administrator's certificate: {e}"), help: None })?;
        let mut servers: Vec<String> = cluster.control_plane.values().map(endpoint::of_machine).collect();
        let people = endpoint::for_people(cluster);
        if !servers.contains(&people) {
            servers.push(people);
        }
        Ok(Self { agent, servers, good: Cell::new(0), patience })
    }

    pub(super) fn get(&self, path: &str) -> Result<Value, ApiError> {
        self.call("GET", path, None, "application/json")
    }

    /// Creates an object: sent once, to the control plane node that answered last. After a failure that passes nobody knows whether it
    /// was created; who sends it again asks first.
    pub(super) fn post_once(&self, path: &str, body: &Value) -> Result<Value, ApiError> {
        let server = &self.servers[self.good.get()];
        match self.send(server, "POST", path, Some(body), "application/json") {
            Ok((status, text)) => read("POST", path, status, &text),
            Err(none) => Err(ApiError::Unreachable { why: format!("{server}: {}", none.why), passes: none.passes }),
        }
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
            Err(none) => Err(none.why),
        }
    }

    /// The version that one API server says it is, such as `v1.36.3`.
    pub(super) fn version(&self, server: &str) -> Result<String, String> {
        match self.send(server, "GET", "/version", None, "application/json") {
            Ok((200, text)) => {
                let said: Value = serde_json::from_str(&text).unwrap_or_default();
                Ok(said["gitVersion"].as_str().unwrap_or_default().to_owned())
            }
            Ok((status, text)) => Err(format!("{status}: {}", first_line(&text))),
            Err(none) => Err(none.why),
        }
    }

    fn call(&self, method: &'static str, path: &str, body: Option<&Value>, kind: &str) -> Result<Value, ApiError> {
        retry::until(self.patience, || self.ask_each(method, path, body, kind))
    }

    /// Asks one control plane node after another until one answers for good. The error is an answer, where there was one.
    fn ask_each(&self, method: &'static str, path: &str, body: Option<&Value>, kind: &str) -> Result<Value, ApiError> {
        let (mut whys, mut passes) = (Vec::new(), false);
        let mut later = None;
        for turn in 0..self.servers.len() {
            let at = (self.good.get() + turn) % self.servers.len();
            let server = &self.servers[at];
            match self.send(server, method, path, body, kind).map(|(status, text)| read(method, path, status, &text)) {
                Ok(Err(error)) if error.is_transient() => later = Some(error),
                Ok(answer) => {
                    self.good.set(at);
                    return answer;
                }
                Err(none) => {
                    passes |= none.passes;
                    whys.push(format!("{server}: {}", none.why));
                }
            }
        }
        Err(later.unwrap_or_else(|| ApiError::Unreachable { why: whys.join("; "), passes }))
    }

    fn send(
        &self,
        server: &str,
        method: &'static str,
        path: &str,
        body: Option<&Value>,
        kind: &str,
    ) -> Result<(u16, String), NoAnswer> {
        let request = Request::builder().method(method).uri(format!("{server}{path}")).header("content-type", kind);
        match body {
            Some(body) => tlsclient::send(&self.agent, request.body(body.to_string()).map_err(ureq::Error::from)?),
            None => tlsclient::send(&self.agent, request.body(()).map_err(ureq::Error::from)?),
        }
    }
}

pub(super) fn read(method: &'static str, path: &str, status: u16, text: &str) -> Result<Value, ApiError> {
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
    use std::sync::atomic::{AtomicUsize, Ordering};

    use camino::Utf8Path;
    use serde_json::json;

    use super::*;
    use crate::flow::pki::{CertRequest, KeyPairPem, Purpose, Usage};
    use crate::flow::state::Environment;
    use crate::flow::wrong_server::{Answer, WrongServer};

    /// A certificate for 127.0.0.1 by the cluster's authority in this environment.
    fn certificate(environment: &Environment) -> KeyPairPem {
        let authority = environment.pki().authority(Purpose::Kubernetes).unwrap();
        let (name, ips) = ("test".to_owned(), vec![[127, 0, 0, 1].into()]);
        let (organizations, dns) = (Vec::new(), Vec::new());
        let request = CertRequest { common_name: name.clone(), name, organizations, dns, ips, usage: Usage::Server };
        authority.issue(&request).unwrap()
    }

    /// A cluster whose first control plane node is dead and whose shared address is the server's.
    fn cluster(server: &WrongServer) -> Cluster {
        serde_json::from_value(json!({
            "settings": {"api_endpoint": server.address().to_string()}, "network": "direct", "balanced": true,
            "etcd": {"endpoints": [], "tls": false}, "workers": {},
            "control_plane": {"h": {"name": "host0", "address": "127.0.0.1"}},
        }))
        .unwrap()
    }

    fn environment(folder: &tempfile::TempDir) -> Environment {
        Environment::open(Utf8Path::from_path(folder.path()).unwrap(), "test").unwrap()
    }

    /// An API that answers wrongly in every way before it answers.
    fn wrong_four_times(environment: &Environment) -> WrongServer {
        let count = AtomicUsize::new(0);
        WrongServer::start(Some(&certificate(environment)), move |_| match count.fetch_add(1, Ordering::SeqCst) % 5 {
            0 => Answer::HangUp,
            1 => Answer::json(500, &json!({"message": "rpc error: code = Unknown desc = missing content-type field"})),
            2 => Answer::text(429, "too many requests"),
            3 => Answer::json(503, &json!({"message": "starting"})),
            _ => Answer::json(200, &json!({"kind": "Node"})),
        })
    }

    #[test]
    fn idempotent_calls_are_repeated_over_lost_connections_429_and_5xx() {
        let folder = tempfile::tempdir().unwrap();
        let environment = environment(&folder);
        let server = wrong_four_times(&environment);
        let api = Api::open(&environment.pki(), &cluster(&server), Patience::SHORT).unwrap();
        assert_eq!(api.get("/api/v1/nodes/a").unwrap()["kind"], "Node");
        assert_eq!(api.patch("/api/v1/nodes/a", &json!({"spec": {}})).unwrap()["kind"], "Node");
        assert_eq!(api.delete("/api/v1/nodes/a").unwrap()["kind"], "Node");
        let methods: Vec<String> = server.seen().into_iter().map(|r| r.method).collect();
        assert_eq!(methods, [["GET"; 5], ["PATCH"; 5], ["DELETE"; 5]].concat());
    }

    #[test]
    fn creating_is_sent_once() {
        let folder = tempfile::tempdir().unwrap();
        let environment = environment(&folder);
        let server = wrong_four_times(&environment);
        let api = Api::open(&environment.pki(), &cluster(&server), Patience::SHORT).unwrap();
        assert_eq!(api.get("/healthz").unwrap()["kind"], "Node");
        for try_number in 0..4 {
            let error = api.post_once("/api/v1/pods", &json!({})).unwrap_err();
            assert!(error.is_transient(), "{error}");
            assert_eq!(server.seen().len(), 6 + try_number);
        }
    }

    #[test]
    fn a_refusal_is_final_and_the_deadline_ends_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let environment = environment(&folder);
        let server = WrongServer::start(Some(&certificate(&environment)), |request| match request.path.as_str() {
            "/refused" => Answer::json(404, &json!({"message": "no such node"})),
            _ => Answer::json(500, &json!({"message": "boom"})),
        });
        let api = Api::open(&environment.pki(), &cluster(&server), Patience::SHORT).unwrap();
        assert!(api.get("/refused").unwrap_err().is_not_found());
        assert_eq!(server.seen().len(), 1);
        let patience = Patience::SHORT.at_most(Duration::from_millis(600));
        let api = Api::open(&environment.pki(), &cluster(&server), patience).unwrap();
        let error = api.get("/boom").unwrap_err().to_string();
        assert!(error.contains("the API says 500: boom (") && error.contains(" tries in "), "{error}");
        let api = Api::open(&environment.pki(), &cluster(&server), Patience::ONCE).unwrap();
        let before = server.seen().len();
        assert!(!api.get("/boom").unwrap_err().to_string().contains("tries"));
        assert_eq!(server.seen().len(), before + 1);
    }

    #[test]
    fn a_certificate_that_is_not_the_clusters_is_final() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [own, other] = [environment(&folders[0]), environment(&folders[1])];
        let server = WrongServer::start(Some(&certificate(&other)), |_| Answer::text(200, "{}"));
        let mut cluster = cluster(&server);
        cluster.control_plane.clear();
        let api = Api::open(&own.pki(), &cluster, Patience::SHORT).unwrap();
        let error = api.get("/api/v1/nodes").unwrap_err();
        assert!(!error.is_transient(), "{error}");
        assert!(!error.to_string().contains("tries"), "{error}");
        assert!(server.seen().is_empty());
    }
}
