//! What connects the pods of all nodes: chosen here, once.

use crate::flow::request::Network;
use crate::packages::Wanted;
use crate::plan::Step;
use crate::resource::Entries;

use super::component::{Component, On};
use super::direct::Direct;
use super::flannel::Flannel;
use super::state::Cluster;

/// A network of pods.
pub(super) trait PodNetwork: Sync {
    /// As an operator reads it.
    fn name(&self, cluster: &Cluster) -> String;

    /// Packages that every node needs for it.
    fn packages(&self) -> Vec<Wanted> {
        Vec::new()
    }

    /// Whether pods are connected by CNI plugins.
    fn uses_cni(&self) -> bool {
        true
    }

    /// What it does on a node.
    fn steps(&self, on: &On<'_>) -> Vec<Step>;
}

/// The network that was chosen.
pub(super) fn of(network: &Network) -> &'static dyn PodNetwork {
    match network {
        Network::Flannel => &Flannel,
        Network::Manifest(_) => &FromManifest,
        Network::Direct | Network::Auto => &Direct,
    }
}

/// A network that is a manifest: its own pods set it up on every node.
struct FromManifest;

impl PodNetwork for FromManifest {
    fn name(&self, cluster: &Cluster) -> String {
        match &cluster.network {
            Network::Manifest(name) if cluster.flannel.is_some() => format!("{name}, built in"),
            Network::Manifest(name) => format!("{name}, from the bundle"),
            _ => "from the bundle".to_owned(),
        }
    }

    fn steps(&self, _: &On<'_>) -> Vec<Step> {
        Vec::new()
    }
}

/// The component: the node's part of the cluster's network.
pub(super) struct NodeNetwork;

impl Component for NodeNetwork {
    fn is_on(&self, on: &On<'_>) -> bool {
        on.node().is_some()
    }

    fn packages(&self, on: &On<'_>) -> Vec<Wanted> {
        on.network().packages()
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        on.network().steps(on)
    }
}

/// The component: the folders of CNI, where the pods of a network write.
pub(super) struct NetworkFolders;

impl Component for NetworkFolders {
    fn is_on(&self, on: &On<'_>) -> bool {
        on.runs_pods() && matches!(on.cluster.network, Network::Manifest(_))
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let folders = Entries(&["/etc/cni/net.d", "/opt/cni/bin"]);
        vec![on.step("network.folders", "record what is in the folders of CNI", folders)]
    }
}
