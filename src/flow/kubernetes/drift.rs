//! Programs of another version than the rest of the cluster, as after an update of a host that was not this product's.

use std::collections::BTreeMap;

use serde_json::Value;

use super::state::Cluster;

/// What differs on each node, by its name; nodes where nothing does are left out.
///
/// The cluster's own version is known. Of runtimes it is not, and may differ between platforms: nodes of the same system image are
/// compared, and those are named whose runtime is not that of most of them.
pub(super) fn of_nodes(nodes: &[Value], cluster: &Cluster) -> BTreeMap<String, Vec<String>> {
    let info = |node: &Value, field: &str| node["status"]["nodeInfo"][field].as_str().unwrap_or_default().to_owned();
    let alike = |node: &Value| (info(node, "osImage"), info(node, "architecture"));
    let mut runtimes: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for node in nodes {
        runtimes.entry(alike(node)).or_default().push(info(node, "containerRuntimeVersion"));
    }
    let mut all = BTreeMap::new();
    for node in nodes {
        let mut found: Vec<String> =
            of_program("its kubelet", &info(node, "kubeletVersion"), cluster).into_iter().collect();
        let own = info(node, "containerRuntimeVersion");
        let most = runtimes.get(&alike(node)).and_then(|all| most(all));
        found.extend(
            most.filter(|most| *most != own)
                .map(|most| format!("its runtime is {}, that of most nodes {}", plain(&own), plain(most))),
        );
        if let Some(name) = node["metadata"]["name"].as_str().filter(|_| !found.is_empty()) {
            all.insert(name.to_owned(), found);
        }
    }
    all
}

/// A program of Kubernetes that says it is of this version (`v1.36.3`).
pub(super) fn of_program(what: &str, says: &str, cluster: &Cluster) -> Option<String> {
    let is = says.trim_start_matches('v');
    // What a distribution puts behind a version (1.29.1-3) is no other version.
    let same =
        is == cluster.version || is.strip_prefix(&cluster.version).is_some_and(|rest| rest.starts_with(['-', '+']));
    (!is.is_empty() && !cluster.version.is_empty() && !same)
        .then(|| format!("{what} is {is}, the cluster {}", cluster.version))
}

/// What more than half of them are; nothing where there is no such one.
pub(super) fn most(all: &[String]) -> Option<&str> {
    all.iter().find(|one| all.iter().filter(|other| other == one).count() * 2 > all.len()).map(String::as_str)
}

/// `containerd://2.4.1` as an operator reads it.
fn plain(runtime: &str) -> String {
    runtime.replacen("://", " ", 1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cluster(version: &str) -> Cluster {
        serde_json::from_value(json!({
            "settings": {}, "network": {"manifest": "flannel"}, "minor": 36, "version": version, "distribution": "kubeadm",
            "etcd": {"endpoints": [], "tls": true}, "control_plane": {}, "workers": {},
        }))
        .unwrap()
    }

    fn node(name: &str, os: &str, kubelet: &str, runtime: &str) -> Value {
        json!({"metadata": {"name": name}, "status": {"nodeInfo": {
            "osImage": os, "architecture": "amd64", "kubeletVersion": kubelet, "containerRuntimeVersion": runtime,
        }}})
    }

    #[test]
    fn hosts_that_were_updated_are_named() {
        let (nine, ten) = ("Rocky Linux 9.4", "Rocky Linux 10.0");
        let nodes = [
            node("a", nine, "v1.36.3", "containerd://2.4.0"),
            node("b", nine, "v1.36.4", "containerd://2.4.1"),
            node("c", nine, "v1.36.3", "containerd://2.4.0"),
            node("d", ten, "v1.36.3-2", "containerd://2.5.0"),
        ];
        let found = of_nodes(&nodes, &cluster("1.36.3"));
        let said = [
            "its kubelet is 1.36.4, the cluster 1.36.3",
            "its runtime is containerd 2.4.1, that of most nodes containerd 2.4.0",
        ];
        assert_eq!(found, BTreeMap::from([("b".to_owned(), said.map(str::to_owned).to_vec())]));
    }

    #[test]
    fn a_cluster_that_does_not_know_its_version_and_two_that_differ_prove_nothing() {
        let nodes = [node("a", "x", "v1.20.2", "docker://1"), node("b", "x", "v1.20.3", "docker://2")];
        assert!(of_nodes(&nodes, &cluster("")).is_empty());
    }
}
