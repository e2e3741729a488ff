//! etcd asked from the control host, by the JSON gateway of its client port (etcd documentation, "gRPC gateway": `/v3/` from
//! 3.4, `/v3beta/` in 3.3, `/v3alpha/` in 3.2).
//!
//! Questions are repeated while the failure passes, for as long as the client's [`Patience`] says; a change of the members
//! is sent once.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use serde_json::{Value, json};
use ureq::Agent;
use ureq::http::Request;

use crate::flow::error::FlowError;
use crate::flow::retry::{self, Patience, Transient, noted};
use crate::flow::state::Environment;
use crate::flow::tlsclient::{self, NoAnswer};
use crate::host::Secret;
use crate::plan::StepError;

use super::config::{authority, gateway_keys};
use super::state::Cluster;

/// Longest wait for one answer.
const TIMEOUT: Duration = Duration::from_secs(5);
const VERSIONS: [&str; 3] = ["v3", "v3beta", "v3alpha"];

/// A client of a cluster's members.
#[derive(Debug)]
pub(super) struct Client<'a> {
    agent: Agent,
    endpoints: Vec<String>,
    /// The one that answered last.
    good: Cell<usize>,
    patience: Patience<'a>,
    /// root's, where etcd may ask who we are.
    password: Option<Secret>,
    /// What etcd has given for it.
    token: RefCell<Option<Secret>>,
}

/// Why etcd gave no answer, or not the one that was wanted.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(super) struct EtcdError {
    text: String,
    passes: bool,
}

impl EtcdError {
    fn stays(text: impl Into<String>) -> Self {
        Self { text: text.into(), passes: false }
    }

    /// etcd asks who we are, or no longer knows.
    fn wants_login(&self) -> bool {
        let said = ["user name is empty", "invalid auth token", "permission denied"];
        said.iter().any(|said| self.text.contains(&format!("etcdserver: {said}")))
    }
}

impl From<NoAnswer> for EtcdError {
    fn from(none: NoAnswer) -> Self {
        Self { text: none.why, passes: none.passes }
    }
}

impl Transient for EtcdError {
    fn is_transient(&self) -> bool {
        self.passes
    }

    fn with_note(self, note: &str) -> Self {
        Self { text: noted(self.text, note), ..self }
    }
}

impl<'a> Client<'a> {
    /// # Errors
    /// When the client's certificate cannot be made or read.
    pub(super) fn open(
        environment: &Environment,
        cluster: &Cluster,
        patience: Patience<'a>,
    ) -> Result<Self, FlowError> {
        let pki = environment.pki();
        let failed = |e: StepError| FlowError::Failed { error: e.to_string(), help: None };
        let password = pki.etcd_password().content().map_err(failed)?;
        let agent = if cluster.tls {
            let (ca, keys) = (authority(&pki).issue()?, gateway_keys(&pki).issue()?);
            tlsclient::agent(&ca.cert, &keys, TIMEOUT)
                .map_err(|e| FlowError::Failed { error: format!("etcd's client certificate: {e}"), help: None })?
        } else {
            tlsclient::plain(TIMEOUT, None)
        };
        let (good, token) = (Cell::new(0), RefCell::new(None));
        Ok(Self { agent, endpoints: cluster.endpoints(), good, patience, password, token })
    }

    /// One member's own word on its health; what it says else.
    pub(super) fn health(&self, endpoint: &str) -> Result<(), String> {
        health(&self.agent, endpoint)
    }

    /// A call to one member, once; where that asks who we are, again behind a login.
    pub(super) fn ask(&self, endpoint: &str, path: &str, body: &Value) -> Result<Value, EtcdError> {
        match (self.call(endpoint, path, body), &self.password) {
            (Err(refused), Some(password)) if refused.wants_login() => {
                self.token.take();
                let login = json!({"name": "root", "password": password.expose()});
                let answer = self.call(endpoint, "auth/authenticate", &login)?;
                self.token.replace(answer["token"].as_str().map(Secret::new));
                self.call(endpoint, path, body)
            }
            (answer, _) => answer,
        }
    }

