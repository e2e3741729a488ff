//! kube-proxy's configuration in the cluster, and a rollout of its DaemonSet when it has changed. Pods that do not come back with it get the
//! former one.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::plan::{Check, Cx, Step, StepError, Work};

use super::super::super::api::Api;
use super::super::super::component::{Component, On};
use super::super::super::drain::Access;
use super::changes::{self, Setting};
use super::{Document, access, of_kube_proxies, or_absent};

/// kubeadm's (`cmd/kubeadm/app/phases/addons/proxy`).
const DAEMON_SET: &str = "/apis/apps/v1/namespaces/kube-system/daemonsets/kube-proxy";
const PODS: &str = "/api/v1/namespaces/kube-system/pods?labelSelector=k8s-app%3Dkube-proxy";
/// On the pods: which settings they were started with. A new value is a rollout.
const SETTINGS: &str = "sunshine-installer/settings";
/// A rollout goes from node to node.
const ROLLOUT: Duration = Duration::from_secs(120);
const OF_A_NODE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(500);
/// Seconds that a pod must have worked before the next node's is replaced: without, one that ends at once is taken for a good one.
const STEADY: u64 = 5;
/// A pod that has ended so often does not come.
const ENDED: u64 = 2;

/// The component of the host that publishes.
pub(in crate::flow::kubernetes) struct KubeProxySettings;

impl Component for KubeProxySettings {
    fn is_on(&self, on: &On<'_>) -> bool {
        on.publishes && on.control_plane().is_some() && on.supply.former.is_some()
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let set = &on.cluster.settings.components.kube_proxy;
        let changes = on.supply.former.is_some_and(|former| former.applied.kube_proxy != *set);
        let work = Rollout { access: access(on), begins: on.begins(), settings: of_kube_proxies(on), changes };
        let step = on.step("kube-proxy.settings", "apply kube-proxy's settings", work).weight(4);
        vec![step.after(on.waits.all_settled.clone())]
    }
}

#[derive(Debug)]
struct Rollout {
    access: Arc<Access>,
    begins: bool,
    settings: Vec<Setting>,
    /// A run that was to change them has not come to its end: pods without a mark may have been started before.
    changes: bool,
}

fn mark(daemon_set: &Value) -> Option<&str> {
    daemon_set["spec"]["template"]["metadata"]["annotations"][SETTINGS].as_str()
}

/// Whether every pod has been started with the newest template, and works.
fn is_over(daemon_set: &Value) -> bool {
    let status = &daemon_set["status"];
    let number = |name: &str| status[name].as_u64().unwrap_or_default();
    status["observedGeneration"].as_u64() >= daemon_set["metadata"]["generation"].as_u64()
        && number("updatedNumberScheduled") == number("desiredNumberScheduled")
        && number("numberUnavailable") == 0
}

/// A pod with this mark that has ended again and again: its name.
fn ending<'p>(pods: &'p Value, mark: &str) -> Option<&'p str> {
    let has_ended = |pod: &&Value| {
        let statuses = pod["status"]["containerStatuses"].as_array();
        let often = |status: &Value| status["restartCount"].as_u64().unwrap_or_default() >= ENDED;
        pod["metadata"]["annotations"][SETTINGS] == *mark && statuses.is_some_and(|all| all.iter().any(often))
    };
    pods["items"].as_array()?.iter().find(has_ended)?["metadata"]["name"].as_str()
}

impl Rollout {
    fn mark(&self) -> String {
        let all = self.settings.iter().map(|setting| json!([setting.path, setting.wanted]).to_string());
        hex::encode(&Sha256::digest(all.collect::<String>())[..8])
    }

    /// What is to be done: nothing where the site says nothing, or has no kube-proxy.
    fn needed(&self, api: &Api<'_>) -> Result<Vec<String>, StepError> {
        if self.settings.is_empty() {
            return Ok(Vec::new());
        }
        let Some(is) = Document::of_kube_proxies().find(api)? else { return Ok(Vec::new()) };
        let mut needed = changes::changes(&is, &self.settings);
        let daemon_set = api.get(DAEMON_SET)?;
        let is_marked = match mark(&daemon_set) {
            Some(mark) => mark == self.mark(),
            None => !self.changes,
        };
        if !is_marked || !needed.is_empty() || self.changes && !is_over(&daemon_set) {
            needed.push("restart kube-proxy on one node after another".to_owned());
        }
        Ok(needed)
    }

