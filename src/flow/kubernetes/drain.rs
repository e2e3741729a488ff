//! A node is emptied and taken out of the cluster, through the API.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::flow::pki::Pki;
use crate::flow::retry::{Patience, Transient};
use crate::plan::{Check, Cx, StepError, Work};

use super::api::{Api, ApiError};
use super::state::Cluster;

impl From<ApiError> for StepError {
    fn from(error: ApiError) -> Self {
        let help = error.help();
        Self::Failed { error: error.to_string(), help }
    }
}

/// How long the API is asked again when hosts are given up: the cluster itself may be gone for good.
const FORCED: Duration = Duration::from_secs(20);

/// What the steps here need to reach the API.
#[derive(Debug)]
pub(super) struct Access {
    pub pki: Pki,
    /// The control plane nodes that stay.
    pub cluster: Cluster,
    /// Hosts that do not answer are given up.
    pub force: bool,
}

impl Access {
    pub(super) fn api<'a>(&self, cx: &Cx<'a>) -> Result<Api<'a>, StepError> {
        let patience = Patience::of_step(cx);
        let patience = if self.force { patience.at_most(FORCED) } else { patience };
        Api::open(&self.pki, &self.cluster, patience).map_err(|e| StepError::failed(e.to_string()))
    }
}

/// No pod runs on the node but those that belong to it (of a DaemonSet, or its own static ones).
#[derive(Debug)]
pub(super) struct Drain {
    pub access: Arc<Access>,
    pub node: String,
    pub timeout: Duration,
}

impl Drain {
    fn pods(&self, api: &Api<'_>) -> Result<Vec<(String, String)>, ApiError> {
        let list = api.get(&format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{}", self.node))?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let pods = list["items"].as_array().into_iter().flatten().filter(|pod| must_go(pod));
        Ok(pods.map(|pod| (text(&pod["metadata"]["namespace"]), text(&pod["metadata"]["name"]))).collect())
    }
}

fn must_go(pod: &Value) -> bool {
    let owners = pod["metadata"]["ownerReferences"].as_array();
    let of_daemon_set = owners.is_some_and(|o| o.iter().any(|o| o["kind"] == "DaemonSet"));
    let mirror = pod["metadata"]["annotations"].get("kubernetes.io/config.mirror").is_some();
    let over = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    !of_daemon_set && !mirror && !over
}

/// Asks for a pod's eviction, once; why it is to be asked for again. `policy/v1` from 1.22, `v1beta1` before.
///
/// Whether the pod went is seen from the list of the node's pods: without an answer, and for a PodDisruptionBudget that
/// holds it back, the pods that are still in it are evicted again.
fn evict(api: &Api<'_>, namespace: &str, name: &str) -> Result<Option<String>, ApiError> {
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/eviction");
    let body = |version: &str| json!({"apiVersion": version, "kind": "Eviction", "metadata": {"name": name, "namespace": namespace}});
    let tried = match api.post_once(&path, &body("policy/v1beta1")) {
        Err(ApiError::Refused { status: 400, .. }) => api.post_once(&path, &body("policy/v1")),
        other => other,
    };
    match tried {
        Err(e) if e.is_transient() => Ok(Some(e.to_string())),
        // Gone already.
        Err(e) if !e.is_not_found() => Err(e),
        _ => Ok(None),
    }
}

impl Work for Drain {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let api = self.access.api(cx)?;
        let node = match api.get(&format!("/api/v1/nodes/{}", self.node)) {
            Err(e) if e.is_not_found() => return Ok(Check::Satisfied),
            other => other?,
        };
        let pods = self.pods(&api)?;
        let mut changes = Vec::new();
        if node["spec"]["unschedulable"] != true {
            changes.push(format!("let no more pods onto {}", self.node));
        }
        changes.extend(pods.iter().map(|(namespace, name)| format!("evict pod {namespace}/{name}")));
        Ok(Check::from_changes(changes))
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let api = self.access.api(cx)?;
        api.patch(&format!("/api/v1/nodes/{}", self.node), &json!({"spec": {"unschedulable": true}}))?;
        let begun = Instant::now();
        loop {
            let pods = self.pods(&api)?;
            if pods.is_empty() {
                return Ok(());
            }
            let mut left = Vec::new();
            for (namespace, name) in &pods {
                let why = evict(&api, namespace, name)?.map_or_else(String::new, |why| format!(" ({why})"));
                left.push(format!("{namespace}/{name}{why}"));
            }
            if begun.elapsed() >= self.timeout {
                let said = format!("after {} s still on {}: {}", self.timeout.as_secs(), self.node, left.join(", "));
                if self.access.force {
                    cx.note(format!("{said}; going on, as --force says"));
                    return Ok(());
                }
                return Err(StepError::Failed {
                    error: said,
                    help: Some("give it longer with --drain-timeout, or leave the pods with --force".to_owned()),
                });
            }
            if cx.interrupt.is_set() {
                return Err(StepError::failed(format!("interrupted while {} was being drained", self.node)));
            }
            thread::sleep(Duration::from_millis(500));
        }
    }

