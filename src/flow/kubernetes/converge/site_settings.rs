//! What the site sets on Kubernetes' components: when it counts, what of it is not followed, and what of an earlier run is known.

use payload::Bundle;

use super::super::kubeadm::Former;
use super::super::state::Cluster;
use super::super::{proxy_mode, version};
use super::Converge;
use crate::flow::error::FlowError;
use crate::flow::problem::Problem;
use crate::flow::request::{ClusterSettings, ComponentSettings};
use crate::flow::rpms;
use crate::flow::state::Environment;
use crate::host::{Facts, HostId};

impl Converge {
    /// What a file says counts, and what a command line says, which can set nothing, until the cluster stands. Secrets that have been encrypted
    /// are not read without the key.
    pub(super) fn set_components(&self, cluster: &mut Cluster, settings: &ClusterSettings) {
        let mut encrypted = cluster.settings.components.encrypt_secrets;
        if !cluster.standing {
            encrypted |= cluster.unfinished.take().is_some_and(|begun| begun.encrypt_secrets);
        }
        if self.described || !cluster.standing {
            cluster.settings.components.clone_from(&settings.components);
            cluster.settings.components.encrypt_secrets |= encrypted;
        }
    }

    /// What was set before, where a file says what is to be set on a cluster that stands.
    pub(super) fn former(&self) -> Option<Former> {
        let asked = &self.settings.as_ref().filter(|_| self.described)?.components;
        let known = self.before.as_ref().filter(|known| known.standing)?;
        let applied = known.settings.components.clone();
        let ever = known.unfinished.iter().fold(applied.clone(), ComponentSettings::and);
        (!ever.is_empty() || !asked.is_empty()).then_some(Former { applied, ever })
    }

    /// Until a run has come to its end the cluster has what it had before: hosts that are added meanwhile get that. What the run sets is kept
    /// beside it, for a later one to take out what it does not want.
    pub(super) fn begin_settings(&self, cluster: &mut Cluster) {
        let Some(former) = &self.former else { return };
        let asked = std::mem::replace(&mut cluster.settings.components, former.applied.clone());
        if asked != former.applied || cluster.unfinished.is_some() {
            let begun = cluster.unfinished.take().unwrap_or_default();
            cluster.unfinished = Some(begun.and(&asked));
        }
    }

    /// Hosts that run pods and on which kube-proxy cannot work as the site says, or as it is chosen. `minor`: 1.MINOR of Kubernetes.
    pub(super) fn check_proxy_mode(&self, cluster: &Cluster, minor: u32, hosts: &[(&HostId, &Facts)]) -> Vec<Problem> {
        let pods = cluster.pod_hosts();
        let hosts = || hosts.iter().copied().filter(|(host, _)| pods.contains(host));
        let by_site = cluster.settings.components.kube_proxy.get("mode").and_then(|mode| mode.as_str());
        let mode = match (by_site, &self.before) {
            (Some(mode), _) => mode,
            _ if !cluster.distribution.rules().runs_control_plane() => "iptables",
            (None, None) => proxy_mode::choose(hosts().map(|(_, facts)| facts), minor),
            (None, Some(known)) => known.kube_proxy_mode.as_deref().unwrap_or_else(|| proxy_mode::of_earlier(minor)),
        };
        proxy_mode::check(mode, hosts())
    }

    /// What of the site's settings is not followed.
    pub(super) fn check_components(&self, bundle: Option<&Bundle>) -> Result<Vec<Problem>, FlowError> {
        self.check_begun_encryption()?;
        let Some(settings) = &self.settings else { return Ok(Vec::new()) };
        let rules = self.rules(bundle);
        let named = || rpms::version(rules.key_package(), &self.control_plane_packages, bundle);
        let minor = match &self.before {
            Some(known) => Some(known.minor),
            None => named().and_then(|version| version::minor(&version)),
        };
        let asked = &settings.components;
        let mut problems = rules.check_components(asked, minor)?;
        let Some(known) = &self.before else { return Ok(problems) };
        let kept = &known.settings.components;
        if known.standing {
            if self.described {
                self.check_encryption(known, asked)?;
            }
            return Ok(problems);
        }
        if kept.encrypt_secrets && !asked.encrypt_secrets {
            let text = "kubernetes.encryptSecrets stays on: what is in etcd may be encrypted already";
            let help = "`cluster reset --wipe-data` deletes that too, and a cluster without it can be created";
            problems.push(Problem::warning(None, text, Some(help.to_owned())));
        }
        Ok(problems)
    }

    /// Until encryption is completed the cluster is the one before it: a control plane node that joins by another command would get no key, and
    /// could not read what is encrypted already.
    fn check_begun_encryption(&self) -> Result<(), FlowError> {
        let is_begun =
            |known: &Cluster| known.standing && known.unfinished.as_ref().is_some_and(|begun| begun.encrypt_secrets);
        if self.described || self.control_plane.is_empty() || !self.before.as_ref().is_some_and(is_begun) {
            return Ok(());
        }
        Err(FlowError::request_with_help(
            "kubernetes.encryptSecrets has been begun and is not completed: a control plane node that this command brings in could not read the cluster's secrets",
            "complete it by `cluster apply` with the file that sets `encryptSecrets: true`; that file may name new control plane nodes too",
        ))
    }

