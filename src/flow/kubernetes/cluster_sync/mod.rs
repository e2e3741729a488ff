//! How hosts of a cluster find each other: the *list* of its control plane nodes and nodes, and the unit that keeps a node's routes
//! and how it reaches the API as the list says.
//!
//! The list lies on every node (`/etc/kubernetes/sunshine-cluster`) and, as the authoritative copy, in the cluster itself
//! (ConfigMap `kube-public/sunshine-cluster`). A run that adds or removes hosts changes it there, once; every node takes
//! it over. So no run needs the credentials of hosts that it is not about, and a host that was down then learns of it
//! when it is back.

mod address;
mod balancer;
mod keeper;
mod list;
mod publish;

pub(super) use address::{HeldAddress, PACKAGE as ADDRESS_PACKAGE};
pub(super) use balancer::{Balancer, PACKAGE as BALANCER_PACKAGE};
pub(super) use keeper::ClusterSync;
pub(super) use list::list;
pub(super) use publish::{Published, PublishedByApi, TellOfHosts, published};

/// As whom a node reads the list: by a kubeconfig that it has anyway.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader {
    /// The kubeconfig, on the node.
    pub kubeconfig: &'static str,
    /// What the role is bound to: `User` or `Group`.
    pub kind: &'static str,
    pub name: &'static str,
}

/// The program of the unit; it also writes the balancer's configuration.
const SCRIPT: &str = "/usr/local/sbin/sunshine-cluster";
