//! What the site sets on Kubernetes' components: when it counts, and what is said where it does not.

use payload::Bundle;

use super::super::state::Cluster;
use super::super::{proxy_mode, version};
use super::Converge;
use crate::flow::error::FlowError;
use crate::flow::problem::Problem;
use crate::flow::request::ClusterSettings;
use crate::host::{Facts, HostId};

impl Converge {
    /// Until a cluster stands the site may set what it likes: a wrong option is the reason why some never do. Secrets that have
    /// been encrypted are not read without the key.
    pub(super) fn set_components(cluster: &mut Cluster, settings: &ClusterSettings) {
        if !cluster.standing {
            let encrypted = cluster.settings.components.encrypt_secrets;
            cluster.settings.components.clone_from(&settings.components);
            cluster.settings.components.encrypt_secrets |= encrypted;
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
        let Some(settings) = &self.settings else { return Ok(Vec::new()) };
        let rules = self.rules(bundle);
        let named = || version::named(rules.key_package(), &self.control_plane_packages, bundle);
        let minor = match &self.before {
            Some(known) => Some(known.minor),
            None => named().and_then(|version| version::minor(&version)),
        };
        let asked = &settings.components;
        let mut problems = rules.check_components(asked, minor)?;
        let Some(known) = &self.before else { return Ok(problems) };
        let kept = &known.settings.components;
        if known.standing {
            let ignored = |field: &str| {
                let text = format!(
                    "{field} counts when the cluster is created; this one keeps what it was created with, and the change is ignored"
                );
                let help = "docs/cluster-file.md says how a cluster that stands is changed by hand";
                Problem::warning(None, text, Some(help.to_owned()))
            };
            return Ok(asked.differing(kept).into_iter().map(ignored).collect());
        }
        if kept.encrypt_secrets && !asked.encrypt_secrets {
            let text = "kubernetes.encryptSecrets stays on: what is in etcd may be encrypted already";
            let help = "`cluster reset --wipe-data` deletes that too, and a cluster without it can be created";
            problems.push(Problem::warning(None, text, Some(help.to_owned())));
        }
        Ok(problems)
    }
}
