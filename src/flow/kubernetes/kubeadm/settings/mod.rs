//! The site's settings of Kubernetes' components, applied to a cluster that stands.
//!
//! 1. Control plane nodes, one after another: kubeadm makes their static pods' manifests anew, from the configuration in the cluster with the settings
//!    in it, and each program is awaited; then the kubelet. What does not come back gets what it had before, and the run ends there.
//! 2. Where secrets are to be encrypted, and were not before: each API server is seen to read with the key, then one after another writes with it.
//! 3. kubeadm's ConfigMaps, by which hosts join; kube-proxy's, and a rollout of it; secrets are written anew where they are to be encrypted.
//! 4. The kubelets of worker nodes.
//!
//! Compared are the ConfigMaps and the files of hosts, in as far as the site speaks of them.

mod changes;
mod control_plane;
mod kube_proxy;
mod kubelet;
mod published;
mod secrets;

pub(in crate::flow::kubernetes) use control_plane::ControlPlaneSettings;
use control_plane::Manifests;
pub(in crate::flow::kubernetes) use kube_proxy::KubeProxySettings;
pub(in crate::flow::kubernetes) use kubelet::{KubeletSettings, settled};
pub(in crate::flow::kubernetes) use published::{PublishedSettings, published};
pub(in crate::flow::kubernetes) use secrets::{EncryptedSecrets, KeyOfSecrets, can_read, writes};
pub(super) use secrets::{FileForReading, in_two_passes};

use std::sync::Arc;

use serde_json::{Value, json};

use crate::flow::request::{ComponentSettings, SiteFile};
use crate::host::HostError;
use crate::plan::StepError;

use super::super::api::Api;
use super::super::component::On;
use super::super::drain::Access;
use super::super::state::Cluster;
use super::{config, site};
use changes::{Setting, Sources};

/// What was set before, where a file says how all of it is to be.
#[derive(Debug, Default)]
pub(in crate::flow::kubernetes) struct Former {
    /// By the last run that came to its end.
    pub applied: ComponentSettings,
    /// By that and all that were begun since.
    pub ever: ComponentSettings,
}

/// Where a program has not come back, the reason is in what was to be set.
fn in_the_file(error: HostError) -> StepError {
    match error {
        HostError::Failed { .. } => {
            StepError::with_help(error.to_string(), "correct the settings in the file, then apply it again")
        }
        other => other.into(),
    }
}

fn access(on: &On<'_>) -> Arc<Access> {
    Arc::new(Access { pki: on.keys.pki().clone(), cluster: on.cluster.clone(), force: false })
}

/// The settings of one configuration, as `of` makes it from what the site sets, over `base`.
fn settings(
    on: &On<'_>,
    of: impl Fn(&ComponentSettings) -> Value,
    base: &Value,
    depth: usize,
    program: impl Fn(&[String]) -> &'static str,
) -> Vec<Setting> {
    let Some(former) = on.supply.former else { return Vec::new() };
    let (site, ever, applied) = (of(&on.cluster.settings.components), of(&former.ever), of(&former.applied));
    Sources { site: &site, former: &ever, applied: &applied, base, depth }.settings(program)
}

/// Those of API servers, controller managers and schedulers, in a `ClusterConfiguration`.
fn of_control_plane(on: &On<'_>) -> Vec<Setting> {
    let program = |path: &[String]| match path.first().map(String::as_str) {
        Some("apiServer") => "kube-apiserver",
        Some("controllerManager") => "kube-controller-manager",
        _ => "kube-scheduler",
    };
    settings(on, site::of_cluster, &site::ours_of_cluster(&on.cluster.settings), 3, program)
}

fn of_kubelets(on: &On<'_>) -> Vec<Setting> {
    settings(on, |set| site::kubelet(json!({}), set), &config::kubelet(on), usize::MAX, |_| "kubelet")
}

fn of_kube_proxies(on: &On<'_>) -> Vec<Setting> {
    let base = config::kube_proxy(on.cluster);
    settings(on, |set| site::kube_proxy(json!({}), set), &base, usize::MAX, |_| "kube-proxy")
}

/// Whether patches of these programs are others than in the last run that came to its end.
fn patched_otherwise(on: &On<'_>, programs: &[&str]) -> bool {
    let of = |set: &ComponentSettings| -> Vec<(String, String)> {
        let is_of = |file: &&SiteFile| programs.iter().any(|program| file.name().starts_with(program));
        set.patches.iter().filter(is_of).map(|file| (file.name().to_owned(), file.text.clone())).collect()
    };
    on.supply.former.is_some_and(|former| of(&former.applied) != of(&on.cluster.settings.components))
}

/// The ConfigMap of kubelets' configuration. From 1.24 on its name has no version (Kubernetes 1.24, changes of kubeadm).
pub(super) fn kubelet_config(cluster: &Cluster) -> String {
    match cluster.minor {
        0..24 => format!("kubelet-config-1.{}", cluster.minor),
        _ => "kubelet-config".to_owned(),
    }
}

/// A document in one of kubeadm's ConfigMaps in `kube-system`.
#[derive(Debug, Clone)]
struct Document {
    map: String,
    key: &'static str,
}

impl Document {
    fn of_cluster() -> Self {
        Self { map: "kubeadm-config".to_owned(), key: "ClusterConfiguration" }
    }

    fn of_kubelets(cluster: &Cluster) -> Self {
        Self { map: kubelet_config(cluster), key: "kubelet" }
    }

    fn of_kube_proxies() -> Self {
        Self { map: "kube-proxy".to_owned(), key: "config.conf" }
    }

    fn path(&self) -> String {
        format!("/api/v1/namespaces/kube-system/configmaps/{}", self.map)
    }

    fn read(&self, api: &Api<'_>) -> Result<Value, StepError> {
        self.find(api)?
            .ok_or_else(|| StepError::failed(format!("the cluster has no ConfigMap kube-system/{}", self.map)))
    }

    /// None where the cluster has no such ConfigMap.
    fn find(&self, api: &Api<'_>) -> Result<Option<Value>, StepError> {
        let map = match api.get(&self.path()) {
            Err(error) if error.is_not_found() => return Ok(None),
            other => other?,
        };
        let document = map["data"][self.key].as_str().and_then(changes::read).filter(Value::is_object);
        let unread =
            || StepError::failed(format!("{} in the ConfigMap kube-system/{} cannot be read", self.key, self.map));
        Ok(Some(document.ok_or_else(unread)?))
    }

    fn write(&self, api: &Api<'_>, document: &Value) -> Result<(), StepError> {
        let unwritten = || StepError::failed(format!("{} cannot be written as YAML", self.key));
        let text = changes::text(document).ok_or_else(unwritten)?;
        api.patch(&self.path(), &json!({"data": {self.key: text}}))?;
        Ok(())
    }

    /// Sets what differs; what was there before, where something did.
    fn bring(&self, api: &Api<'_>, settings: &[Setting]) -> Result<Option<Value>, StepError> {
        let is = self.read(api)?;
        if changes::changes(&is, settings).is_empty() {
            return Ok(None);
        }
        self.write(api, &changes::with(is.clone(), settings))?;
        Ok(Some(is))
    }
}

/// Before there is an API server there is nothing to compare with: `kubeadm init` makes it from all settings.
fn or_absent<T>(found: Result<T, StepError>, begins: bool) -> Result<Option<T>, StepError> {
    match found {
        Err(_) if begins => Ok(None),
        other => other.map(Some),
    }
}
