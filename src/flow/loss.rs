//! What an operation takes away for good, in words, for the question before it. Read from the request and from what this
//! machine keeps of the environment; no host is asked.

use std::collections::BTreeSet;

use camino::Utf8Path;

use crate::host::{HostId, Target};

use super::error::FlowError;
use super::registry::Registry;
use super::request::{ClusterRemove, ClusterReset, EtcdChange, EtcdCreate, Operation};
use super::state::Environment;
use super::{etcd, kubernetes};

/// Lines that name the environment, the hosts and what is lost; none when nothing is.
///
/// # Errors
/// When the state cannot be read.
pub fn loss(operation: &Operation, state_root: &Utf8Path, environment: &str) -> Result<Vec<String>, FlowError> {
    let mut lines = match operation {
        Operation::ClusterReset(reset) => of_reset(reset, state_root, environment)?,
        Operation::ClusterRemove(change) => of_remove(change),
        Operation::EtcdRemove(change) => of_members(change),
        Operation::EtcdCreate(create) => of_wiped(create),
        Operation::RegistryRemove(change) => vec![format!("  {}: {REGISTRY}", names(&change.hosts))],
        _ => Vec::new(),
    };
    if !lines.is_empty() {
        lines.insert(0, format!("Environment {environment}:"));
    }
    Ok(lines)
}

fn of_reset(reset: &ClusterReset, state_root: &Utf8Path, environment: &str) -> Result<Vec<String>, FlowError> {
    let mut hosts: BTreeSet<HostId> = reset.hosts.iter().map(Target::id).collect();
    let mut registry = BTreeSet::new();
    // Without an environment there is nothing to ask about: the run refuses it.
    if let Some(found) = Environment::find(state_root, environment).ok().filter(|_| hosts.is_empty()) {
        hosts.extend(etcd::Cluster::load(&found)?.into_iter().flat_map(|c| c.members.into_keys()));
        if let Some(cluster) = kubernetes::Cluster::load(&found)? {
            hosts.extend(cluster.control_plane.into_keys().chain(cluster.workers.into_keys()));
        }
        registry = Registry::hosts_of(&found)?;
        hosts.extend(registry.iter().cloned());
    }
    if hosts.is_empty() {
        return Ok(Vec::new());
    }
    let all: Vec<HostId> = hosts.iter().cloned().collect();
    let mut lines = vec![format!(
        "  {}: etcd and Kubernetes stop, all pods and their local data, images and packages that were installed are removed",
        all.join(", ")
    )];
    let wiped: Vec<String> =
        if reset.wipe_all { all.iter().map(HostId::to_string).collect() } else { reset.wipe_data.clone() };
    if !registry.is_empty() {
        let hosts: Vec<&str> = registry.iter().map(HostId::as_str).collect();
        lines.push(format!("  {}: {REGISTRY}", hosts.join(", ")));
    }
    lines.push(match wiped.is_empty() {
        true => "  etcd's data is kept".to_owned(),
        false => format!("  {}: etcd's data is deleted, and with it all that the cluster knows", wiped.join(", ")),
    });
    Ok(lines)
}

fn of_remove(change: &ClusterRemove) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = |targets: &[Target], role: &str, lost: &str| {
        if !targets.is_empty() {
            lines.push(format!("  {} ({role}): {lost}", names(targets)));
        }
    };
    line(&change.control_plane, "control plane", "its services are removed");
    line(&change.workers, "node", "its pods are evicted; their local data is lost");
    line(&change.etcd, "etcd", MEMBER);
    lines
}

const REGISTRY: &str = "the registry stops; its images are kept";

const MEMBER: &str = "leaves the etcd cluster; its data is set aside on the host";

fn of_members(change: &EtcdChange) -> Vec<String> {
    vec![format!("  {}: {MEMBER}", names(&change.members))]
}

fn of_wiped(create: &EtcdCreate) -> Vec<String> {
    if create.wipe_data.is_empty() {
        return Vec::new();
    }
    vec![format!("  {}: etcd data of another cluster is deleted", create.wipe_data.join(", "))]
}

fn names(targets: &[Target]) -> String {
    targets.iter().map(Target::id).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::TargetDefaults;

    fn target(text: &str) -> Target {
        Target::parse(text, &TargetDefaults::default()).unwrap()
    }

    fn asked(operation: &Operation) -> String {
        let dir = tempfile::tempdir().unwrap();
        loss(operation, Utf8Path::from_path(dir.path()).unwrap(), "prod").unwrap().join("\n")
    }

    #[test]
    fn environment_hosts_and_what_is_lost_are_named_and_no_password() {
        let host = || vec![target("root:geheim@10.8.14.200")];
        let reset = |wipe_all| ClusterReset { hosts: host(), wipe_all, ..ClusterReset::default() };
        for (operation, words) in [
            (Operation::ClusterReset(reset(false)), "etcd's data is kept"),
            (Operation::ClusterReset(reset(true)), "10.8.14.200: etcd's data is deleted"),
            (
                Operation::ClusterRemove(ClusterRemove { workers: host(), ..ClusterRemove::default() }),
                "10.8.14.200 (node): its pods are evicted",
            ),
            (
                Operation::EtcdRemove(EtcdChange { members: host(), rpms: Vec::new(), force: false }),
                "10.8.14.200: leaves the etcd cluster",
            ),
        ] {
            let text = asked(&operation);
            assert!(text.starts_with("Environment prod:") && text.contains(words), "{text}");
            assert!(!text.contains("geheim"), "{text}");
        }
    }

    #[test]
    fn nothing_is_asked_where_nothing_is_lost() {
        let create = |wipe: &[&str]| {
            Operation::EtcdCreate(EtcdCreate {
                members: vec![target("10.8.14.200")],
                rpms: Vec::new(),
                tls: true,
                wipe_data: wipe.iter().map(|w| (*w).to_owned()).collect(),
            })
        };
        assert_eq!(asked(&create(&[])), "");
        assert!(asked(&create(&["10.8.14.200"])).contains("10.8.14.200: etcd data of another cluster is deleted"));
        assert_eq!(asked(&Operation::ClusterReset(ClusterReset::default())), "");
    }

    #[test]
    fn a_reset_of_all_names_the_hosts_that_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap();
        let environment = Environment::open(root, "prod").unwrap();
        let member = serde_json::json!({"name": "a", "address": "10.8.14.200", "joining": {"new": "x"}});
        let etcd = serde_json::json!({"token": "t", "tls": true, "standing": true, "members": {"10.8.14.200": member}});
        environment.save("etcd", &etcd).unwrap();
        let registry = serde_json::json!({"name": "b", "address": "10.8.14.201"});
        let registry = serde_json::json!({"port": 1, "storage": "/r", "users": {}, "hosts": {"10.8.14.201": registry}});
        environment.save("registry", &registry).unwrap();
        let text = loss(&Operation::ClusterReset(ClusterReset::default()), root, "prod").unwrap().join("\n");
        assert!(text.contains("10.8.14.200, 10.8.14.201: etcd and Kubernetes stop"), "{text}");
        assert!(text.contains("10.8.14.201: the registry stops; its images are kept"), "{text}");
    }
}
