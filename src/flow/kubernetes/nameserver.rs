//! Hosts that know no nameserver, as on many sites without internet: a kubelet that finds no `/etc/resolv.conf` starts no pod at
//! all, and CoreDNS ends where it is to forward names and finds nobody to forward them to.

use serde_json::json;

use crate::host::Command;
use crate::plan::{Check, Cx, Step, StepError, Work};
use crate::resource::{FileSpec, Files};

use super::component::{Component, On};
use super::drain::Access;
use super::endpoint;

/// The kubelet's own `resolv.conf`.
pub(super) const RESOLV_CONF: &str = "/etc/kubernetes/resolv.conf";

/// The file, before the kubelet is started with it.
pub(super) struct NoNameserver;

impl Component for NoNameserver {
    fn is_on(&self, on: &On<'_>) -> bool {
        on.facts.without_nameserver && on.runs_pods()
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let text = "# Written by sunshine-installer for the kubelet: this host knew no nameserver.\n";
        let files = Files(vec![FileSpec::text(RESOLV_CONF, text.to_owned())]);
        vec![on.step("kubelet.resolv-conf", "give the kubelet a resolv.conf without a nameserver", files)]
    }
}

/// kubeadm's CoreDNS, on the host that begins the cluster, before there is a network for its pods.
pub(super) struct ForwardsNothing;

impl Component for ForwardsNothing {
    fn is_on(&self, on: &On<'_>) -> bool {
        on.facts.without_nameserver && on.begins() && on.control_plane().is_some()
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let Some(machine) = on.control_plane() else { return Vec::new() };
        let access = Access { pki: on.keys.pki().clone(), cluster: on.cluster.clone(), force: false };
        let title = "let CoreDNS answer for the cluster alone: there is no nameserver";
        vec![on.step("dns.forward", title, Corefile { access, server: endpoint::of_machine(machine) })]
    }
}

/// CoreDNS' configuration forwards no names.
#[derive(Debug)]
struct Corefile {
    access: Access,
    /// The host's own API server.
    server: String,
}

/// CoreDNS' configuration as it is in the cluster; `$1` server.
pub(super) const LOOK: &str = r#"export HOME=/run/sunshine-installer
kubectl --kubeconfig /root/.kube/config --server "$1" --request-timeout=10s -n kube-system \
  get configmap coredns -o 'jsonpath={.data.Corefile}' 2>/dev/null"#;
pub(super) const COREDNS: &str = "/api/v1/namespaces/kube-system/configmaps/coredns";

impl Corefile {
    /// The configuration as it is to be; None where it is that already, or is the site's own.
    fn wanted(&self, cx: &Cx<'_>) -> Result<Option<String>, StepError> {
        let map = self.access.api(cx)?.get(COREDNS)?;
        let is = map["data"]["Corefile"].as_str().unwrap_or_default();
        Ok(Some(without_forward(is)).filter(|wanted| wanted != is))
    }
}

impl Work for Corefile {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let change = || Check::Needed(vec!["leave `forward . /etc/resolv.conf` out of the Corefile".to_owned()]);
        // Before there is a cluster only the host can be asked.
        let look = Command::script(LOOK).arg(&self.server).label("kubectl get configmap coredns");
        let said = cx.host()?.run(&look)?;
        let is = said.text();
        Ok(if said.ok() && without_forward(&is) == is { Check::Satisfied } else { change() })
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        if let Some(corefile) = self.wanted(cx)? {
            self.access.api(cx)?.patch(COREDNS, &json!({"data": {"Corefile": corefile}}))?;
        }
        Ok(())
    }
}

/// A text with a Corefile in it, without the plugin that forwards to the nameservers of `/etc/resolv.conf`.
pub(super) fn without_forward(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    // How many braces of the plugin are open.
    let mut open = 0_usize;
    for line in text.split_inclusive('\n') {
        let words = line.trim();
        let begins = open == 0 && words.starts_with("forward . /etc/resolv.conf");
        if begins || open > 0 {
            open = (open + words.matches('{').count()).saturating_sub(words.matches('}').count());
        } else {
            kept.push_str(line);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_forwards_to_the_host_s_nameservers_goes() {
        let whole = ".:53 {\n    errors\n    forward . /etc/resolv.conf {\n       max_concurrent 1000\n    }\n    cache 30 {\n       disable x\n    }\n}\n";
        let wanted = ".:53 {\n    errors\n    cache 30 {\n       disable x\n    }\n}\n";
        assert_eq!(without_forward(whole), wanted);
        assert_eq!(without_forward(wanted), wanted);
        assert_eq!(without_forward("  forward . /etc/resolv.conf\n  loop\n"), "  loop\n");
        let own = "forward . 10.0.0.53\n";
        assert_eq!(without_forward(own), own);
    }
}
