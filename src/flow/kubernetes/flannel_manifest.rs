//! flannel's manifest as the cluster needs it: pods' networks of IPv6 in its configuration, and each node's own address instead of
//! the interface of the default route (flannel documentation, "configuration"; `pkg/ipmatch` has how it looks for an interface).

use saphyr::Yaml;
use serde_json::Value;

use crate::flow::networks::{Family, Networks};

use super::fitted::{NODE_ADDRESS, add_variables, containers, from_node, string, variable, variables};

/// Whether a manifest is flannel's.
pub(super) fn is_flannel(text: &str) -> bool {
    text.contains("net-conf.json")
}

/// One document of the manifest with that; None where nothing of it is flannel's, or all of it is there.
pub(super) fn fit(document: &mut Yaml<'_>, pods: Networks) -> Option<()> {
    match document.as_mapping_get("kind").and_then(Yaml::as_str) {
        Some("ConfigMap") => configure(document, pods),
        Some("DaemonSet") => choose_interface(document, pods),
        _ => None,
    }
}

/// The families that it connects pods in, and the network of IPv6. That of IPv4 has been held against the cluster's.
fn configure(map: &mut Yaml<'_>, pods: Networks) -> Option<()> {
    let six = pods.of(Family::V6)?;
    let field = map.as_mapping_get_mut("data")?.as_mapping_get_mut("net-conf.json")?;
    let mut config: Value = serde_json::from_str(field.as_str()?).ok().filter(Value::is_object)?;
    let before = config.clone();
    config["EnableIPv4"] = pods.has(Family::V4).into();
    config["EnableIPv6"] = true.into();
    config["IPv6Network"] = six.to_string().into();
    if config == before {
        return None;
    }
    *field = string(config.to_string());
    Some(())
}

/// flanneld reads options from its environment too.
const BY_ADDRESS: &str = "FLANNELD_IFACE";
const BY_PATTERN: &str = "FLANNELD_IFACE_REGEX";

/// By the node's address: the kubelet's first one, which the site may have said. Where the manifest says something itself, that counts.
fn choose_interface(set: &mut Yaml<'_>, pods: Networks) -> Option<()> {
    let mut containers = containers(set)?.iter_mut();
    let container = containers.find(|container| words(container).any(|word| word.ends_with("/flanneld")))?;
    let says = words(container).any(|word| word.trim_start_matches('-').starts_with("iface"));
    if says || variables(container).any(|(name, _)| name.starts_with(BY_ADDRESS)) {
        return None;
    }
    let added = if pods.secondary.is_none() {
        vec![from_node(BY_ADDRESS)]
    } else {
        // Of two families it wants an interface with an address of each that fits: the node's own, and any of the other family.
        let other = match pods.primary_family() {
            Family::V4 => "^([23]|f[cd])[0-9a-f]*:",
            Family::V6 => "^[0-9.]+$",
        };
        let pattern = format!("^$({NODE_ADDRESS})$|{other}");
        vec![from_node(NODE_ADDRESS), variable(BY_PATTERN, pattern)]
    };
    add_variables(container, added)
}

/// The command of a container and its arguments.
fn words<'a>(container: &'a Yaml<'_>) -> impl Iterator<Item = &'a str> {
    let lists = ["command", "args"].into_iter().filter_map(|key| container.as_mapping_get(key)?.as_sequence());
    lists.flatten().filter_map(Yaml::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::kubernetes::fitted::fitted;

    const MANIFEST: &str = "\
kind: Namespace
metadata: {name: kube-flannel} # kept
---
kind: ConfigMap
data:
  cni-conf.json: |
    {\"name\": \"cbr0\"}
  net-conf.json: |
    {\"Network\": \"10.244.0.0/16\", \"Backend\": {\"Type\": \"vxlan\"}}
---
kind: DaemonSet
spec:
  template:
    spec:
      initContainers:
      - {name: install, command: [cp], args: [-f, /flannel, /opt/cni/bin/flannel]}
      containers:
      - name: flannel
        command: [/opt/bin/flanneld]
        args: [--ip-masq, --kube-subnet-mgr]
        env:
        - {name: EVENT_QUEUE_DEPTH, value: \"5000\"}
";

    fn with(pods: &str) -> String {
        fitted(MANIFEST, Networks::parse(pods).unwrap()).unwrap()
    }

    #[test]
    fn a_configuration_that_is_no_object_is_left_alone() {
        let manifest = "kind: ConfigMap\nmetadata: {name: flanneld}\ndata:\n  net-conf.json: \"5\"\n";
        assert_eq!(fitted(manifest, Networks::parse("fd00:10:244::/56").unwrap()), None);
    }

    #[test]
    fn the_manifest_gets_networks_and_the_node_s_address() {
        insta::assert_snapshot!("flannel_dual", with("10.244.0.0/16,fd00:10:244::/56"));
        let single = with("10.244.0.0/16");
        assert!(single.contains("FLANNELD_IFACE\n") && !single.contains("EnableIPv6"), "{single}");
        assert!(
            single.contains("metadata: {name: kube-flannel} # kept\n---\nkind: ConfigMap\ndata:\n  cni-conf.json: |")
        );
        let six = with("fd00:10:244::/56");
        assert!(six.contains(r#"\"EnableIPv4\":false"#) && six.contains("FLANNELD_IFACE\n"), "{six}");
        assert!(with("fd00:10:244::/56,10.244.0.0/16").contains(r#"^$(SUNSHINE_NODE_ADDRESS)$|^[0-9.]+$"#));
    }

    #[test]
    fn what_the_manifest_says_itself_stays_and_other_networks_are_left_alone() {
        let pods = Networks::parse("10.244.0.0/16").unwrap();
        for own in ["--iface=eth1", "-iface=eth1", "--iface-regex=^eth"] {
            assert_eq!(fitted(&MANIFEST.replace("--ip-masq", own), pods), None, "{own}");
        }
        assert_eq!(fitted(&MANIFEST.replace("EVENT_QUEUE_DEPTH", "FLANNELD_IFACE"), pods), None);
        assert_eq!(fitted("kind: DaemonSet\nspec: {name: calico}\n", pods), None);
        assert_eq!(fitted("{{ flanneld", pods), None);
        let both = Networks::parse("10.244.0.0/16,fd00:10:244::/56").unwrap();
        let once = fitted(MANIFEST, both).unwrap();
        assert_eq!(fitted(&once, both), None, "nothing is left to add");
    }
}
