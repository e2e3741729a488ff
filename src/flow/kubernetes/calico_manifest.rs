//! Calico's manifest as the cluster needs it (Calico documentation, "Configuring calico/node"): each node's own address instead of
//! that of the first interface that it finds, and the cluster's network of pods, which is found only where kubeadm made the cluster.

use saphyr::Yaml;

use crate::flow::networks::{Family, Networks};

use super::fitted::{NODE_ADDRESS, add_variables, containers, from_node, variable, variables};

const CONTAINER: &str = "calico-node";
/// How a node's address is looked for, where it is to be.
const ADDRESS: &str = "IP";
const METHOD: &str = "IP_AUTODETECTION_METHOD";
const POOL: &str = "CALICO_IPV4POOL_CIDR";
const NO_POOLS: &str = "NO_DEFAULT_POOLS";

/// Whether a manifest, or one document of it, may be of the pods that connect the others.
pub(super) fn is_calico(text: &str) -> bool {
    text.contains(CONTAINER)
}

/// Whether its pods make the pools of addresses that they are told of, unlike those of its operator.
pub(super) fn makes_pools(text: &str) -> bool {
    is_calico(text) && text.contains("CALICO_IPV4POOL_")
}

/// One document of the manifest with that; None where nothing of it is Calico's, or all of it is there. `names_pods`: the manifest
/// says what the pods' network is.
pub(super) fn fit(document: &mut Yaml<'_>, pods: Networks, names_pods: bool) -> Option<()> {
    if document.as_mapping_get("kind").and_then(Yaml::as_str) != Some("DaemonSet") {
        return None;
    }
    let mut containers = containers(document)?.iter_mut();
    let is_node =
        |container: &&mut Yaml<'_>| container.as_mapping_get("name").and_then(Yaml::as_str) == Some(CONTAINER);
    let container = containers.find(is_node)?;
    let has = |wanted: &str| variables(container).any(|(name, _)| name == wanted);
    let is_looked_for = variables(container).any(|(name, value)| name == ADDRESS && value == Some("autodetect"));
    let mut added = Vec::new();
    if is_looked_for && !has(METHOD) && pods.primary_family() == Family::V4 {
        // What a host sends to its own address comes from that.
        added.extend([from_node(NODE_ADDRESS), variable(METHOD, format!("can-reach=$({NODE_ADDRESS})"))]);
    }
    if !names_pods && !has(POOL) && !has(NO_POOLS) {
        added.extend(pods.of(Family::V4).map(|network| variable(POOL, network.to_string())));
    }
    if added.is_empty() {
        return None;
    }
    add_variables(container, added)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::kubernetes::fitted::fitted;

    const MANIFEST: &str = "\
kind: ServiceAccount
metadata: {name: calico-node} # kept
---
kind: DaemonSet
spec:
  template:
    spec:
      initContainers:
      - {name: install-cni, env: [{name: CNI_CONF_NAME, value: 10-calico.conflist}]}
      containers:
      - name: calico-node
        env:
        - {name: IP, value: autodetect}
        # - {name: CALICO_IPV4POOL_CIDR, value: 192.168.0.0/16}
";

    fn with(text: &str, pods: &str) -> Option<String> {
        fitted(text, Networks::parse(pods).unwrap())
    }

    #[test]
    fn the_manifest_gets_the_node_s_address_and_the_pods_network() {
        let made = with(MANIFEST, "10.50.0.0/16").unwrap();
        insta::assert_snapshot!("calico", made);
        assert_eq!(with(&made, "10.50.0.0/16"), None, "nothing is left to add");
    }

    #[test]
    fn what_the_manifest_says_itself_stays() {
        let pool = "---\nkind: IPPool\nspec: {cidr: 10.50.0.0/16}\n";
        let other = |old: &str, new: &str| with(&MANIFEST.replace(old, new), "10.50.0.0/16");
        for (added, more) in [
            (MANIFEST.replace("# - {name: CALICO", "- {name: CALICO"), ""),
            (MANIFEST.to_owned(), pool),
            (
                MANIFEST.replace(
                    "# - {name: CALICO_IPV4POOL_CIDR, value: 192.168.0.0/16}",
                    "- {name: NO_DEFAULT_POOLS, value: \"true\"}",
                ),
                "",
            ),
        ] {
            let made = with(&(added + more), "10.50.0.0/16").unwrap();
            assert!(made.contains("can-reach=") && !made.contains("value: 10.50.0.0/16"), "{made}");
        }
        for own in ["{name: IP, value: 10.0.0.1}", "{name: IP_AUTODETECTION_METHOD, value: interface=eth1}"] {
            let made = other("{name: IP, value: autodetect}", own).unwrap();
            assert!(!made.contains("can-reach=") && made.contains("10.50.0.0/16"), "{made}");
        }
        assert_eq!(other("name: calico-node\n", "name: calico-node-other\n"), None);
        assert_eq!(with("kind: DaemonSet\nspec: {name: calico-node}\n", "10.50.0.0/16"), None);
    }
}
