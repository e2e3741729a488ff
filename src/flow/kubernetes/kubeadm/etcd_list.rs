//! The etcd members that kubeadm's API servers use: in the manifest of each one's pod, and in the configuration by which kubeadm
//! makes those of control plane nodes that join later.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use saphyr::{Scalar, Yaml, YamlEmitter};
use serde_json::json;

use crate::host::{Command, HostId};
use crate::plan::{Check, Cx, Step, StepError, StepId, Work};

use super::super::component::{Component, On};
use super::super::drain::Access;

/// The kubelet looks at the folder of manifests every 20 seconds at the latest, and gives an API server 30 to end.
const RESTARTED: Duration = Duration::from_secs(150);
const POLL: Duration = Duration::from_millis(500);
const STEP: &str = "kubeadm.etcd";

/// The step after which kubeadm's configuration in the cluster names the members, on the host that has it.
pub(in crate::flow::kubernetes) fn configured(host: &HostId) -> StepId {
    StepId::on(host, STEP)
}

/// The component of the host that publishes: before any host joins.
pub(in crate::flow::kubernetes) struct EtcdConfiguration;

/// The component of every control plane node, before it is asked whether it answers.
pub(in crate::flow::kubernetes) struct EtcdServers;

impl Component for EtcdConfiguration {
    fn is_on(&self, on: &On<'_>) -> bool {
        on.publishes && on.cluster.standing && !on.begins()
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let access = Access { pki: on.keys.pki().clone(), cluster: on.cluster.clone(), force: false };
        let config = Configuration { access: Arc::new(access) };
        let step = on.step(STEP, "update etcd's members in kubeadm's configuration", config);
        vec![step.after_if_present(on.waits.etcd.iter().cloned())]
    }
}

impl Component for EtcdServers {
    fn is_on(&self, on: &On<'_>) -> bool {
        on.control_plane().is_some() && on.cluster.standing
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let servers = ApiServer { endpoints: on.cluster.etcd.endpoints.clone() };
        let step = on.step("kubeadm.etcd-servers", "update the API server's etcd members", servers).weight(4);
        vec![step.after_if_present(on.waits.etcd.iter().cloned()).after(on.waits.before.clone())]
    }
}

fn set<'a>(endpoints: impl IntoIterator<Item = &'a str>) -> BTreeSet<&'a str> {
    endpoints.into_iter().collect()
}

/// kubeadm's own ConfigMap names these members.
#[derive(Debug)]
struct Configuration {
    access: Arc<Access>,
}

const CONFIG: &str = "/api/v1/namespaces/kube-system/configmaps/kubeadm-config";

impl Configuration {
    /// The configuration as it is to be; None where it is that already.
    fn wanted(&self, cx: &Cx<'_>) -> Result<Option<String>, StepError> {
        let map = self.access.api(cx)?.get(CONFIG)?;
        let is = map["data"]["ClusterConfiguration"].as_str().unwrap_or_default();
        with_endpoints(is, &self.access.cluster.etcd.endpoints).ok_or_else(|| {
            StepError::failed(
                "the ConfigMap kube-system/kubeadm-config has no list of etcd members that can be changed",
            )
        })
    }
}

/// A `ClusterConfiguration` with these members; `Some(None)` where it has them already, None where it has no list at all.
pub(super) fn with_endpoints(config: &str, endpoints: &[String]) -> Option<Option<String>> {
    let mut documents = payload::yaml::documents(config).ok()?;
    let document = documents.first_mut()?;
    let list = document.as_mapping_get_mut("etcd")?.as_mapping_get_mut("external")?.as_mapping_get_mut("endpoints")?;
    let is = set(list.as_sequence()?.iter().filter_map(Yaml::as_str));
    if is == set(endpoints.iter().map(String::as_str)) {
        return Some(None);
    }
    *list = Yaml::Sequence(endpoints.iter().map(|e| Yaml::Value(Scalar::String(e.clone().into()))).collect());
    let mut text = String::new();
    YamlEmitter::new(&mut text).dump(document).ok()?;
    let text = text.trim_start_matches("---\n").to_owned() + "\n";
    // What the writer does not write as it was read (an odd tag) is better left alone.
    let is_whole = payload::yaml::documents(&text).is_ok_and(|again| again.first() == Some(&*document));
    is_whole.then_some(Some(text))
}

impl Work for Configuration {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let change = |_| Check::Needed(vec![format!("name {}", self.access.cluster.etcd.endpoints.join(", "))]);
        Ok(self.wanted(cx)?.map_or(Check::Satisfied, change))
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        if let Some(config) = self.wanted(cx)? {
            self.access.api(cx)?.patch(CONFIG, &json!({"data": {"ClusterConfiguration": config}}))?;
        }
        Ok(())
    }
}

