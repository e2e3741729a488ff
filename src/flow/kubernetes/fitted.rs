//! The manifest of a network as the cluster needs it: what the projects leave to whoever applies it, and what only the cluster
//! knows. What a manifest says itself counts.

use saphyr::{Mapping, Scalar, Yaml, YamlEmitter};

use crate::flow::networks::Networks;

use super::{calico_manifest, flannel_manifest, manifest_check};

/// A variable of ours, with the node's address: the kubelet's first one, which the site may have said.
pub(super) const NODE_ADDRESS: &str = "SUNSHINE_NODE_ADDRESS";

/// The manifest with that; None where nothing is to be added. Documents that stay are kept letter by letter.
pub(super) fn fitted(text: &str, pods: Networks) -> Option<String> {
    let names_pods = !manifest_check::networks(text).is_empty();
    let mut changed = false;
    let documents: Vec<String> = documents(text)
        .into_iter()
        .map(|document| match fitted_document(&document, pods, names_pods) {
            Some(fitted) => {
                changed = true;
                fitted
            }
            None => document,
        })
        .collect();
    changed.then(|| documents.join("---\n"))
}

fn documents(text: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    for line in text.lines() {
        match all.last_mut() {
            Some(document) if line.trim_end() != "---" => {
                document.push_str(line);
                document.push('\n');
            }
            _ => all.push(String::new()),
        }
    }
    all
}

/// `names_pods`: the manifest says what the pods' network is.
fn fitted_document(text: &str, pods: Networks, names_pods: bool) -> Option<String> {
    let is_flannel = flannel_manifest::is_flannel(text) || text.contains("flanneld");
    if !is_flannel && !calico_manifest::is_calico(text) {
        return None;
    }
    let mut read = payload::yaml::documents(text).ok()?;
    let document = read.first_mut()?;
    if is_flannel {
        flannel_manifest::fit(document, pods)?;
    } else {
        calico_manifest::fit(document, pods, names_pods)?;
    }
    let mut text = String::new();
    YamlEmitter::new(&mut text).dump(document).ok()?;
    Some(text.trim_start_matches("---\n").to_owned() + "\n")
}

/// The containers of a DaemonSet.
pub(super) fn containers<'a, 'y>(set: &'a mut Yaml<'y>) -> Option<&'a mut Vec<Yaml<'y>>> {
    let spec = set.as_mapping_get_mut("spec")?.as_mapping_get_mut("template")?.as_mapping_get_mut("spec")?;
    spec.as_mapping_get_mut("containers")?.as_sequence_mut()
}

/// The variables of a container, with the values that stand there themselves.
pub(super) fn variables<'a>(container: &'a Yaml<'_>) -> impl Iterator<Item = (&'a str, Option<&'a str>)> {
    let listed = container.as_mapping_get("env").and_then(Yaml::as_sequence);
    let named = |one: &'a Yaml<'_>| {
        let value = one.as_mapping_get("value").and_then(Yaml::as_str);
        Some((one.as_mapping_get("name")?.as_str()?, value))
    };
    listed.into_iter().flatten().filter_map(named)
}

pub(super) fn add_variables(container: &mut Yaml<'_>, added: Vec<Yaml<'static>>) -> Option<()> {
    let container = container.as_mapping_mut()?;
    let env = container.entry(string("env")).or_insert_with(|| Yaml::Sequence(Vec::new()));
    env.as_sequence_mut()?.extend(added);
    Some(())
}

/// A variable with this value.
pub(super) fn variable(name: &'static str, value: impl Into<String>) -> Yaml<'static> {
    entry(&[("name", string(name)), ("value", string(value))])
}

/// A variable with the address of the pod's node.
pub(super) fn from_node(name: &'static str) -> Yaml<'static> {
    let field = entry(&[("fieldPath", string("status.hostIP"))]);
    entry(&[("name", string(name)), ("valueFrom", entry(&[("fieldRef", field)]))])
}

pub(super) fn string(text: impl Into<String>) -> Yaml<'static> {
    Yaml::Value(Scalar::String(text.into().into()))
}

fn entry(fields: &[(&'static str, Yaml<'static>)]) -> Yaml<'static> {
    let fields: Mapping<'_> = fields.iter().map(|(name, value)| (string(*name), value.clone())).collect();
    Yaml::Mapping(fields)
}
