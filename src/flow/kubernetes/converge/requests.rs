//! From requests to what a run brings about.

use super::Converge;
use crate::flow::registry::Registries;
use crate::flow::request::{ClusterChange, ClusterCreate};
use crate::host::Target;

impl Converge {
    /// The cluster with these settings and hosts.
    pub fn create(request: ClusterCreate) -> Self {
        let ClusterCreate { control_plane, workers, etcd, control_plane_rpms, worker_rpms, settings, described } =
            request;
        let workers = if workers.is_empty() { control_plane.clone() } else { workers };
        Self {
            settings: Some(settings),
            described,
            etcd,
            ..Self::new(control_plane, workers, control_plane_rpms, worker_rpms)
        }
    }

    /// The cluster that stands, with these hosts beside its own.
    pub fn add(change: &ClusterChange) -> Self {
        let ClusterChange { control_plane, workers, control_plane_rpms, worker_rpms, .. } = change.clone();
        Self::new(control_plane, workers, control_plane_rpms, worker_rpms)
    }

    /// The cluster that stands, on these hosts of it.
    pub fn refresh(hosts: Vec<Target>, reason: &'static str) -> Self {
        let none = Self::new(Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { refresh: hosts, reason: Some(reason), ..none }
    }

    /// Where another operation of the job may bring a registry.
    #[must_use]
    pub fn beside_registry(self, comes: bool) -> Self {
        Self { registry_comes: comes, ..self }
    }

    /// With these hosts of it too.
    #[must_use]
    pub fn and_refresh(self, hosts: Vec<Target>) -> Self {
        let named = |t: &Target| self.control_plane.iter().all(|m| !m.same_host(t));
        let refresh = hosts.into_iter().filter(named).collect();
        Self { refresh, ..self }
    }

    fn new(
        control_plane: Vec<Target>,
        workers: Vec<Target>,
        control_plane_rpms: Vec<String>,
        worker_rpms: Vec<String>,
    ) -> Self {
        Self {
            control_plane,
            workers,
            refresh: Vec::new(),
            reason: None,
            settings: None,
            described: false,
            etcd: Vec::new(),
            control_plane_rpms,
            worker_rpms,
            control_plane_packages: Vec::new(),
            worker_packages: Vec::new(),
            images: Vec::new(),
            manifests: Vec::new(),
            flannel: None,
            before: None,
            own_etcd: None,
            known_registries: Registries::default(),
            served: Vec::new(),
            registry_comes: false,
            after: None,
            former: None,
        }
    }
}