    fn verify(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        match self.check(cx)? {
            Check::Needed(changes) if !self.access.force => Err(StepError::NotVerified(changes)),
            _ => Ok(()),
        }
    }
}

/// The cluster knows no node of this name.
#[derive(Debug)]
pub(super) struct DeleteNode {
    pub access: Arc<Access>,
    pub node: String,
}

impl Work for DeleteNode {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        match self.access.api(cx)?.get(&format!("/api/v1/nodes/{}", self.node)) {
            Err(e) if e.is_not_found() => Ok(Check::Satisfied),
            Err(e) => Err(e.into()),
            Ok(_) => Ok(Check::Needed(vec![format!("delete node {}", self.node)])),
        }
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        match self.access.api(cx)?.delete(&format!("/api/v1/nodes/{}", self.node)) {
            Err(e) if !e.is_not_found() => Err(e.into()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    use camino::Utf8Path;

    use super::*;
    use crate::flow::pki::{CertRequest, Purpose, Usage};
    use crate::flow::state::Environment;
    use crate::flow::wrong_server::{Answer, WrongServer};
    use crate::plan::{Events, Interrupt, Plan, RunHosts, RunMode, Step, run};

    fn environment(folder: &tempfile::TempDir) -> Environment {
        Environment::open(Utf8Path::from_path(folder.path()).unwrap(), "test").unwrap()
    }

    /// An API with one node and three pods. Evicting `lost` is done and not answered, `unheard` the first time neither,
    /// `held` twice refused by its PodDisruptionBudget.
    fn api(environment: &Environment) -> WrongServer {
        let authority = environment.pki().authority(Purpose::Kubernetes).unwrap();
        let (name, ips) = ("test".to_owned(), vec![[127, 0, 0, 1].into()]);
        let (organizations, dns) = (Vec::new(), Vec::new());
        let request = CertRequest { common_name: name.clone(), name, organizations, dns, ips, usage: Usage::Server };
        let pods = Mutex::new(BTreeSet::from(["lost", "unheard", "held"]));
        let tries = Mutex::new(Vec::new());
        let cordoned = Mutex::new(false);
        WrongServer::start(Some(&authority.issue(&request).unwrap()), move |request| {
            let mut pods = pods.lock().unwrap();
            if request.method == "PATCH" {
                *cordoned.lock().unwrap() = true;
            }
            if request.method != "POST" {
                let pod = |name: &&str| json!({"metadata": {"namespace": "default", "name": name}});
                let items: Vec<Value> = pods.iter().map(pod).collect();
                let node = json!({"spec": {"unschedulable": *cordoned.lock().unwrap()}, "items": items});
                return Answer::json(200, &node);
            }
            let name = request.path.trim_end_matches("/eviction").rsplit('/').next().unwrap_or_default().to_owned();
            let mut tries = tries.lock().unwrap();
            let before = tries.iter().filter(|tried| **tried == name).count();
            tries.push(name.clone());
            match (name.as_str(), before) {
                ("unheard", 0) => return Answer::HangUp,
                ("held", 0 | 1) => return Answer::json(429, &json!({"message": "it would violate its budget"})),
                _ => {}
            }
            pods.remove(name.as_str());
            if name == "lost" { Answer::HangUp } else { Answer::json(201, &json!({})) }
        })
    }

    #[test]
    fn a_pod_is_evicted_again_only_when_it_is_still_there() {
        let folder = tempfile::tempdir().unwrap();
        let environment = environment(&folder);
        let server = api(&environment);
        let cluster: Cluster = serde_json::from_value(json!({
            "settings": {"api_endpoint": server.address().to_string()}, "network": "direct", "balanced": true,
            "etcd": {"endpoints": [], "tls": false}, "control_plane": {}, "workers": {},
        }))
        .unwrap();
        let access = Arc::new(Access { pki: environment.pki(), cluster, force: false });
        let mut plan = Plan::default();
        let drain = Drain { access, node: "host0".to_owned(), timeout: Duration::from_secs(60) };
        plan.push(Step::control("drain", "drain", drain));
        let mode = RunMode { forks: 1, dry_run: false };
        let report = run(&plan, &RunHosts::new(), &Events::new(), &Interrupt::default(), mode);
        assert!(report.as_ref().is_ok_and(|r| r.control_ok), "{report:?}");
        let evictions = |name: &str| {
            let path = format!("/api/v1/namespaces/default/pods/{name}/eviction");
            server.seen().iter().filter(|r| r.path == path).count()
        };
        assert_eq!((evictions("lost"), evictions("unheard"), evictions("held")), (1, 2, 3));
    }
}