    fn call(&self, endpoint: &str, path: &str, body: &Value) -> Result<Value, EtcdError> {
        for version in VERSIONS {
            let mut request = Request::builder().method("POST").uri(format!("{endpoint}/{version}/{path}"));
            if let Some(token) = &*self.token.borrow() {
                request = request.header("Authorization", token.expose());
            }
            let request = request.body(body.to_string()).map_err(|e| EtcdError::stays(e.to_string()))?;
            let (status, text) = tlsclient::send(&self.agent, request)?;
            match status {
                200 => return serde_json::from_str(&text).map_err(|e| EtcdError::stays(e.to_string())),
                // etcd itself says this of a member that it does not know; else there is no such path.
                404 if !text.contains("etcdserver:") => {}
                status => {
                    let value: Value = serde_json::from_str(&text).unwrap_or_default();
                    let text = format!("{status}: {}", value["error"].as_str().unwrap_or(text.trim()));
                    return Err(EtcdError { text, passes: retry::status_passes(status) });
                }
            }
        }
        Err(EtcdError::stays("it has no JSON gateway"))
    }

    /// A question to whichever member answers first, once to each.
    fn any(&self, path: &str, body: &Value) -> Result<Value, EtcdError> {
        let (mut whys, mut passes) = (Vec::new(), false);
        for turn in 0..self.endpoints.len() {
            let at = (self.good.get() + turn) % self.endpoints.len();
            let endpoint = &self.endpoints[at];
            match self.ask(endpoint, path, body) {
                Ok(value) => {
                    self.good.set(at);
                    return Ok(value);
                }
                Err(error) => {
                    passes |= error.passes;
                    whys.push(format!("{endpoint}: {error}"));
                }
            }
        }
        Err(EtcdError { text: whys.join("; "), passes })
    }

    /// The id of the member with this peer URL, when the cluster lists one. Asked once.
    fn look_for(&self, peer_url: &str) -> Result<Option<String>, EtcdError> {
        let list = self.any("cluster/member/list", &json!({}))?;
        let mut members = list["members"].as_array().into_iter().flatten();
        let found = members.find(|m| m["peerURLs"].as_array().is_some_and(|urls| urls.iter().any(|u| u == peer_url)));
        // Decimal, as the gateway writes 64-bit numbers.
        Ok(found.map(|m| m["ID"].as_str().unwrap_or_default().to_owned()))
    }

    /// The id of the member with this peer URL, when the cluster lists one.
    pub(super) fn find(&self, peer_url: &str) -> Result<Option<String>, EtcdError> {
        retry::until(self.patience, || self.look_for(peer_url))
    }

    /// Takes the member with this peer URL out of the cluster. The list says before every try whether the last one was
    /// heard; a try is sent to one member, the one that answered.
    ///
    /// etcd also refuses, with 503, to change its members until all of them have been connected for some seconds (its
    /// `HealthInterval` is 5 s): right after a member joined or came back.
    pub(super) fn remove(&self, peer_url: &str) -> Result<(), EtcdError> {
        retry::until(self.patience, || {
            let Some(id) = self.look_for(peer_url)? else { return Ok(()) };
            let endpoint = &self.endpoints[self.good.get()];
            match self.ask(endpoint, "cluster/member/remove", &json!({"ID": id})) {
                Err(why) if !why.text.contains("etcdserver: member not found") => Err(why),
                _ => Ok(()),
            }
        })
    }

