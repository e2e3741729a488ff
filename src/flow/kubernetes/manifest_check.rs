//! What manifests of the bundle say of the cluster that they are for: the images that they need, and the network of pods that
//! a network's manifest names. Held against the bundle and the request before any host is touched.

use std::collections::BTreeSet;

use payload::{Reference, images_named};
use saphyr::Yaml;

use crate::flow::error::FlowError;
use crate::flow::networks::{Family, Networks};
use crate::flow::problem::Problem;

use super::manifest::Manifest;
use super::{calico_manifest, flannel_manifest};

/// How many names a message lists.
const SHOWN: usize = 10;

/// Images that manifests name and that are not among `there`, the full names of those that nodes are to have. An error, but a
/// warning where nodes may get them elsewhere: from a registry, or in a cluster that stands and may have them.
pub(super) fn check_images(
    manifests: &[Manifest],
    there: &BTreeSet<String>,
    elsewhere: bool,
) -> Result<Option<Problem>, FlowError> {
    let mut missing = Vec::new();
    for manifest in manifests {
        let named = images_named(&String::from_utf8_lossy(manifest.content())).unwrap_or_default();
        // What is no name may be a template, or names its content by a digest.
        for name in named.iter().filter_map(|name| name.parse::<Reference>().ok()).map(|name| name.to_string()) {
            if !there.contains(&name) && !missing.iter().any(|(known, _)| *known == name) {
                missing.push((name, manifest.name.as_str()));
            }
        }
    }
    if missing.is_empty() {
        return Ok(None);
    }
    let mut list: Vec<String> = missing.iter().take(SHOWN).map(|(name, by)| format!("{name} ({by})")).collect();
    if missing.len() > SHOWN {
        list.push(format!("and {} more", missing.len() - SHOWN));
    }
    let text = format!("the bundle has no image {}", list.join(", "));
    if elsewhere {
        let text = format!("{text}: nodes must have it already, or get it from their registries");
        return Ok(Some(Problem::warning(None, text, None)));
    }
    Err(FlowError::request_with_help(
        text,
        "put it into the bundle (`bundle repack --add FILE`, or the bundler's --image FILE), or name the site's registry that has it: \
         siteRegistry in cluster.yaml, --registry-mirror, --insecure-registry",
    ))
}

/// What the network's manifest says of the pods' network, where that is another than the cluster's.
pub(super) fn other_network(network: &Manifest, pods: Networks) -> Option<String> {
    let text = String::from_utf8_lossy(network.content());
    let found = networks(&text);
    let name = &network.name;
    pods.iter().find_map(|own| {
        let family = Family::of(own.addr());
        let mut of_family = found.iter().filter(|(_, cidr)| cidr.contains(':') == (family == Family::V6)).peekable();
        match of_family.peek() {
            Some((place, cidr)) => {
                let text = format!("{name}: {place} is {cidr}, and the cluster's pod network is {own}");
                (!of_family.any(|(_, cidr)| cidr.parse() == Ok(own))).then_some(text)
            }
            // flannel's are filled in where it is applied, and of Calico's that names none that of IPv4.
            None if flannel_manifest::is_flannel(&text) => None,
            None if found.is_empty() && !(family == Family::V6 && calico_manifest::makes_pools(&text)) => None,
            None => Some(format!("{name} names no {family} network of pods, and the cluster's is {own}")),
        }
    })
}

/// The same as a refusal of a cluster that is to be made.
pub(super) fn check_network(network: &Manifest, pods: Networks) -> Result<(), FlowError> {
    match other_network(network, pods) {
        Some(text) => Err(FlowError::request_with_help(
            text,
            "give the cluster that network with --pod-cidr, or write the cluster's into the manifest and repack the bundle",
        )),
        None => Ok(()),
    }
}

