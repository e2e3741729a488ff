//! Manifests of the bundle, applied: the network that `-cni NAME` names, and every addon.

use payload::{Bundle, Member, MemberKind};
use sha2::{Digest, Sha256};

use crate::flow::error::FlowError;
use crate::flow::networks::Networks;
use crate::flow::request::Network;
use crate::flow::retry::{self, Patience};
use crate::host::{Command, HostError};
use crate::plan::{Check, Cx, Step, StepError, Work};

use super::component::{Component, On};
use super::corefile::{self, StubDomains};
use super::options::since;
use super::{applied, endpoint, fitted, flannel_builtin, nameserver, proxy_mode};

/// A manifest as it lies in the bundle.
#[derive(Debug, Clone)]
pub(super) struct Manifest {
    /// By which it is asked for, such as `calico`.
    pub name: String,
    content: Vec<u8>,
    is_builtin: bool,
}

impl Manifest {
    #[cfg(test)]
    pub(super) fn new(name: &str, content: String) -> Self {
        Self { name: name.to_owned(), content: content.into_bytes(), is_builtin: false }
    }

    /// flannel's built-in manifest.
    pub(super) fn of_flannel(images: &flannel_builtin::Images, pods: Networks) -> Self {
        let content = images.manifest(pods).into_bytes();
        Self { name: format!("{}.yaml", flannel_builtin::NAME), content, is_builtin: true }
    }

    /// For a cluster whose kube-proxy works like this: what is built in works the same way, the site's own says it itself.
    fn for_proxy_mode(self, mode: Option<&str>) -> Self {
        let text =
            std::str::from_utf8(&self.content).ok().filter(|_| self.is_builtin && mode == Some(proxy_mode::NFTABLES));
        let content = text.map_or_else(|| self.content.clone(), |text| flannel_builtin::by_nftables(text).into_bytes());
        Self { content, ..self }
    }

    /// For a cluster whose DNS has no nameserver to forward to.
    fn without_forward(&self) -> Self {
        match std::str::from_utf8(&self.content) {
            Ok(text) => Self { content: nameserver::without_forward(text).into_bytes(), ..self.clone() },
            Err(_) => self.clone(),
        }
    }

    /// For a cluster that forwards domains of the site. One whose Corefile cannot have them has been refused.
    fn with_stub_domains(self, domains: &StubDomains) -> Self {
        let text = std::str::from_utf8(&self.content).ok().and_then(|text| corefile::in_manifest(text, domains).ok());
        let content = text.map_or_else(|| self.content.clone(), String::into_bytes);
        Self { content, ..self }
    }

    /// For a cluster of these networks of pods.
    fn for_networks(self, pods: Networks) -> Self {
        let text = std::str::from_utf8(&self.content).ok().and_then(|text| fitted::fitted(text, pods));
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

/// Whether the bundle has a network manifest of this name.
pub(super) fn has_network(bundle: Option<&Bundle>, name: &str) -> bool {
    bundle.into_iter().flat_map(|bundle| &bundle.manifest().members).any(|member| is_network(member, name))
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
        let content = bundle.bytes(member)?.to_vec();
        Ok(Manifest { name: member.file_name().to_owned(), content, is_builtin: false })
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
            let manifest = manifest.for_proxy_mode(on.cluster.kube_proxy_mode.as_deref());
            let manifest = manifest.for_networks(on.cluster.settings.pods());
            let title = match manifest.is_builtin {
                true => "apply flannel's built-in manifest".to_owned(),
                false => format!("apply {} of the bundle", manifest.name),
            };
            let apply = Apply { manifest, server: server.clone(), diff: on.cluster.minor >= since::DIFF };
            on.step(&format!("apply.{}", apply.manifest.name), title, apply).weight(2)
        };
        on.supply.manifests.iter().map(apply).collect()
    }
}

const DIFFERS: &str = r#"export HOME=/run/sunshine-installer
kubectl --kubeconfig /root/.kube/config --server "$1" --request-timeout=30s diff -f - >/dev/null 2>&1"#;
const APPLY: &str = r#"export HOME=/run/sunshine-installer
kubectl --kubeconfig /root/.kube/config --server "$1" --request-timeout=60s apply -f -"#;

/// `$1` server; the manifest on standard input. Prints its objects as they are.
const OBJECTS: &str = r#"export HOME=/run/sunshine-installer
kubectl --kubeconfig /root/.kube/config --server "$1" --request-timeout=30s get -f - -o json"#;

