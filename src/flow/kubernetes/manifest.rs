//! Manifests of the bundle, applied: the network that `-cni NAME` names, and every addon.

use payload::{Bundle, Member, MemberKind};

use crate::flow::error::FlowError;
use crate::flow::request::Network;
use crate::flow::retry::{self, Patience};
use crate::host::Command;
use crate::plan::{Check, Cx, Step, StepError, Work};

use super::component::{Component, On};
use super::corefile::{self, StubDomains};
use super::{endpoint, nameserver};

/// A manifest as it lies in the bundle.
#[derive(Debug, Clone)]
pub(super) struct Manifest {
    /// By which it is asked for, such as `calico`.
    pub name: String,
    content: Vec<u8>,
}

impl Manifest {
    #[cfg(test)]
    pub(super) fn new(name: &str, content: String) -> Self {
        Self { name: name.to_owned(), content: content.into_bytes() }
    }

    /// For a cluster whose DNS has no nameserver to forward to.
    fn without_forward(&self) -> Self {
        match std::str::from_utf8(&self.content) {
            Ok(text) => Self { name: self.name.clone(), content: nameserver::without_forward(text).into_bytes() },
            Err(_) => self.clone(),
        }
    }

    /// For a cluster that forwards domains of the site. One whose Corefile cannot have them has been refused.
    fn with_stub_domains(self, domains: &StubDomains) -> Self {
        let text = std::str::from_utf8(&self.content).ok().and_then(|text| corefile::in_manifest(text, domains).ok());
        let content = text.map_or_else(|| self.content.clone(), String::into_bytes);
        Self { content, ..self }
    }

    pub(super) fn content(&self) -> &[u8] {
        &self.content
    }
}

/// Whether a member is the network manifest of this name: `calico`, in whatever folder and with whatever ending.
pub(super) fn is_network(member: &Member, name: &str) -> bool {
    let file = member.file_name();
    member.kind == MemberKind::NetworkManifest
        && (file == name || file.rsplit_once('.').is_some_and(|(n, _)| n == name))
}

/// The manifests to apply, the network's first.
///
/// # Errors
/// When a member is damaged.
pub(super) fn in_bundle(bundle: Option<&Bundle>, network: &Network) -> Result<Vec<Manifest>, FlowError> {
    let Some(bundle) = bundle else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    let members = &bundle.manifest().members;
    if let Network::Manifest(name) = network {
        found.extend(members.iter().filter(|m| is_network(m, name)));
    }
    found.extend(members.iter().filter(|m| m.kind == MemberKind::Addon));
    let read = |member: &&Member| -> Result<Manifest, FlowError> {
        Ok(Manifest { name: member.file_name().to_owned(), content: bundle.bytes(member)?.to_vec() })
    };
    found.iter().map(read).collect()
}

/// The component: the bundle's manifests, applied by the control plane node that publishes.
pub(super) struct Manifests;

impl Component for Manifests {
    fn is_on(&self, on: &On<'_>) -> bool {
        on.publishes && on.control_plane().is_some()
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let server = on.control_plane().map_or_else(String::new, endpoint::of_machine);
        let apply = |manifest: &Manifest| {
            let manifest = if on.facts.without_nameserver { manifest.without_forward() } else { manifest.clone() };
            let manifest = manifest.with_stub_domains(&on.cluster.settings.stub_domains);
            let title = format!("apply {} of the bundle", manifest.name);
            let apply = Apply { manifest, server: server.clone() };
            let step = on.step(&format!("apply.{}", apply.manifest.name), title, apply).weight(2);
            step.after(on.waits.api.iter().cloned())
        };
        on.supply.manifests.iter().map(apply).collect()
    }
}

const DIFFERS: &str = r#"export HOME=/run/sunshine-installer
kubectl --kubeconfig /root/.kube/config --server "$1" --request-timeout=30s diff -f - >/dev/null 2>&1"#;
const APPLY: &str = r#"export HOME=/run/sunshine-installer
kubectl --kubeconfig /root/.kube/config --server "$1" --request-timeout=60s apply -f -"#;

/// What a manifest says is in the cluster; by a control plane node's own API server.
#[derive(Debug)]
struct Apply {
    manifest: Manifest,
    server: String,
}

impl Work for Apply {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let diff = Command::script(DIFFERS).arg(&self.server).stdin(self.manifest.content.clone());
        let same = cx.host()?.run(&diff.label("kubectl diff"))?.ok();
        Ok(if same { Check::Satisfied } else { Check::Needed(vec![format!("apply {}", self.manifest.name)]) })
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let apply = Command::script(APPLY).arg(&self.server).stdin(self.manifest.content.clone());
        retry::run_ok(cx.host()?, &apply.label("kubectl apply"), Patience::of_step(cx))?;
        Ok(())
    }

    // kubectl's word is taken: what controllers then add to the objects is no difference of ours.
    fn verify(&self, _: &Cx<'_>) -> Result<(), StepError> {
        Ok(())
    }
}
