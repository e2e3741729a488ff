//! What a role is made of on a host: its units and files, for taking it back while the host keeps another role.

use crate::flow::error::FlowError;
use crate::host::Facts;
use crate::plan::work::Files;

use super::keys::ClusterKeys;
use super::master::MasterFiles;
use super::state::Cluster;
use super::{network, node, prepare, runtime, vip};

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
    objects.add(&[network::UNIT], &network::keeper_files());
    objects.add(&[network::BALANCER_UNIT], &network::balancer_files());
    objects.add(&[runtime::unit(cluster)], &runtime::files(cluster, facts, None));
    objects.add(&[], &network::list_file(cluster));
    objects.add(&[], &prepare::files());
    Ok(objects)
}
