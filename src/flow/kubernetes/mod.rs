//! Kubernetes clusters from the distribution's rpms: `kubernetes-master`, `kubernetes-node` and `kubernetes-client` in the
//! layout of CentOS and Fedora (units from the package, options in `/etc/kubernetes/*`).
//!
//! What a cluster is made of is kept in `kubernetes.json` of the environment, so that a node added later gets the same.

mod create;
mod endpoint;
mod images;
mod keys;
mod master;
mod network;
mod node;
mod plan;
mod preflight;
mod prepare;
mod state;
mod verify;

pub use create::Create;
pub use state::Cluster;
