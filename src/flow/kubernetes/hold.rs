//! The cluster's packages stay as they are when the site updates its hosts: an upgrade of Kubernetes has an order of its own.

use crate::plan::Step;
use crate::resource::Hold;

use super::component::{Component, On};
use super::runtime;

/// The component: the packages of the host's roles and of its runtime are kept from updates.
pub(super) struct PackageHold;

impl Component for PackageHold {
    fn is_on(&self, _: &On<'_>) -> bool {
        true
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let rules = on.cluster.distribution.rules();
        let mut packages: Vec<&str> = Vec::new();
        if on.control_plane().is_some() {
            packages.extend(rules.control_plane_packages());
        }
        if on.node().is_some() {
            packages.extend(rules.worker_packages());
        }
        if on.runs_pods() {
            let coming = runtime::package(on.cluster.containerd, on.supply.bundle);
            let is_there = |package: &&&str| **package == coming || on.facts.packages.contains_key(**package);
            packages.extend(on.runtime().packages().iter().filter(is_there));
        }
        packages.sort_unstable();
        packages.dedup();
        let hold = Hold(packages.into_iter().map(str::to_owned).collect());
        vec![on.step("packages.hold", "keep the host's updates from changing the cluster's packages", hold)]
    }
}
