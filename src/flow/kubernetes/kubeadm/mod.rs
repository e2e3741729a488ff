//! The components of a cluster that kubeadm makes (Kubernetes documentation, "kubeadm": `init`, `join`, "Customizing components
//! with the kubeadm API").

mod config;
mod files;
mod init;
mod join;

pub(super) use files::{ApiPort, Authorities, KubeletUnit, NodeReady};
pub(super) use init::Init;
pub(super) use join::Join;

/// Where containerd listens.
const SOCKET: &str = "unix:///run/containerd/containerd.sock";
/// The kubelet's kubeconfig, which kubeadm writes.
const KUBELET_CONF: &str = "/etc/kubernetes/kubelet.conf";