    fn start(api: &Api<'_>, mark: &str) -> Result<(), StepError> {
        let template = json!({"metadata": {"annotations": {SETTINGS: mark}}});
        api.patch(DAEMON_SET, &json!({"spec": {"template": template, "minReadySeconds": STEADY}}))?;
        Ok(())
    }

    /// What `start` has set for the time of the rollout.
    fn end(api: &Api<'_>, before: &Value) -> Result<(), StepError> {
        let steady = before["spec"]["minReadySeconds"].as_u64().unwrap_or_default();
        api.patch(DAEMON_SET, &json!({"spec": {"minReadySeconds": steady}}))?;
        Ok(())
    }

    /// Waits for the rollout; the last lines of a pod that does not come.
    fn wait(&self, cx: &Cx<'_>, api: &Api<'_>) -> Result<Result<(), String>, StepError> {
        let begun = Instant::now();
        loop {
            let daemon_set = api.get(DAEMON_SET)?;
            if is_over(&daemon_set) {
                return Ok(Ok(()));
            }
            if let Some(pod) = ending(&api.get(PODS)?, &self.mark()) {
                let log = format!("/api/v1/namespaces/kube-system/pods/{pod}/log?tailLines=6&previous=true");
                let said =
                    api.get(&log).map_or_else(|e| e.to_string(), |said| said.as_str().unwrap_or_default().to_owned());
                return Ok(Err(format!(
                    "{pod} did not come back with the new settings; its last lines:\n{}",
                    said.trim_end()
                )));
            }
            let nodes = u32::try_from(daemon_set["status"]["desiredNumberScheduled"].as_u64().unwrap_or_default());
            if begun.elapsed() > ROLLOUT + OF_A_NODE * nodes.unwrap_or_default() || cx.interrupt.is_set() {
                let status = &daemon_set["status"];
                let (updated, all) = (&status["updatedNumberScheduled"], &status["desiredNumberScheduled"]);
                return Err(StepError::with_help(
                    format!("kube-proxy's rollout has not come to its end: {updated} of {all} nodes"),
                    "see `kubectl -n kube-system get pods -l k8s-app=kube-proxy -o wide`, then run the same command again",
                ));
            }
            thread::sleep(POLL);
        }
    }
}

impl Work for Rollout {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let api = self.access.api(cx)?;
        let needed = or_absent(self.needed(&api), self.begins && cx.wants_detail())?;
        Ok(Check::from_changes(needed.unwrap_or_default()))
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let api = self.access.api(cx)?;
        let document = Document::of_kube_proxies();
        let daemon_set = api.get(DAEMON_SET)?;
        let before = document.bring(&api, &self.settings)?;
        Self::start(&api, &self.mark())?;
        let waited = self.wait(cx, &api);
        Self::end(&api, &daemon_set)?;
        let Err(why) = waited? else { return Ok(()) };
        let Some(before) = before else { return Err(StepError::failed(why)) };
        document.write(&api, &before)?;
        Self::start(&api, "before")?;
        Err(StepError::with_help(
            format!("{why}\nwhat it had before is back"),
            "correct kubernetes.kubeProxy.config, then run the same command again",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollout_is_over_when_every_pod_is_new_and_works() {
        let of = |generation: u64, updated: u64, unavailable: u64| {
            json!({
                "metadata": {"generation": 2},
                "status": {
                    "observedGeneration": generation, "updatedNumberScheduled": updated, "desiredNumberScheduled": 2,
                    "numberUnavailable": unavailable,
                },
            })
        };
        assert!(is_over(&of(2, 2, 0)));
        assert!(!is_over(&of(1, 2, 0)) && !is_over(&of(2, 1, 0)) && !is_over(&of(2, 2, 1)));
    }

    #[test]
    fn a_pod_of_these_settings_that_ends_again_and_again_is_named() {
        let pod = |name: &str, mark: &str, ended: u64| {
            json!({
                "metadata": {"name": name, "annotations": {SETTINGS: mark}},
                "status": {"containerStatuses": [{"restartCount": ended}]},
            })
        };
        let pods = json!({"items": [pod("a", "old", 9), pod("b", "new", 1), pod("c", "new", 2)]});
        assert_eq!(ending(&pods, "new"), Some("c"));
        assert_eq!(ending(&pods, "newer"), None);
    }
}