/// `$1` server, `$2` name of the note, `$3` digest; the manifest on standard input. Whether all of its objects are there, and what was
/// applied last is this very manifest.
const NOTED: &str = r#"export HOME=/run/sunshine-installer
k() { kubectl --kubeconfig /root/.kube/config --server "$server" --request-timeout=30s "$@" 2>/dev/null; }
server=$1
k get -f - >/dev/null && [ "$(k -n kube-system get configmap "$2" -o 'jsonpath={.data.sha256}')" = "$3" ]"#;

/// What a manifest says is in the cluster; by a control plane node's own API server.
#[derive(Debug)]
struct Apply {
    manifest: Manifest,
    server: String,
    /// kubectl can compare it with what is there. Else a ConfigMap notes what was applied.
    diff: bool,
}

impl Apply {
    fn digest(&self) -> String {
        hex::encode(Sha256::digest(&self.manifest.content))
    }

    /// The note's name: any name of a manifest makes one of an object.
    fn note(&self) -> String {
        format!("sunshine-applied-{}", &hex::encode(Sha256::digest(&self.manifest.name))[..16])
    }

    fn looks_same(&self) -> Command {
        let manifest = self.manifest.content.clone();
        if self.diff {
            return Command::script(DIFFERS).arg(&self.server).stdin(manifest).label("kubectl diff");
        }
        let args = [self.server.clone(), self.note(), self.digest()];
        Command::script(NOTED).args(args).stdin(manifest).label("kubectl get, for a manifest")
    }

    /// Whether it is applied, as far as that can be told without `kubectl diff`.
    fn is_applied(&self, cx: &Cx<'_>) -> Result<bool, StepError> {
        let Ok(manifest) = std::str::from_utf8(&self.manifest.content) else { return Ok(false) };
        let get = Command::script(OBJECTS).arg(&self.server).stdin(self.manifest.content.clone());
        match cx.host()?.run(&get.label("kubectl get, for a manifest")) {
            Ok(said) => Ok(said.ok() && applied::is_applied(manifest, &said.text())),
            Err(HostError::TooMuch { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn applied(&self, objects: Vec<u8>) -> Command {
        Command::script(APPLY).arg(&self.server).stdin(objects).label("kubectl apply")
    }
}

impl Work for Apply {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let same = (self.diff && self.is_applied(cx)?) || cx.host()?.run(&self.looks_same())?.ok();
        Ok(if same { Check::Satisfied } else { Check::Needed(vec![format!("apply {}", self.manifest.name)]) })
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        retry::run_ok(cx.host()?, &self.applied(self.manifest.content.clone()), Patience::of_step(cx))?;
        if !self.diff {
            let note = serde_json::json!({
                "apiVersion": "v1", "kind": "ConfigMap", "data": {"sha256": self.digest()},
                "metadata": {"name": self.note(), "namespace": "kube-system"},
            });
            retry::run_ok(cx.host()?, &self.applied(note.to_string().into_bytes()), Patience::of_step(cx))?;
        }
        Ok(())
    }

    // kubectl's word is taken: what controllers then add to the objects is no difference of ours.
    fn verify(&self, _: &Cx<'_>) -> Result<(), StepError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn apply(content: &str) -> Apply {
        let manifest = Manifest::new("My_Addon.yaml", content.to_owned());
        Apply { manifest, server: "https://h:6443".into(), diff: false }
    }

    /// Without `kubectl diff`: the same manifest is not applied again while its objects are there.
    #[test]
    fn a_manifest_that_was_noted_is_looked_at_by_its_digest_and_its_objects() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let kubectl = "#!/bin/sh\ncase \"$*\" in\n*'get -f -') [ -e \"$0.objects\" ];;\n*'get configmap '*) cat \"$0.note\";;\nesac\n";
        std::fs::write(at("kubectl"), kubectl).unwrap();
        std::fs::set_permissions(at("kubectl"), std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
        let looks_same = |apply: &Apply| {
            let mut sh = std::process::Command::new("sh");
            sh.args(["-c", NOTED, "sh", &apply.server, &apply.note(), &apply.digest()]).env("PATH", &path);
            sh.stdin(std::process::Stdio::null()).status().unwrap().success()
        };
        let (noted, changed) = (apply("kind: A"), apply("kind: B"));
        assert!(!looks_same(&noted), "nothing is there");
        std::fs::write(at("kubectl.note"), noted.digest()).unwrap();
        assert!(!looks_same(&noted), "an object was deleted");
        std::fs::write(at("kubectl.objects"), "").unwrap();
        assert!(looks_same(&noted) && !looks_same(&changed));
        assert_eq!(noted.note(), changed.note());
        assert!(
            noted.note().chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'),
            "{}",
            noted.note()
        );
    }
}