    /// Secrets in etcd are read with the key alone, and by API servers that have it.
    fn check_encryption(&self, known: &Cluster, asked: &ComponentSettings) -> Result<(), FlowError> {
        let is_on = known.settings.components.encrypt_secrets;
        let is_begun = is_on || known.unfinished.as_ref().is_some_and(|begun| begun.encrypt_secrets);
        if is_begun && !asked.encrypt_secrets {
            return Err(FlowError::request_with_help(
                "kubernetes.encryptSecrets cannot be switched off: the secrets in etcd are encrypted, and without it no API server could read them",
                "write `encryptSecrets: true` into the file",
            ));
        }
        let named = |host: &HostId| self.control_plane.iter().any(|target| target.id() == *host);
        let missing: Vec<&str> = known.control_plane.keys().filter(|host| !named(host)).map(HostId::as_str).collect();
        if is_on || !asked.encrypt_secrets || missing.is_empty() {
            return Ok(());
        }
        Err(FlowError::request_with_help(
            format!(
                "kubernetes.encryptSecrets: {} must get the key too, and the file does not name it",
                missing.join(", ")
            ),
            "name every control plane node of the cluster in the file, or remove those that are gone",
        ))
    }
}

impl Cluster {
    /// What a run was to set is what the cluster has.
    pub(super) fn end_settings(&self, environment: &Environment) -> Result<(), FlowError> {
        let Some(mut kept) = Self::load(environment)? else { return Ok(()) };
        if kept.unfinished.is_none() && kept.settings.components == self.settings.components {
            return Ok(());
        }
        kept.settings.components.clone_from(&self.settings.components);
        kept.unfinished = None;
        kept.save(environment)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::flow::request::ClusterCreate;

    /// What a file sets, applied to a cluster of which this is known.
    fn converge(components: &Value, known: &Value) -> Converge {
        let mut cluster = json!({
            "network": "direct", "etcd": {"endpoints": [], "tls": true}, "standing": true, "distribution": "kubeadm",
            "control_plane": {}, "workers": {},
        });
        cluster.as_object_mut().unwrap().extend(known.as_object().unwrap().clone());
        let before = serde_json::from_value(cluster).unwrap();
        let settings: ClusterSettings = serde_json::from_value(json!({"components": components})).unwrap();
        let (control_plane, workers, etcd) = (Vec::new(), Vec::new(), Vec::new());
        let (control_plane_rpms, worker_rpms) = (Vec::new(), Vec::new());
        let described = true;
        let create =
            ClusterCreate { control_plane, workers, etcd, control_plane_rpms, worker_rpms, settings, described };
        Converge { before: Some(before), ..Converge::create(create) }
    }

    #[test]
    fn what_was_begun_is_known_until_a_run_has_come_to_its_end() {
        let v = |n: &str| json!({"scheduler_args": {"v": n}});
        let mut first = converge(&v("2"), &json!({"settings": {"components": v("1")}}));
        first.former = first.former();
        let mut kept = first.before.clone().unwrap();
        first.set_components(&mut kept, first.settings.as_ref().unwrap());
        assert_eq!(kept.settings.components.scheduler_args["v"], "2", "as the plan has it");
        first.begin_settings(&mut kept);
        assert_eq!(kept.settings.components.scheduler_args["v"], "1", "as it is until then");
        // The next file says nothing of it.
        let second = converge(&json!({}), &serde_json::to_value(&kept).unwrap());
        let former = second.former().unwrap();
        assert_eq!((former.applied.scheduler_args["v"].as_str(), former.ever.scheduler_args["v"].as_str()), ("1", "2"));
        assert!(converge(&json!({}), &json!({"settings": {}})).former().is_none(), "nothing is set, and nothing was");
        assert!(converge(&v("1"), &json!({"settings": {}, "standing": false})).former().is_none());
    }

    #[test]
    fn encryption_that_was_begun_is_not_switched_off() {
        let on = json!({"encrypt_secrets": true});
        for known in [json!({"settings": {"components": on}}), json!({"settings": {}, "unfinished": on})] {
            let off = converge(&json!({}), &known);
            let error = off.check_encryption(off.before.as_ref().unwrap(), &ComponentSettings::default()).unwrap_err();
            assert!(error.to_string().contains("cannot be switched off"), "{error}");
        }
        let reset = converge(&json!({}), &json!({"settings": {}, "unfinished": on, "standing": false}));
        let mut kept = reset.before.clone().unwrap();
        reset.set_components(&mut kept, reset.settings.as_ref().unwrap());
        assert!(
            kept.settings.components.encrypt_secrets && kept.unfinished.is_none(),
            "what is in etcd may be encrypted"
        );
    }
}