/// The networks of pods in a network's manifest, each with where it stands: flannel's `net-conf.json`, Calico's
/// `CALICO_IPV4POOL_CIDR`, `CALICO_IPV6POOL_CIDR` and pools, Cilium's `cluster-pool-ipv4-cidr` and `-ipv6-`, Weave's
/// `IPALLOC_RANGE`, as their projects document them.
pub(super) fn networks(text: &str) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    for document in payload::yaml::documents(text).unwrap_or_default() {
        let pools = matches!(field(&document, "kind"), Some("IPPool" | "Installation"));
        collect(&document, pools, &mut found);
    }
    found
}

fn field<'a>(node: &'a Yaml<'_>, name: &str) -> Option<&'a str> {
    node.as_mapping_get(name)?.as_str()
}

/// `pools`: a `cidr` here is one of a pool of addresses.
fn collect(node: &Yaml<'_>, pools: bool, found: &mut Vec<(&'static str, String)>) {
    if let Some(list) = node.as_sequence() {
        list.iter().for_each(|value| collect(value, pools, found));
    }
    let variable = match field(node, "name") {
        Some("CALICO_IPV4POOL_CIDR") => Some("CALICO_IPV4POOL_CIDR"),
        Some("CALICO_IPV6POOL_CIDR") => Some("CALICO_IPV6POOL_CIDR"),
        Some("IPALLOC_RANGE") => Some("IPALLOC_RANGE"),
        _ => None,
    };
    found.extend(variable.and_then(|name| Some((name, field(node, "value")?.to_owned()))));
    // Cilium takes its pool only where it does not take the networks that Kubernetes gives the nodes.
    for key in ["cluster-pool-ipv4-cidr", "cluster-pool-ipv6-cidr"] {
        let pool = field(node, key).filter(|_| field(node, "ipam").is_none_or(|i| i == "cluster-pool"));
        found.extend(pool.iter().flat_map(|p| p.split_whitespace()).map(|c| (key, c.to_owned())));
    }
    for (key, value) in node.as_mapping().into_iter().flatten() {
        match (key.as_str(), value.as_str()) {
            (Some("net-conf.json"), Some(json)) => {
                let json: serde_json::Value = serde_json::from_str(json).unwrap_or_default();
                found.extend(json["Network"].as_str().map(|cidr| ("Network in net-conf.json", cidr.to_owned())));
                let six = json["IPv6Network"].as_str().map(|cidr| ("IPv6Network in net-conf.json", cidr.to_owned()));
                found.extend(six);
            }
            (Some("cidr"), Some(cidr)) if pools => found.push(("cidr of a pool", cidr.to_owned())),
            _ => collect(value, pools, found),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLANNEL: &str =
        "kind: ConfigMap\ndata:\n  net-conf.json: |\n    {\"Network\": \"10.244.0.0/16\", \"Backend\": {}}\n";

    fn said(text: &str, pod_cidr: &str) -> Option<String> {
        other_network(&Manifest::new("network.yaml", text.to_owned()), Networks::parse(pod_cidr).unwrap())
    }

    #[test]
    fn a_network_of_each_family_is_compared_and_flannel_s_is_filled_in() {
        let both = "10.244.0.0/16,fd00:10:244::/56";
        assert_eq!((said(FLANNEL, both), said(FLANNEL, "fd00:10:244::/56")), (None, None));
        let six = FLANNEL.replace("\"Backend\"", "\"IPv6Network\": \"fd00:9::/56\", \"Backend\"");
        let wanted = "network.yaml: IPv6Network in net-conf.json is fd00:9::/56, and the cluster's pod network is fd00:10:244::/56";
        assert_eq!(said(&six, both).unwrap(), wanted);
        assert_eq!(said(&six, "10.244.0.0/16"), None, "it is not used");
        let upstream =
            "kind: DaemonSet\nspec:\n  name: calico-node\n  env:\n  - {name: CALICO_IPV4POOL_VXLAN, value: Always}\n";
        assert!(said(upstream, both).unwrap().contains("names no IPv6 network of pods"));
        assert_eq!(said(upstream, "10.50.0.0/16"), None);
        let calico = "kind: DaemonSet\nspec:\n  env:\n  - name: CALICO_IPV4POOL_CIDR\n    value: \"10.244.0.0/16\"\n";
        let none = said(calico, both).unwrap();
        assert_eq!(none, "network.yaml names no IPv6 network of pods, and the cluster's is fd00:10:244::/56");
        let calico = calico.to_owned() + "  - name: CALICO_IPV6POOL_CIDR\n    value: \"fd00:10:244::/56\"\n";
        assert_eq!(said(&calico, both), None);
    }

    #[test]
    fn the_network_of_each_project_s_manifest_is_compared() {
        let calico = "kind: DaemonSet\nspec:\n  env:\n  - name: CALICO_IPV4POOL_CIDR\n    value: \"10.244.0.0/16\"\n";
        let pool = "kind: Other\nspec: {cidr: 10.1.0.0/16}\n---\nkind: IPPool\nspec: {cidr: 10.244.0.0/16}\n---\nkind: IPPool\n\
            spec: {cidr: 'fd00::/48'}\n";
        let operator = "kind: Installation\nspec: {calicoNetwork: {ipPools: [{cidr: 10.244.0.0/16}]}}\n";
        let cilium = "kind: ConfigMap\ndata:\n  ipam: \"cluster-pool\"\n  cluster-pool-ipv4-cidr: \"10.244.0.0/16 10.7.0.0/16\"\n";
        let weave = "kind: List\nitems:\n- env: [{name: IPALLOC_RANGE, value: 10.244.0.0/16}]\n";
        for (text, place) in [
            (FLANNEL, "Network in net-conf.json"),
            (calico, "CALICO_IPV4POOL_CIDR"),
            (pool, "cidr of a pool"),
            (operator, "cidr of a pool"),
            (cilium, "cluster-pool-ipv4-cidr"),
            (weave, "IPALLOC_RANGE"),
        ] {
            assert_eq!(said(text, "10.244.0.0/16"), None, "{text}");
            let problem = said(text, "10.50.0.0/16").unwrap();
            let wanted =
                format!("network.yaml: {place} is 10.244.0.0/16, and the cluster's pod network is 10.50.0.0/16");
            assert_eq!(problem, wanted);
        }
        assert_eq!(
            said(&cilium.replace("\"cluster-pool\"", "kubernetes"), "10.50.0.0/16"),
            None,
            "it takes the nodes'"
        );
        for nothing in ["kind: DaemonSet\n", "{{ template }}: [", "data: {net-conf.json: nonsense}\n"] {
            assert_eq!(said(nothing, "10.50.0.0/16"), None);
        }
    }

    #[test]
    fn images_that_nobody_has_are_named() {
        let text = "spec:\n- {image: \"busybox:1\"}\n- {image: quay.io/a/b:2}\n- {image: \"busybox:1\"}\n- {image: '{{ x }}'}\n";
        let manifests = [Manifest::new("calico.yaml", text.to_owned())];
        let there: BTreeSet<String> = ["docker.io/library/busybox:1".to_owned()].into();
        let refused = check_images(&manifests, &there, false).unwrap_err().to_string();
        assert_eq!(refused, "the bundle has no image quay.io/a/b:2 (calico.yaml)");
        let warned = check_images(&manifests, &there, true).unwrap().unwrap();
        assert!(warned.level == crate::plan::Level::Warning && warned.text.starts_with(&refused), "{warned:?}");
        let all: BTreeSet<String> = there.into_iter().chain(["quay.io/a/b:2".to_owned()]).collect();
        assert_eq!(check_images(&manifests, &all, false).unwrap(), None);
        let many: String = (0..12).map(|n| format!("- {{image: \"quay.io/x:{n}\"}}\n")).collect();
        let refused = check_images(&[Manifest::new("m", many)], &all, false).unwrap_err().to_string();
        assert!(refused.ends_with("quay.io/x:9 (m), and 2 more"), "{refused}");
    }
}
