//! Kubernetes clusters. A [`component::Component`] is one thing on a host; a [`distro::Distribution`] says which components a
//! cluster is made of: of the rpms of CentOS and Fedora, or of kubeadm's.
//!
//! What a cluster is made of is kept in the environment's document `kubernetes`, so that a node added later gets the same.

mod access;
mod api;
mod applied;
mod calico_manifest;
mod certificates;
mod choice;
mod clock;
mod cluster_sync;
mod component;
mod containerd;
mod control_plane;
mod control_plane_files;
mod converge;
mod corefile;
mod direct;
mod distro;
mod dns;
mod dns_answers;
mod dns_spread;
mod docker;
mod docker_bridge;
mod docker_in_use;
mod drain;
mod drift;
mod endpoint;
mod families;
mod fitted;
mod flannel;
mod flannel_builtin;
mod flannel_manifest;
#[cfg(any(test, feature = "fuzz"))]
pub(super) mod fuzz;
mod hold;
mod image_sync;
mod images;
mod joining;
mod kept_registry;
mod keys;
mod kubeadm;
mod kubeconfig;
mod kubelet;
mod leftovers;
mod manifest;
mod manifest_check;
mod nameserver;
mod network_manager;
mod node;
mod options;
mod plan;
mod pod_network;
mod preflight;
mod prepare;
mod proxy_mode;
mod registries;
mod remove;
mod routes;
mod runtime;
mod service_route;
mod state;
mod status;
mod stub_domains;
mod teardown;
mod verify;
mod version;
mod vip;

use crate::host::Probe;

pub use certificates::certificates;
pub use converge::Converge;
pub use distro::Distribution;
pub use image_sync::ImageSync;
pub use kubeconfig::{kubeconfig, write_kubeconfig};
pub use remove::Remove;
pub(super) use state::API_PORT;
pub use state::Cluster;
pub use status::{ComponentStatus, NodeStatus, Status, status};
pub(super) use teardown::Teardown;

/// What the components of every distribution ask of a host.
pub(super) fn probes() -> impl Iterator<Item = Probe> {
    distro::components().map(|component| component.probe())
}
