//! Upstream's rpms (pkgs.k8s.io): the control plane runs as images that kubeadm starts, etcd stays ours, outside of it.

use std::net::IpAddr;

use payload::{Bundle, MemberKind};

use crate::flow::error::FlowError;
use crate::flow::networks::{self, Family};
use crate::flow::problem::Problem;
use crate::flow::request::{ClusterSettings, ComponentSettings, Network, Runtime};
use crate::flow::scene::Scene;
use crate::host::{HostId, Target};
use crate::packages::Wanted;
use crate::plan::StepId;

use super::super::clock::Clock;
use super::super::cluster_sync::{
    ADDRESS_PACKAGE, BALANCER_PACKAGE, Balancer, ClusterSync, HeldAddress, Published, PublishedByApi, Reader,
};
use super::super::component::Component;
use super::super::control_plane;
use super::super::dns_answers::DnsAnswers;
use super::super::dns_spread::DnsSpread;
use super::super::hold::PackageHold;
use super::super::images::NodeImages;
use super::super::kept_registry::KeptRegistry;
use super::super::kubeadm::{
    self, ApiPort, Authorities, Certificates, ControlPlaneSettings, EncryptedSecrets, EtcdConfiguration, EtcdServers,
    Init, Join, KUBELET_CONF, KeyOfSecrets, KubeProxySettings, KubeletSettings, KubeletUnit, Newcomer, NodeReady,
    PublishedSettings, SiteFiles,
};
use super::super::kubelet::NodePorts;
use super::super::manifest::{Manifest, Manifests};
use super::super::nameserver::{ForwardsNothing, NoNameserver};
use super::super::network_manager::NetworkManager;
use super::super::pod_network::NetworkFolders;
use super::super::prepare::Kernel;
use super::super::registries::Registries;
use super::super::runtime::NodeRuntime;
use super::super::service_route::ServiceRoute;
use super::super::state::Cluster;
use super::super::stub_domains::SiteDomains;
use super::Rules;

pub(super) const PACKAGE: &str = "kubeadm";
const PACKAGES: [&str; 5] = [PACKAGE, "kubelet", "kubectl", "cri-tools", "kubernetes-cni"];

/// From this minor version on kubeadm's configuration names a folder of patches (v1beta3).
const PATCHES: u32 = 22;

/// From this minor version on IPv6, alone and beside IPv4, is what all of Kubernetes does (feature `IPv6DualStack`).
const DUAL_STACK: u32 = 23;

pub(super) struct Kubeadm;

/// Images come before kubeadm, which would pull them, and the balancer, by which it asks the API. Manifests come before all that waits
/// for other hosts: pods of the network and of DNS start while these join.
const COMPONENTS: [&dyn Component; 39] = [
    &Clock,
    &PackageHold,
    &Kernel,
    &ApiPort,
    &NetworkManager,
    &NodePorts,
    &NetworkFolders,
    &Registries,
    &NodeRuntime,
    &NodeImages,
    &ClusterSync,
    &ServiceRoute,
    &Balancer,
    &NoNameserver,
    &KubeletUnit,
    &Authorities,
    &SiteFiles,
    &ControlPlaneSettings,
    &KubeletSettings,
    &KeyOfSecrets,
    &HeldAddress::Begins,
    &EtcdConfiguration,
    &EtcdServers,
    &Certificates,
    &Init,
    &ForwardsNothing,
    &PublishedSettings,
    &KubeProxySettings,
    &EncryptedSecrets,
    &Join,
    &Manifests,
    &Published,
    &HeldAddress::Joins,
    &SiteDomains,
    &NodeReady,
    &DnsAnswers,
    &PublishedByApi,
    &KeptRegistry,
    &DnsSpread,
];

