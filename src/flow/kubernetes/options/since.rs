//! From which minor version on Kubernetes has what files, steps and checks depend on, beside the options of its programs.

/// The namespace `kube-public`, which the API server makes.
pub(in super::super) const KUBE_PUBLIC: u32 = 6;
/// A kubelet that reads lists of CNI plugins (`.conflist`), and tells plugins of containers' host ports.
pub(in super::super) const PLUGIN_LISTS: u32 = 8;
/// Roles for all of the cluster's own users, nodes among them (RBAC and the Node authorizer), so that the service accounts of pods
/// may be allowed something each.
pub(in super::super) const ROLES: u32 = 10;
/// A controller manager that surely reads an elliptic key in PKCS#8: that of 1.5 reads it in SEC 1 only.
pub(in super::super) const ELLIPTIC_KEYS: u32 = 10;
/// A kubelet that reads `kubelet.config.k8s.io/v1beta1`.
pub(in super::super) const KUBELET_CONFIGURATION: u32 = 10;
/// A kubelet that speaks a version of the container runtime interface that containerd does (v1alpha2).
pub(in super::super) const CONTAINERD: u32 = 10;
/// `kubectl diff`.
pub(in super::super) const DIFF: u32 = 13;
/// A kubelet that works with cgroup v2.
pub(in super::super) const CGROUP_2: u32 = 19;
/// A kubelet without Docker.
pub(in super::super) const WITHOUT_DOCKER: u32 = 24;
/// A kubelet whose clean-up leaves alone the images that the runtime has pinned.
pub(in super::super) const PINNED_IMAGES: u32 = 26;
