//! The rpms of CentOS and Fedora, whose units read their options from `/etc/kubernetes/*`.

use payload::Bundle;

use crate::flow::error::FlowError;
use crate::flow::problem::Problem;
use crate::flow::request::{ClusterSettings, ComponentSettings, Network};
use crate::flow::rpms;
use crate::host::{HostId, Target};
use crate::plan::StepId;

use super::super::clock::Clock;
use super::super::cluster_sync::{Balancer, ClusterSync, Published, PublishedByNode, Reader};
use super::super::component::Component;
use super::super::control_plane::{self, ControlPlane};
use super::super::dns;
use super::super::flannel;
use super::super::images::NodeImages;
use super::super::kept_registry::KeptRegistry;
use super::super::kubelet::{KubeProxy, Kubelet, NodePorts, Ready};
use super::super::manifest::{Manifest, Manifests};
use super::super::nameserver::NoNameserver;
use super::super::network_manager::NetworkManager;
use super::super::pod_network::{NetworkFolders, NodeNetwork};
use super::super::prepare::Kernel;
use super::super::registries::Registries;
use super::super::runtime::NodeRuntime;
use super::super::vip::VirtualAddress;
use super::Rules;

pub(super) const PACKAGE: &str = "kubernetes-master";
/// From this minor version on Kubernetes does not know Docker.
const WITHOUT_DOCKER: u32 = 24;

pub(super) struct Systemd;

/// The network comes before the runtime: containerd makes the CNI folder on its own, and only what we make is recorded.
const COMPONENTS: [&dyn Component; 21] = [
    &Clock,
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
    &PublishedByNode,
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
        minor.is_some_and(|minor| minor >= WITHOUT_DOCKER)
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

    fn components(&self) -> &'static [&'static dyn Component] {
        &COMPONENTS
    }
}