impl Rules for Kubeadm {
    fn key_package(&self) -> &'static str {
        PACKAGE
    }

    fn control_plane_packages(&self) -> &'static [&'static str] {
        &PACKAGES
    }

    fn worker_packages(&self) -> &'static [&'static str] {
        &PACKAGES
    }

    fn has_its_version(&self, package: &str) -> bool {
        PACKAGES[..3].contains(&package)
    }

    fn must_be_at_hand(&self, package: &str) -> bool {
        PACKAGES.contains(&package) || [BALANCER_PACKAGE, ADDRESS_PACKAGE].contains(&package)
    }

    fn prefers_containerd(&self, _: Option<u32>) -> bool {
        true
    }

    fn runs_control_plane(&self) -> bool {
        true
    }

    /// The address of the API is in what kubeadm wrote on every node, and in the cluster.
    fn balances_later(&self) -> bool {
        false
    }

    /// Every node has it once it has joined; the kubelet renews its certificate.
    fn list_reader(&self) -> Reader {
        Reader { kubeconfig: KUBELET_CONF, kind: "Group", name: "system:nodes" }
    }

    /// That of the bundle; which one is a question only where it has several.
    fn default_network(&self, bundle: Option<&Bundle>) -> Network {
        let members = bundle.into_iter().flat_map(|b| &b.manifest().members);
        let mut networks = members.filter(|m| m.kind == MemberKind::NetworkManifest);
        match (networks.next(), networks.next()) {
            (Some(one), None) => {
                let file = one.file_name();
                Network::Manifest(file.rsplit_once('.').map_or(file, |(name, _)| name).to_owned())
            }
            _ => Network::Auto,
        }
    }

    /// kubeadm adds one at a time.
    fn turn_ends(&self, host: &HostId, _: bool) -> Option<StepId> {
        Some(control_plane::answers(host))
    }

    fn check(
        &self,
        _: &[Target],
        settings: &ClusterSettings,
        network: &Network,
        _: &[Manifest],
    ) -> Result<(), FlowError> {
        let refuse = |what: &str, help: &str| Err(FlowError::request_with_help(what, help));
        if settings.runtime == Runtime::Docker {
            return refuse("kubeadm's packages run pods by containerd", "leave --runtime out");
        }
        if matches!(network, Network::Manifest(_)) {
            return Ok(());
        }
        refuse(
            "with kubeadm's packages the pods' network is a manifest of the bundle, and none is chosen",
            "name one of the bundle with -cni NAME, or build the bundle with --manifest NAME=FILE; \
             of flannel the images alone are enough, its manifest is built in",
        )
    }

    fn check_components(&self, set: &ComponentSettings, minor: Option<u32>) -> Result<Vec<Problem>, FlowError> {
        if !set.patches.is_empty() && minor.is_some_and(|minor| minor < PATCHES) {
            return Err(FlowError::request_with_help(
                format!(
                    "kubernetes.patches: kubeadm of 1.{} reads no patches from its configuration",
                    minor.unwrap_or(0)
                ),
                format!("leave it out, or use a bundle with Kubernetes 1.{PATCHES} or later"),
            ));
        }
        Ok(kubeadm::overruled(set))
    }

    fn look(
        &self,
        newcomers: &[Newcomer<'_>],
        packages: &[Wanted],
        version: &str,
        settings: &ClusterSettings,
        scene: &Scene<'_>,
    ) -> Vec<Problem> {
        kubeadm::preflight(newcomers, packages, version, settings, scene)
    }

    /// As kubeadm chooses it: the tenth address of the services.
    fn dns(&self, cluster: &Cluster) -> Option<IpAddr> {
        Some(networks::nth(cluster.settings.services().primary, 10))
    }

    fn check_families(&self, settings: &ClusterSettings, minor: Option<u32>) -> Result<(), FlowError> {
        let pods = settings.pods();
        match minor {
            Some(minor) if minor < DUAL_STACK && pods.has(Family::V6) => Err(FlowError::request_with_help(
                format!("the pod network {pods}: kubeadm of 1.{minor} is not used with IPv6 here"),
                format!("use IPv4 networks alone, or a bundle with Kubernetes 1.{DUAL_STACK} or later"),
            )),
            _ => Ok(()),
        }
    }

    fn components(&self) -> &'static [&'static dyn Component] {
        &COMPONENTS
    }
}
