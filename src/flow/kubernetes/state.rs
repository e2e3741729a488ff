//! What is kept of an environment's Kubernetes cluster, in the document `kubernetes`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::flow::error::FlowError;
use crate::flow::networks;
use crate::flow::request::{ClusterSettings, ComponentSettings, Network};
use crate::flow::state::Environment;
use crate::host::HostId;

use super::distro::Distribution;
use super::{flannel_builtin, images};

pub(in crate::flow) const API_PORT: u16 = 6443;

/// A cluster as it was set up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    pub settings: ClusterSettings,
    /// What `auto` came to.
    pub network: Network,
    pub etcd: EtcdAccess,
    /// Kubernetes 1.MINOR, as the packages have it.
    #[serde(default = "today")]
    pub minor: u32,
    /// Whose packages it is made of.
    #[serde(default)]
    pub distribution: Distribution,
    /// Its whole version, such as `1.36.3`, where kubeadm must be told.
    #[serde(default)]
    pub version: String,
    /// containerd runs the pods, without Docker.
    #[serde(default)]
    pub containerd: bool,
    /// Every node reaches the API by a haproxy of its own.
    #[serde(default)]
    pub balanced: bool,
    /// How kube-proxy works, where kubeadm is told: `iptables` or `nftables`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kube_proxy_mode: Option<String>,
    /// Its API has answered; from now on control plane nodes join it, or are restarted, one after another.
    #[serde(default)]
    pub standing: bool,
    /// Where pods ask for names: the DNS service that an addon of the bundle brought.
    #[serde(default)]
    pub dns: Option<Ipv4Addr>,
    /// What runs that have not come to their end were to set on components, beside `settings.components`, which a cluster that stands has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfinished: Option<ComponentSettings>,
    /// Images of flannel, where its manifest is the built-in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flannel: Option<flannel_builtin::Images>,
    /// CoreDNS has been told of domains of the site, now or before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub had_stub_domains: bool,
    /// Full names of the images that a bundle brought: every host that runs pods has those that it needs
    /// ([`Cluster::images_of`]).
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub images: BTreeSet<String>,
    /// By host. Earlier versions wrote `masters` and `nodes`.
    #[serde(alias = "masters")]
    pub control_plane: BTreeMap<HostId, Machine>,
    #[serde(alias = "nodes")]
    pub workers: BTreeMap<HostId, Node>,
}

/// Where the API servers keep their data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EtcdAccess {
    pub endpoints: Vec<String>,
    /// The environment's own etcd, whose authority signs a client certificate for the API servers.
    pub tls: bool,
}

/// A host of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Its node name: the host's own name, lower case.
    pub name: String,
    /// Where the others reach it, of the cluster's primary family.
    pub address: IpAddr,
    /// Its address of the other family, in a cluster of both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_address: Option<IpAddr>,
}

impl Machine {
    /// Its addresses, that of the primary family first.
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        [self.address].into_iter().chain(self.second_address)
    }
}

/// A host that runs pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    #[serde(flatten)]
    pub machine: Machine,
    /// Which part of the pod network is its own; kept for good, so that no two nodes ever share one.
    pub subnet: u32,
}

/// The version that is written for when no package says another.
pub(super) fn today() -> u32 {
    20
}

impl Cluster {
    const DOCUMENT: &'static str = "kubernetes";

    pub fn load(environment: &Environment) -> Result<Option<Self>, FlowError> {
        environment.load(Self::DOCUMENT)
    }

    pub fn save(&self, environment: &Environment) -> Result<(), FlowError> {
        environment.save(Self::DOCUMENT, self)
    }

    /// The control plane beside this host, as far as its API is asked.
    pub(super) fn control_plane_beside(&self, host: &HostId) -> Self {
        let others = self.control_plane.iter().filter(|(other, _)| *other != host);
        Self {
            settings: self.settings.clone(),
            network: self.network.clone(),
            etcd: self.etcd.clone(),
            unfinished: self.unfinished.clone(),
            version: self.version.clone(),
            control_plane: others.map(|(host, machine)| (host.clone(), machine.clone())).collect(),
            workers: BTreeMap::new(),
            images: BTreeSet::new(),
            kube_proxy_mode: None,
            flannel: None,
            ..*self
        }
    }

    /// With the hosts too that another one has.
    #[must_use]
    pub(super) fn and_hosts_of(mut self, other: &Self) -> Self {
        for (host, machine) in &other.control_plane {
            self.control_plane.entry(host.clone()).or_insert_with(|| machine.clone());
        }
        for (host, node) in &other.workers {
            self.workers.entry(host.clone()).or_insert_with(|| node.clone());
        }
        self
    }

    /// Whether its hosts keep a list of each other: for the routes to pods, or for how they reach the API.
    pub(super) fn keeps_list(&self) -> bool {
        !self.distribution.rules().runs_control_plane() || self.balanced || self.settings.api_vip.is_some()
    }

    /// The hosts that run pods: those of the control plane too, where it is made of pods.
    pub(super) fn pod_hosts(&self) -> BTreeSet<&HostId> {
        let control_plane = self.control_plane.keys().filter(|_| self.distribution.rules().runs_control_plane());
        self.workers.keys().chain(control_plane).collect()
    }

    /// Whether a host serves the cluster's images: a control plane node whose containerd has them.
    pub(super) fn keeps_registry(&self, host: &HostId) -> bool {
        let keeps = self.settings.keep_registry && self.containerd && !self.images.is_empty();
        keeps && self.control_plane.contains_key(host) && self.pod_hosts().contains(host)
    }

    /// The images that a host is to have.
    pub(super) fn images_of(&self, host: &HostId) -> impl Iterator<Item = &String> {
        let is_control_plane = self.control_plane.contains_key(host);
        self.images.iter().filter(move |name| is_control_plane || !images::is_control_plane(name, self))
    }

    /// The pod subnet of a node, such as `10.244.3.0/24`.
    pub fn pod_subnet(&self, node: &Node) -> String {
        networks::of_node(self.settings.pods().primary, node.subnet).to_string()
    }

    /// Subnet numbers that no node has, in order.
    pub fn free_subnets(&self) -> impl Iterator<Item = u32> + use<> {
        let taken: BTreeSet<u32> = self.workers.values().map(|node| node.subnet).collect();
        (0..).filter(move |n| !taken.contains(n))
    }

    /// How many nodes the pod network has addresses for.
    pub fn most_nodes(&self) -> u32 {
        self.settings.pods().iter().map(networks::most_nodes).min().unwrap_or_default()
    }

    /// The service network's first address: the API server as pods see it.
    pub fn service_ip(&self) -> IpAddr {
        networks::nth(self.settings.services().primary, 1)
    }
}