/// The API server of this host runs with these members.
#[derive(Debug)]
struct ApiServer {
    endpoints: Vec<String>,
}

/// Prints the list in the manifest, and that of the process. A host that has no manifest so far gets it from kubeadm.
const LOOK: &str = r#"m=/etc/kubernetes/manifests/kube-apiserver.yaml
[ -e "$m" ] || { echo none; exit 0; }
printf 'manifest %s\n' "$(sed -n 's/^ *- --etcd-servers=//p' "$m")"
for p in $(pgrep -x kube-apiserver); do
  printf 'process %s\n' "$(tr '\0' '\n' <"/proc/$p/cmdline" | sed -n 's/^--etcd-servers=//p')"
done"#;
/// `$1` members. What else stands in the manifest stays, and the kubelet, which reads the folder, sees it only when it is whole.
const WRITE: &str = r#"set -eu
umask 077
m=/etc/kubernetes/manifests/kube-apiserver.yaml
new=/etc/kubernetes/.kube-apiserver.yaml.$$
trap 'rm -f "$new"' EXIT
list=$1 awk 'match($0, /^ *- --etcd-servers=/) {print substr($0, 1, RLENGTH) ENVIRON["list"]; next} {print}' "$m" >"$new"
sync "$new" 2>/dev/null || :
mv -fT "$new" "$m""#;

impl ApiServer {
    /// What of it is not so yet, and whether the manifest is.
    fn differs(&self, cx: &Cx<'_>) -> Result<(bool, Vec<String>), StepError> {
        let text = cx.host()?.run_ok(&Command::script(LOOK).label("look for the API server's etcd members"))?;
        let wanted = set(self.endpoints.iter().map(String::as_str));
        let (mut manifest, mut differing) = (true, Vec::new());
        for (what, list) in text.text().lines().filter_map(|line| line.split_once(' ')) {
            if set(list.split(',')) != wanted {
                manifest &= what != "manifest";
                differing.push(format!("the API server's {what} names {list}"));
            }
        }
        Ok((manifest, differing))
    }
}

impl Work for ApiServer {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let differs = !self.differs(cx)?.1.is_empty();
        let change = vec![format!("restart the API server with {}", self.endpoints.join(", "))];
        Ok(if differs { Check::Needed(change) } else { Check::Satisfied })
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        if !self.differs(cx)?.0 {
            let write = Command::script(WRITE).arg(self.endpoints.join(","));
            cx.host()?.run_ok(&write.label("write the API server's manifest"))?;
        }
        Ok(())
    }

    /// The kubelet has started it anew.
    fn verify(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let end = Instant::now() + RESTARTED;
        loop {
            let differing = self.differs(cx)?.1;
            if differing.is_empty() {
                return Ok(());
            }
            if Instant::now() >= end || cx.interrupt.is_set() {
                return Err(StepError::NotVerified(differing));
            }
            thread::sleep(POLL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIGURATION: &str = "apiServer: {}\napiVersion: kubeadm.k8s.io/v1beta4\netcd:\n  external:\n    caFile: /ca\n    \
                                 endpoints:\n    - https://10.0.0.1:2379\n    keyFile: /key\nkubernetesVersion: v1.36.3\n\
                                 networking:\n  podSubnet: \"10.244.0.0/16\"\nzero: \"0\"\n";

    #[test]
    fn what_cannot_be_written_as_it_was_read_is_left_alone() {
        let odd = format!("{CONFIGURATION}! .: text\n");
        assert!(payload::yaml::documents(&odd).is_ok());
        assert_eq!(with_endpoints(&odd, &["https://10.0.0.2:2379".to_owned()]), None);
    }

    #[test]
    fn members_change_and_all_else_stays() {
        let of = |endpoints: &[&str]| {
            with_endpoints(CONFIGURATION, &endpoints.iter().map(|e| (*e).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(of(&["https://10.0.0.1:2379"]), Some(None));
        let changed = of(&["https://10.0.0.2:2379", "https://10.0.0.3:2379"]).unwrap().unwrap();
        let read = |text: &str| payload::yaml::documents(text).unwrap().remove(0).as_mapping_get("etcd").is_some();
        assert!(read(&changed));
        assert_eq!(
            with_endpoints(&changed, &["https://10.0.0.1:2379".to_owned()]).unwrap().map(|back| {
                payload::yaml::documents(&back).unwrap() == payload::yaml::documents(CONFIGURATION).unwrap()
            }),
            Some(true),
            "{changed}"
        );
        assert_eq!(with_endpoints("etcd:\n  local: {}\n", &[]), None);
        assert_eq!(with_endpoints("{", &[]), None);
    }
}
