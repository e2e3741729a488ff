//! What the site sets on Kubernetes' own components, beside what this product does.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The site's own settings; kept with the environment, so that a control plane node added later gets the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ComponentSettings {
    /// Options without their dashes, and their values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub api_server_args: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub controller_manager_args: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub scheduler_args: BTreeMap<String, String>,
    /// Fields of the `KubeletConfiguration`.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub kubelet: Map<String, Value>,
    /// Fields of the `KubeProxyConfiguration`.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub kube_proxy: Map<String, Value>,
    /// Patches as kubeadm takes them, each under its own file name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub patches: Vec<SiteFile>,
    /// What the API servers write down of requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit_policy: Option<SiteFile>,
    /// Secrets lie encrypted in etcd.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub encrypt_secrets: bool,
}

/// A file of the control host, and what it held when it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteFile {
    pub path: Utf8PathBuf,
    pub text: String,
}

impl SiteFile {
    /// Its name without its folder.
    pub fn name(&self) -> &str {
        self.path.file_name().unwrap_or_default()
    }
}

impl ComponentSettings {
    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// With all that the other one has; of what both set, what the other one says.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        for (all, more) in [
            (&mut self.api_server_args, &other.api_server_args),
            (&mut self.controller_manager_args, &other.controller_manager_args),
            (&mut self.scheduler_args, &other.scheduler_args),
        ] {
            all.extend(more.clone());
        }
        overlay(&mut self.kubelet, &other.kubelet);
        overlay(&mut self.kube_proxy, &other.kube_proxy);
        self.patches.extend(other.patches.clone());
        self.audit_policy = other.audit_policy.clone().or(self.audit_policy);
        self.encrypt_secrets |= other.encrypt_secrets;
        self
    }

    /// The fields of `cluster.yaml` that are set here, and differ from what `other` has. Files count by what they hold.
    pub fn differing(&self, other: &Self) -> Vec<&'static str> {
        let texts = |files: &[SiteFile]| -> Vec<(String, String)> {
            files.iter().map(|file| (file.name().to_owned(), file.text.clone())).collect()
        };
        let policy = |settings: &Self| settings.audit_policy.as_ref().map(|file| file.text.clone());
        let usual = Self::default();
        let differs = [
            (
                "kubernetes.apiServer.extraArgs",
                self.api_server_args != usual.api_server_args && self.api_server_args != other.api_server_args,
            ),
            (
                "kubernetes.controllerManager.extraArgs",
                self.controller_manager_args != usual.controller_manager_args
                    && self.controller_manager_args != other.controller_manager_args,
            ),
            (
                "kubernetes.scheduler.extraArgs",
                self.scheduler_args != usual.scheduler_args && self.scheduler_args != other.scheduler_args,
            ),
            ("kubernetes.kubelet.config", self.kubelet != usual.kubelet && self.kubelet != other.kubelet),
            ("kubernetes.kubeProxy.config", self.kube_proxy != usual.kube_proxy && self.kube_proxy != other.kube_proxy),
            ("kubernetes.patches", !self.patches.is_empty() && texts(&self.patches) != texts(&other.patches)),
            ("kubernetes.auditPolicy", self.audit_policy.is_some() && policy(self) != policy(other)),
            ("kubernetes.encryptSecrets", self.encrypt_secrets && !other.encrypt_secrets),
        ];
        differs.into_iter().filter(|(_, differs)| *differs).map(|(field, _)| field).collect()
    }
}

/// The fields of `more` in `all`, those of inner maps too.
fn overlay(all: &mut Map<String, Value>, more: &Map<String, Value>) {
    for (name, value) in more {
        match (all.get_mut(name), value) {
            (Some(Value::Object(inner)), Value::Object(value)) => overlay(inner, value),
            _ => {
                all.insert(name.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_all_is_had_and_the_other_one_counts() {
        let of = |value: Value| serde_json::from_value::<ComponentSettings>(value).unwrap();
        let one = of(serde_json::json!({"scheduler_args": {"v": "1", "a": "x"}, "kubelet": {"a": {"b": 1, "c": 1}}}));
        let other =
            of(serde_json::json!({"scheduler_args": {"v": "2"}, "kubelet": {"a": {"c": 2}}, "encrypt_secrets": true}));
        let both = of(serde_json::json!({
            "scheduler_args": {"v": "2", "a": "x"}, "kubelet": {"a": {"b": 1, "c": 2}}, "encrypt_secrets": true,
        }));
        assert_eq!(one.and(&other), both);
    }

    #[test]
    fn fields_that_are_set_otherwise_are_named_and_what_is_not_set_is_not() {
        let file = |path: &str, text: &str| SiteFile { path: path.into(), text: text.to_owned() };
        let mut kept = ComponentSettings { patches: vec![file("/a/etcd.yaml", "x")], ..ComponentSettings::default() };
        kept.api_server_args.insert("profiling".to_owned(), "false".to_owned());
        assert_eq!(kept.differing(&kept), [""; 0]);
        assert_eq!(ComponentSettings::default().differing(&kept), [""; 0], "nothing is said of it");
        let moved = ComponentSettings { patches: vec![file("/b/etcd.yaml", "x")], ..kept.clone() };
        assert_eq!(moved.differing(&kept), [""; 0], "the same file in another folder");
        let mut asked = ComponentSettings { patches: vec![file("/a/etcd.yaml", "y")], ..kept.clone() };
        asked.encrypt_secrets = true;
        asked.kubelet.insert("maxPods".to_owned(), 50.into());
        assert_eq!(
            asked.differing(&kept),
            ["kubernetes.kubelet.config", "kubernetes.patches", "kubernetes.encryptSecrets"]
        );
        assert_eq!(asked.differing(&ComponentSettings::default()).len(), 4);
    }
}
