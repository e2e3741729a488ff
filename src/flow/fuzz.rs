//! What programs on hosts answer. See [`crate::fuzz`].

use super::{etcd, kubernetes, ownership};
use crate::fuzz::lossy;

/// What etcdctl lists, and what scripts say of etcd and of whose a host is.
pub fn etcd_output(bytes: &[u8]) {
    let text = lossy(bytes);
    etcd::fuzz::output(&text);
    let _ = ownership::Found::parse(&text);
}

/// What an API server answers, and what kubeadm and scripts print.
pub fn kubernetes_output(bytes: &[u8]) {
    kubernetes::fuzz::output(&lossy(bytes));
}

/// Manifests of a bundle, and what a cluster keeps as YAML or as a Corefile.
pub fn kubernetes_yaml(bytes: &[u8]) {
    kubernetes::fuzz::yaml(&lossy(bytes));
}