    /// Waits until the member that answers has heard of the removal too.
    pub(super) fn await_removed(&self, peer_url: &str) -> Result<(), EtcdError> {
        retry::until(self.patience, || match self.look_for(peer_url)? {
            None => Ok(()),
            Some(id) => Err(EtcdError { text: format!("member {id} ({peer_url}) is still listed"), passes: true }),
        })
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

/// The version of the member at `endpoint`, such as `3.6.8`.
pub(crate) fn version(agent: &Agent, endpoint: &str) -> Result<String, String> {
    let mut answer = agent.get(format!("{endpoint}/version")).call().map_err(|e| e.to_string())?;
    let text = answer.body_mut().read_to_string().map_err(|e| e.to_string())?;
    let value: Value = serde_json::from_str(&text).unwrap_or_default();
    Ok(value["etcdserver"].as_str().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::flow::wrong_server::{Answer, WrongServer};

    const LEAVING: &str = "https://10.8.14.200:2380";

    fn client<'a>(server: &WrongServer, patience: Patience<'a>) -> Client<'a> {
        // Nothing listens at the first one.
        let endpoints = vec!["http://127.0.0.1:1".to_owned(), server.url("http")];
        let (good, token) = (Cell::new(0), RefCell::new(None));
        let password = Some(Secret::new("geheim"));
        Client { agent: tlsclient::plain(TIMEOUT, None), endpoints, good, patience, password, token }
    }

    /// A cluster of two members; `wrong` may answer in its place, after the request was carried out or before.
    fn cluster(wrong: impl Fn(usize, &str) -> Option<(bool, Answer)> + Send + 'static) -> WrongServer {
        let members = Arc::new(Mutex::new(BTreeMap::from([("7", LEAVING), ("8", "https://10.8.14.201:2380")])));
        let counts = Mutex::new(BTreeMap::<String, usize>::new());
        WrongServer::start(None, move |request| {
            let call = request.path.trim_start_matches("/v3/cluster/member/").to_owned();
            let mut counts = counts.lock().unwrap();
            let count = counts.entry(call.clone()).or_default();
            let instead = wrong(*count, &call);
            *count += 1;
            let mut members = members.lock().unwrap();
            let answer = match call.as_str() {
                _ if matches!(instead, Some((false, _))) => Answer::HangUp,
                "list" => {
                    let list: Vec<Value> =
                        members.iter().map(|(id, url)| json!({"ID": id, "peerURLs": [url]})).collect();
                    Answer::json(200, &json!({"members": list}))
                }
                _ => {
                    let body: Value = serde_json::from_str(&request.body).unwrap();
                    match members.remove(body["ID"].as_str().unwrap()) {
                        Some(_) => Answer::json(200, &json!({})),
                        None => Answer::json(404, &json!({"error": "etcdserver: member not found", "code": 5})),
                    }
                }
            };
            instead.map_or(answer, |(_, instead)| instead)
        })
    }

    fn removals(server: &WrongServer) -> usize {
        server.seen().iter().filter(|r| r.path.ends_with("/remove")).count()
    }

    #[test]
    fn a_question_is_asked_again_until_a_member_answers() {
        let server = cluster(|count, _| match count {
            0 => Some((false, Answer::HangUp)),
            1 => Some((false, Answer::json(503, &json!({"error": "etcdserver: leader changed"})))),
            2 => Some((false, Answer::text(429, "slow down"))),
            _ => None,
        });
        assert_eq!(client(&server, Patience::SHORT).find(LEAVING).unwrap().as_deref(), Some("7"));
        assert_eq!(server.seen().len(), 4);
        let once = cluster(|_, _| Some((false, Answer::HangUp)));
        assert!(client(&once, Patience::ONCE).find(LEAVING).is_err());
        assert_eq!(once.seen().len(), 1);
    }

    #[test]
    fn a_removal_whose_answer_was_lost_is_not_sent_again() {
        let server = cluster(|count, call| (call == "remove" && count == 0).then_some((true, Answer::HangUp)));
        let client = client(&server, Patience::SHORT);
        client.remove(LEAVING).unwrap();
        client.await_removed(LEAVING).unwrap();
        assert_eq!(removals(&server), 1);
    }

    #[test]
    fn a_removal_that_was_not_heard_or_refused_for_now_is_sent_again() {
        let server = cluster(|count, call| match (call, count) {
            ("remove", 0) => Some((false, Answer::HangUp)),
            ("remove", 1) => Some((false, Answer::json(503, &json!({"error": "etcdserver: unhealthy cluster"})))),
            _ => None,
        });
        client(&server, Patience::SHORT).remove(LEAVING).unwrap();
        assert_eq!(removals(&server), 3);
    }

    #[test]
    fn a_refusal_for_good_is_final() {
        let server = cluster(|_, call| {
            let said = json!({"error": "etcdserver: re-configuration failed due to not enough started members"});
            (call == "remove").then(|| (false, Answer::json(400, &said)))
        });
        let error = client(&server, Patience::SHORT).remove(LEAVING).unwrap_err();
        assert!(error.to_string().contains("not enough started members"), "{error}");
        assert_eq!(removals(&server), 1);
    }

    #[test]
    fn where_etcd_asks_who_it_is_root_logs_in() {
        let server = WrongServer::start(None, |request| {
            let body: Value = serde_json::from_str(&request.body).unwrap();
            match (request.path.as_str(), request.authorization.as_deref()) {
                ("/v3/auth/authenticate", None) if body == json!({"name": "root", "password": "geheim"}) => {
                    Answer::json(200, &json!({"token": "t.1"}))
                }
                ("/v3/cluster/member/list", Some("t.1")) => {
                    Answer::json(200, &json!({"members": [{"ID": "7", "peerURLs": [LEAVING]}]}))
                }
                _ => Answer::json(400, &json!({"error": "etcdserver: user name is empty", "code": 3})),
            }
        });
        let client = client(&server, Patience::ONCE);
        assert_eq!(client.find(LEAVING).unwrap().as_deref(), Some("7"));
        assert_eq!(client.find(LEAVING).unwrap().as_deref(), Some("7"));
        assert_eq!(server.seen().len(), 4, "one login");
    }
}
