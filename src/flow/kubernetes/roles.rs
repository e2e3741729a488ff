//! What a role is made of on a host: its units and files, for taking it back while the host keeps another role.

use crate::flow::error::FlowError;
use crate::flow::request::Network;
use crate::host::Facts;
use crate::plan::work::Files;

use super::keys::ClusterKeys;
use super::master::MasterFiles;
use super::state::Cluster;
use super::{flannel, network, node, prepare, runtime, vip};

/// Units and files of one or more roles.
#[derive(Debug, Default)]
pub(super) struct Objects {
    pub units: Vec<String>,
    pub files: Vec<String>,
}

impl Objects {
    fn add(&mut self, units: &[&str], files: &Files) {
        self.units.extend(units.iter().map(|u| format!("{u}.service")));
        self.files.extend(files.0.iter().map(|f| f.path.clone()));
    }

    /// Without what `other` needs too.
    pub(super) fn without(mut self, other: &Self) -> Self {
        self.units.retain(|u| !other.units.contains(u));
        self.files.retain(|f| !other.files.contains(f));
        self
    }
}

/// A master's.
pub(super) fn of_master(
    cluster: &Cluster,
    keys: &ClusterKeys,
    host: &str,
    facts: &Facts,
) -> Result<Objects, FlowError> {
    let mut objects = Objects::default();
    if let Some(master) = cluster.masters.get(host) {
        let files = MasterFiles::new(cluster, keys, host, master)?.all();
        objects.add(&["kube-scheduler", "kube-controller-manager", "kube-apiserver"], &files);
    }
    if let Some(address) = &cluster.settings.api_vip {
        objects.add(&["keepalived"], &vip::files(address, Some(facts)));
    }
    Ok(objects)
}

/// A node's. The order is that in which units are stopped.
pub(super) fn of_node(cluster: &Cluster, keys: &ClusterKeys, host: &str, facts: &Facts) -> Result<Objects, FlowError> {
    let mut objects = Objects::default();
    if let Some(own) = cluster.nodes.get(host) {
        objects.add(&["kubelet"], &node::kubelet_files(cluster, keys, &own.machine, facts, None)?);
        objects.add(&["kube-proxy"], &node::proxy_files(cluster, keys, &own.machine)?);
        objects.add(&[], &network::cni_files(cluster, own));
    }
    if cluster.network == Network::Flannel {
        objects.add(&[flannel::UNIT], &flannel::files(cluster, keys, facts.route_interface.as_deref()));
    }
    objects.add(&[network::UNIT], &network::keeper_files());
    objects.add(&[network::BALANCER_UNIT], &network::balancer_files());
    objects.add(&[runtime::unit(cluster)], &runtime::files(cluster, facts, None));
    objects.add(&[], &network::list_file(cluster));
    objects.add(&[], &prepare::files());
    Ok(objects)
}

#[cfg(test)]
mod tests {
    use camino::Utf8Path;

    use super::*;
    use crate::flow::state::Environment;

    /// What a host that is master and node loses with its node role.
    fn lost_with_the_node_role(network: &str) -> Objects {
        let dir = tempfile::tempdir().unwrap();
        let environment = Environment::open(Utf8Path::from_path(dir.path()).unwrap(), "e").unwrap();
        let cluster: Cluster = serde_json::from_value(serde_json::json!({
            "settings": {}, "network": network, "balanced": true,
            "etcd": {"endpoints": ["https://10.8.14.200:2379"], "tls": true},
            "masters": {"h": {"name": "host0", "address": "10.8.14.200"}},
            "nodes": {"h": {"name": "host0", "address": "10.8.14.200", "subnet": 0}},
        }))
        .unwrap();
        let keys = ClusterKeys::open(&environment, &cluster).unwrap();
        let facts = Facts::default();
        let master = of_master(&cluster, &keys, "h", &facts).unwrap();
        of_node(&cluster, &keys, "h", &facts).unwrap().without(&master)
    }

    #[test]
    fn flanneld_goes_with_the_node_role() {
        let lost = lost_with_the_node_role("flannel");
        assert!(lost.units.contains(&"flanneld.service".to_owned()), "{lost:?}");
        assert!(lost.files.contains(&"/etc/sysconfig/flanneld".to_owned()), "{lost:?}");
        assert!(lost.units.iter().all(|unit| !unit.starts_with("kube-apiserver")), "{lost:?}");
        assert!(!lost_with_the_node_role("direct").units.contains(&"flanneld.service".to_owned()));
    }
}
