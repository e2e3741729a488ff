//! The rpms of CentOS and Fedora, whose units read their options from `/etc/kubernetes/*`.

use std::net::IpAddr;

use payload::Bundle;

use crate::flow::error::FlowError;
use crate::flow::networks::Family;
use crate::flow::problem::Problem;
use crate::flow::request::{ClusterSettings, ComponentSettings, Network};
use crate::flow::rpms;
use crate::host::{HostId, Target};
use crate::plan::{Level, StepId};

use super::super::clock::Clock;
use super::super::cluster_sync::{Balancer, ClusterSync, Published, PublishedByApi, Reader};
use super::super::component::Component;
use super::super::control_plane::{self, ControlPlane};
use super::super::dns;
use super::super::dns_answers::DnsAnswers;
use super::super::flannel;
use super::super::hold::PackageHold;
use super::super::images::NodeImages;
use super::super::kept_registry::KeptRegistry;
use super::super::kubelet::{KubeProxy, Kubelet, NodePorts, Ready};
use super::super::manifest::{Manifest, Manifests};
use super::super::nameserver::NoNameserver;
use super::super::network_manager::NetworkManager;
use super::super::options::{self, since};
use super::super::pod_network::{NetworkFolders, NodeNetwork};
use super::super::prepare::Kernel;
use super::super::registries::Registries;
use super::super::runtime::NodeRuntime;
use super::super::state::{self, Cluster};
use super::super::vip::VirtualAddress;
use super::Rules;

pub(super) const PACKAGE: &str = "kubernetes-master";

pub(super) struct Systemd;

/// The network comes before the runtime: containerd makes the CNI folder on its own, and only what we make is recorded.
const COMPONENTS: [&dyn Component; 23] = [
    &Clock,
    &PackageHold,
    &ControlPlane,
    &VirtualAddress,
    &Published,
    &Manifests,
    &Kernel,
    &NetworkManager,
    &NodePorts,
    &NodeNetwork,
    &NetworkFolders,
    &Registries,
    &NodeRuntime,
    &NodeImages,
    &ClusterSync,
    &Balancer,
    &NoNameserver,
    &Kubelet,
    &KubeProxy,
    &Ready,
    &DnsAnswers,
    &PublishedByApi,
    &KeptRegistry,
];

impl Rules for Systemd {
    fn key_package(&self) -> &'static str {
        PACKAGE
    }

    fn control_plane_packages(&self) -> &'static [&'static str] {
        &[PACKAGE, "kubernetes-client"]
    }

    fn worker_packages(&self) -> &'static [&'static str] {
        &["kubernetes-node", "kubernetes-client", "containernetworking-plugins"]
    }

    fn has_its_version(&self, package: &str) -> bool {
        package.starts_with("kubernetes-")
    }

    fn must_be_at_hand(&self, package: &str) -> bool {
        package.starts_with("kubernetes-")
    }

    fn prefers_containerd(&self, minor: Option<u32>) -> bool {
        minor.is_some_and(|minor| minor >= since::WITHOUT_DOCKER)
    }

    fn runs_control_plane(&self) -> bool {
        false
    }

    fn balances_later(&self) -> bool {
        true
    }

    fn list_reader(&self) -> Reader {
        Reader { kubeconfig: "/etc/kubernetes/kube-proxy.kubeconfig", kind: "User", name: "system:kube-proxy" }
    }

    fn default_network(&self, bundle: Option<&Bundle>) -> Network {
        if rpms::in_bundle(bundle, flannel::PACKAGE) { Network::Flannel } else { Network::Direct }
    }

    fn turn_ends(&self, host: &HostId, standing: bool) -> Option<StepId> {
        standing.then(|| control_plane::works(host))
    }

    fn check(
        &self,
        _: &[Target],
        settings: &ClusterSettings,
        _: &Network,
        manifests: &[Manifest],
    ) -> Result<(), FlowError> {
        dns::check(manifests, settings)
    }

    fn check_components(&self, set: &ComponentSettings, _: Option<u32>) -> Result<Vec<Problem>, FlowError> {
        let fields = set.differing(&ComponentSettings::default());
        if fields.is_empty() {
            return Ok(Vec::new());
        }
        Err(FlowError::request_with_help(
            format!("{}: not supported with the packages kubernetes-master and kubernetes-node", fields.join(", ")),
            "leave it out, or use a bundle with kubeadm's packages",
        ))
    }

    /// That of an addon of the bundle.
    fn dns(&self, cluster: &Cluster) -> Option<IpAddr> {
        cluster.dns.map(IpAddr::V4)
    }

    fn check_families(&self, settings: &ClusterSettings, _: Option<u32>) -> Result<(), FlowError> {
        let pods = settings.pods();
        if !pods.has(Family::V6) {
            return Ok(());
        }
        Err(FlowError::request_with_help(
            format!(
                "the pod network {pods}: IPv6 is not supported with the packages kubernetes-master and kubernetes-node"
            ),
            "use IPv4 networks alone, or a bundle with kubeadm's packages",
        ))
    }

    fn check_version(&self, version: Option<&str>) -> Option<Problem> {
        options::check_version(PACKAGE, version, state::today())
    }

    fn check_runtime(&self, minor: u32, containerd: bool) -> Option<Problem> {
        let (text, help) = match containerd {
            false if minor >= since::WITHOUT_DOCKER => (
                format!("Kubernetes 1.{minor} does not support Docker"),
                "leave --runtime out: containerd runs its pods",
            ),
            true if minor < since::CONTAINERD => {
                (format!("Kubernetes 1.{minor} does not support containerd by itself"), "use --runtime docker")
            }
            _ => return None,
        };
        Some(Problem { host: None, level: Level::Error, text, help: Some(help.to_owned()) })
    }

    fn components(&self) -> &'static [&'static dyn Component] {
        &COMPONENTS
    }
}
