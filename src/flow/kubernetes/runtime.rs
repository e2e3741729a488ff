//! What runs containers on a node, Docker or containerd by itself: chosen here, once.

use payload::Bundle;

use crate::flow::rpms;
use crate::host::{Facts, Probe};
use crate::plan::Step;
use crate::resource::{Files, Store};

use super::component::{Component, On};
use super::containerd::{self, Containerd};
use super::docker::{self, Docker};
use super::state::Cluster;

/// A program that runs containers.
pub(super) trait ContainerRuntime: Sync {
    /// As an operator reads it.
    fn title(&self) -> &'static str;

    /// Packages that bring it.
    fn packages(&self) -> &'static [&'static str];

    /// Its unit.
    fn unit(&self) -> &'static str;

    /// What it reads.
    fn files(&self, on: &On<'_>) -> Files;

    /// What must be there before it starts.
    fn before(&self, _: &On<'_>) -> Option<Step> {
        None
    }

    /// What a runtime that is in use already needs between being told something else and being started anew.
    fn before_restart(&self, _: &On<'_>) -> Option<Step> {
        None
    }

    /// What sets up the cgroups of its containers, and so must those of the kubelet: on cgroup v2 systemd has to be the only
    /// writer.
    fn cgroup_driver(&self, on: &On<'_>) -> &'static str {
        if on.facts.cgroup_version == 2 { "systemd" } else { "cgroupfs" }
    }

    /// The kubelet's options for it.
    fn kubelet_args(&self, on: &On<'_>) -> Vec<String>;

    /// Whether it pins the bundle's images and tells the kubelet so, whose clean-up then leaves them alone.
    fn pins_images(&self, _: &On<'_>) -> bool {
        false
    }

    /// Its images.
    fn images(&self) -> &'static Store;
}

/// The runtime of a cluster.
pub(super) fn of(cluster: &Cluster) -> &'static dyn ContainerRuntime {
    if cluster.containerd { &Containerd } else { &Docker }
}

/// Docker's own rpm of containerd, which also brings runc.
pub(super) const CONTAINERD_IO: &str = "containerd.io";

/// The package of the runtime; containerd comes as `containerd.io` where the bundle has that.
pub(super) fn package(containerd: bool, bundle: Option<&Bundle>) -> &'static str {
    match containerd {
        true if rpms::in_bundle(bundle, CONTAINERD_IO) => CONTAINERD_IO,
        true => "containerd",
        false => "docker",
    }
}

/// The component: the runtime of a node.
pub(super) struct NodeRuntime;

impl Component for NodeRuntime {
    fn is_on(&self, on: &On<'_>) -> bool {
        on.runs_pods()
    }

    fn probe(&self) -> Probe {
        Probe {
            units: &["docker.service"],
            folders: &["/var/lib/docker", "/var/lib/containerd"],
            files: &[docker::CONFIG, containerd::CONFIG],
        }
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let runtime = on.runtime();
        let [configure, start] = on.service(runtime.unit(), runtime.title(), runtime.files(on));
        let mut steps: Vec<Step> = runtime.before(on).into_iter().collect();
        steps.push(configure);
        steps.extend(runtime.before_restart(on));
        steps.push(start);
        steps
    }
}

/// The first number of a package's version: of the bundle's, else of that on the host.
pub(super) fn major(package: &str, bundle: Option<&Bundle>, facts: &Facts) -> Option<u32> {
    let first = |version: &str| version.split('.').next()?.parse().ok();
    let coming = rpms::newest(rpms::for_host(bundle, facts), package).and_then(|id| first(&id.version));
    coming.or_else(|| first(&facts.packages.get(package)?.version))
}
