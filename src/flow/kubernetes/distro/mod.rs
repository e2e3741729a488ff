//! Distributions of Kubernetes: which packages and components make a cluster, chosen here, once, by what the bundle holds.

mod kubeadm;
mod systemd;

use std::net::IpAddr;

use payload::Bundle;
use serde::{Deserialize, Serialize};

use crate::flow::error::FlowError;
use crate::flow::problem::Problem;
use crate::flow::request::{ClusterSettings, ComponentSettings, Network};
use crate::flow::rpms;
use crate::flow::scene::Scene;
use crate::host::{HostId, Target};
use crate::packages::Wanted;
use crate::plan::StepId;

use super::cluster_sync::Reader;
use super::component::Component;
pub(super) use super::kubeadm::Newcomer;
use super::manifest::Manifest;
use super::state::Cluster;

/// What a cluster is made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Distribution {
    /// The distribution's own rpms: `kubernetes-master`, `kubernetes-node`, every component a systemd unit.
    #[default]
    Systemd,
    /// Upstream's rpms: `kubeadm`, `kubelet`, `kubectl`, and the control plane as images.
    Kubeadm,
}

impl Distribution {
    /// What a new cluster is made of with this bundle, where nothing else is asked for: of two that there are, in the version
    /// where one is asked for, the newer.
    pub(super) fn choose(bundle: Option<&Bundle>, version: Option<&str>) -> Self {
        let keys = [Self::Kubeadm, Self::Systemd].map(|one| one.rules().key_package());
        let all = || bundle.into_iter().flat_map(|b| &b.manifest().members).filter_map(|m| m.rpm.as_ref());
        let is_there = |version: &&str| all().any(|id| id.version == **version && keys.contains(&id.name.as_str()));
        let version = version.filter(is_there);
        let newest = |one: Self| {
            let fitting = all().filter(|id| version.is_none_or(|version| id.version == version));
            let newest = rpms::newest(fitting, one.rules().key_package());
            newest.map(|id| rpms::numbers(&id.version))
        };
        if newest(Self::Kubeadm) > newest(Self::Systemd) { Self::Kubeadm } else { Self::Systemd }
    }

    pub(super) fn rules(self) -> &'static dyn Rules {
        match self {
            Self::Systemd => &systemd::Systemd,
            Self::Kubeadm => &kubeadm::Kubeadm,
        }
    }
}

/// The components of all distributions.
pub(super) fn components() -> impl Iterator<Item = &'static &'static dyn Component> {
    [Distribution::Systemd, Distribution::Kubeadm].into_iter().flat_map(|one| one.rules().components())
}

/// How a distribution makes a cluster.
pub(super) trait Rules: Sync {
    /// The package whose version is the cluster's.
    fn key_package(&self) -> &'static str;

    /// Packages of a control plane node.
    fn control_plane_packages(&self) -> &'static [&'static str];

    /// Packages of a node, beside its runtime's.
    fn worker_packages(&self) -> &'static [&'static str];

    /// Whether this package is of the cluster's version.
    fn has_its_version(&self, package: &str) -> bool;

    /// Whether this package must be among the rpms that are named for a role, or in the bundle.
    fn must_be_at_hand(&self, package: &str) -> bool;

    /// Whether the nodes of a new cluster run containerd by itself when nothing is said.
    fn prefers_containerd(&self, minor: Option<u32>) -> bool;

    /// Whether the control plane is made of pods.
    fn runs_control_plane(&self) -> bool;

    /// Whether a cluster that stands, and whose nodes reach its control plane node directly, can get balancers.
    fn balances_later(&self) -> bool;

    /// As whom the nodes read the list of the cluster's hosts.
    fn list_reader(&self) -> Reader;

    /// What `auto` comes to, for the pods' network.
    fn default_network(&self, bundle: Option<&Bundle>) -> Network;

    /// The step behind which the next control plane node may be worked on; nothing where they wait for none. `standing`: the
    /// cluster's API has answered before.
    fn turn_ends(&self, host: &HostId, standing: bool) -> Option<StepId>;

    /// What it cannot do.
    fn check(
        &self,
        control_plane: &[Target],
        settings: &ClusterSettings,
        network: &Network,
        manifests: &[Manifest],
    ) -> Result<(), FlowError>;

    /// Whether it can make a cluster with these families of addresses, of Kubernetes 1.MINOR as far as that is known.
    fn check_families(&self, settings: &ClusterSettings, minor: Option<u32>) -> Result<(), FlowError>;

    /// What the site sets on components: refused where that is not supported, else what of it is not followed. `minor`: 1.MINOR
    /// of Kubernetes, as far as it is known.
    fn check_components(&self, set: &ComponentSettings, minor: Option<u32>) -> Result<Vec<Problem>, FlowError>;

    /// What is to be said of the packages' version, as far as it is known before they are installed.
    fn check_version(&self, _version: Option<&str>) -> Option<Problem> {
        None
    }

    /// What keeps the nodes of a new cluster of Kubernetes 1.MINOR from running containerd by itself, or Docker.
    fn check_runtime(&self, _minor: u32, _containerd: bool) -> Option<Problem> {
        None
    }

    /// What tools of its own find on hosts that are not in the cluster yet. Changes nothing there.
    fn look(
        &self,
        _newcomers: &[Newcomer<'_>],
        _packages: &[Wanted],
        _version: &str,
        _settings: &ClusterSettings,
        _scene: &Scene<'_>,
    ) -> Vec<Problem> {
        Vec::new()
    }

    /// The address of the cluster's DNS; nothing where it has none.
    fn dns(&self, cluster: &Cluster) -> Option<IpAddr>;

    /// What a host is made of, in the order in which it gets it.
    fn components(&self) -> &'static [&'static dyn Component];
}
