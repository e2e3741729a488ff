//! Kubernetes clusters from the distribution's rpms: `kubernetes-master`, `kubernetes-node` and `kubernetes-client` in the
//! layout of CentOS and Fedora (units from the package, options in `/etc/kubernetes/*`).
//!
//! What a cluster is made of is kept in `kubernetes.json` of the environment, so that a node added later gets the same.

mod access;
mod api;
mod balancer;
mod clock;
mod cluster_sync;
mod component;
mod control_plane;
mod converge;
mod direct;
mod dns;
mod drain;
mod endpoint;
mod flannel;
mod images;
mod keys;
mod kubeconfig;
mod kubelet;
mod legacy;
mod manifest;
mod master;
mod node;
mod plan;
mod pod_network;
mod preflight;
mod prepare;
mod publish;
mod remove;
mod runtime;
mod state;
mod status;
mod teardown;
mod verify;
mod version;
mod vip;

pub use converge::Converge;
pub use kubeconfig::{kubeconfig, write_kubeconfig};
pub use remove::Remove;
pub use state::Cluster;
pub use status::{ComponentStatus, NodeStatus, Status, status};
pub(super) use teardown::Teardown;
