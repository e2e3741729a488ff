//! Which Kubernetes the hosts of a run get, and what its version keeps from working.

use super::super::version;
use super::Converge;
use crate::flow::problem::Problem;
use crate::flow::scene::Scene;
use crate::host::{Facts, HostId};

impl Converge {
    /// The cluster's version, as far as it is known before its packages are installed.
    pub(super) fn version_seen(&self, facts: &[(&HostId, &Facts)], scene: &Scene<'_>) -> Option<String> {
        if let Some(known) = &self.before {
            return Some(format!("1.{}", known.minor));
        }
        let key = self.rules(scene.bundle).key_package();
        version::of(key, &self.control_plane_packages, scene.bundle, facts.iter().map(|(_, facts)| *facts))
    }

    /// What is to be said of it.
    pub(super) fn check_version(&self, version: Option<&str>, minor: u32, scene: &Scene<'_>) -> Vec<Problem> {
        let rules = self.rules(scene.bundle);
        let runtime = || rules.check_runtime(minor, self.containerd(scene.bundle));
        rules.check_version(version).into_iter().chain(self.before.is_none().then(runtime).flatten()).collect()
    }
}
