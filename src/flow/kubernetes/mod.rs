//! Kubernetes clusters from the distribution's rpms: `kubernetes-master`, `kubernetes-node` and `kubernetes-client` in the
//! layout of CentOS and Fedora (units from the package, options in `/etc/kubernetes/*`).
//!
//! What a cluster is made of is kept in `kubernetes.json` of the environment, so that a node added later gets the same.

mod access;
mod api;
mod create;
mod dns;
mod drain;
mod endpoint;
mod flannel;
mod images;
mod keys;
mod kubeconfig;
mod legacy;
mod manifest;
mod master;
mod network;
mod node;
mod node_plan;
mod plan;
mod preflight;
mod prepare;
mod remove;
mod roles;
mod runtime;
mod state;
mod status;
mod teardown;
mod verify;
mod version;
mod vip;

pub use create::Create;
pub use kubeconfig::{kubeconfig, write_kubeconfig};
pub use remove::Remove;
pub use state::Cluster;
pub use status::{ComponentStatus, NodeStatus, Status, status};
pub(super) use teardown::Teardown;
