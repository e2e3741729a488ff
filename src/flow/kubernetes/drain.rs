//! A node is emptied and taken out of the cluster, through the API.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::flow::state::Environment;
use crate::plan::{Check, Cx, StepError, Work};

use super::api::{Api, ApiError};
use super::network;
use super::state::Cluster;

impl From<ApiError> for StepError {
    fn from(error: ApiError) -> Self {
        let help = error.help();
        Self::Failed { error: error.to_string(), help }
    }
}

/// What the steps here need to reach the API.
#[derive(Debug)]
pub(super) struct Access {
    pub environment: Environment,
    /// The masters that stay.
    pub cluster: Cluster,
}

impl Access {
    fn api(&self) -> Result<Api, StepError> {
        Api::open(&self.environment, &self.cluster).map_err(|e| StepError::failed(e.to_string()))
    }
}

/// No pod runs on the node but those that belong to it (of a DaemonSet, or its own static ones).
#[derive(Debug)]
pub(super) struct Drain {
    pub access: Arc<Access>,
    pub node: String,
    pub timeout: Duration,
    /// Go on when it takes longer.
    pub force: bool,
}

impl Drain {
    fn pods(&self, api: &Api) -> Result<Vec<(String, String)>, ApiError> {
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

/// `policy/v1` from 1.22, `v1beta1` before.
fn evict(api: &Api, namespace: &str, name: &str) -> Result<(), ApiError> {
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/eviction");
    let body = |version: &str| json!({"apiVersion": version, "kind": "Eviction", "metadata": {"name": name, "namespace": namespace}});
    let tried = match api.post(&path, &body("policy/v1beta1")) {
        Err(ApiError::Refused { status: 400, .. }) => api.post(&path, &body("policy/v1")),
        other => other,
    };
    match tried {
        // Gone already, or held back by a PodDisruptionBudget: asked again in a moment.
        Err(e) if !e.is_not_found() && !e.is_too_many() => Err(e),
        _ => Ok(()),
    }
}

impl Work for Drain {
    fn check(&self, _: &Cx<'_>) -> Result<Check, StepError> {
        let api = self.access.api()?;
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
        let api = self.access.api()?;
        api.patch(&format!("/api/v1/nodes/{}", self.node), &json!({"spec": {"unschedulable": true}}))?;
        let end = Instant::now() + self.timeout;
        loop {
            let pods = self.pods(&api)?;
            if pods.is_empty() {
                return Ok(());
            }
            for (namespace, name) in &pods {
                evict(&api, namespace, name)?;
            }
            if Instant::now() >= end {
                let left: Vec<String> = pods.iter().map(|(namespace, name)| format!("{namespace}/{name}")).collect();
                let said = format!("after {} s still on {}: {}", self.timeout.as_secs(), self.node, left.join(", "));
                if self.force {
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
            Check::Needed(changes) if !self.force => Err(StepError::NotVerified(changes)),
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
    fn check(&self, _: &Cx<'_>) -> Result<Check, StepError> {
        match self.access.api()?.get(&format!("/api/v1/nodes/{}", self.node)) {
            Err(e) if e.is_not_found() => Ok(Check::Satisfied),
            Err(e) => Err(e.into()),
            Ok(_) => Ok(Check::Needed(vec![format!("delete node {}", self.node)])),
        }
    }

    fn apply(&self, _: &Cx<'_>) -> Result<(), StepError> {
        match self.access.api()?.delete(&format!("/api/v1/nodes/{}", self.node)) {
            Err(e) if !e.is_not_found() => Err(e.into()),
            _ => Ok(()),
        }
    }
}

/// The list of hosts in the cluster is that of the hosts that stay.
#[derive(Debug)]
pub(super) struct TellOfHosts {
    pub access: Arc<Access>,
}

const LIST: &str = "/api/v1/namespaces/kube-public/configmaps/sunshine-cluster";

impl Work for TellOfHosts {
    fn check(&self, _: &Cx<'_>) -> Result<Check, StepError> {
        let is = self.access.api()?.get(LIST)?;
        let same = is["data"]["hosts"].as_str() == Some(network::list(&self.access.cluster).as_str());
        Ok(if same { Check::Satisfied } else { Check::Needed(vec!["tell the cluster of its hosts".to_owned()]) })
    }

    fn apply(&self, _: &Cx<'_>) -> Result<(), StepError> {
        self.access.api()?.patch(LIST, &json!({"data": {"hosts": network::list(&self.access.cluster)}}))?;
        Ok(())
    }
}
