//! Components: each is the whole truth about one thing on a host of the cluster. What a host is given, and what it loses
//! with a role, both follow from which components it has.

use std::sync::Arc;

use payload::Bundle;

use crate::deliver::Delivery;
use crate::flow::registry::Served;
use crate::flow::rpms;
use crate::host::{Facts, HostId, Probe};
use crate::packages::Wanted;
use crate::plan::{Owned, Step, StepId};
use crate::resource::{FileSpec, Files, Image, Reads, Unit};

use super::images;
use super::keys::ClusterKeys;
use super::kubeadm::Former;
use super::manifest::Manifest;
use super::options;
use super::pod_network::{self, PodNetwork};
use super::registries;
use super::runtime::{self, ContainerRuntime};
use super::state::{Cluster, Machine, Node};

/// One thing on a host.
pub(super) trait Component: Sync {
    /// Whether this host has it.
    fn is_on(&self, on: &On<'_>) -> bool;

    /// Packages that it needs beside those of the host's roles.
    fn packages(&self, _: &On<'_>) -> Vec<Wanted> {
        Vec::new()
    }

    /// What it asks of a host beside the facts that every host tells.
    fn probe(&self) -> Probe {
        Probe::default()
    }

    /// The steps that make it so, in order.
    fn steps(&self, on: &On<'_>) -> Vec<Step>;

    /// What is removed with the component: what its steps own.
    fn owns(&self, on: &On<'_>) -> Vec<Owned> {
        self.steps(on).iter().flat_map(|step| step.work.owns()).collect()
    }
}

/// What the bundle and the request bring, the same for every host.
#[derive(Debug)]
pub(super) struct Supply<'a> {
    pub bundle: Option<&'a Bundle>,
    pub images: &'a [Image],
    pub manifests: &'a [Manifest],
    pub delivery: &'a Delivery,
    /// Registries beside the run's own.
    pub registries: &'a [Served],
    /// The settings of components that the cluster had, where it stands and a file says how they are to be.
    pub former: Option<&'a Former>,
}

impl Supply<'_> {
    /// Whether the bundle has a package of this name for the host.
    pub(super) fn has(&self, package: &str, facts: &Facts) -> bool {
        rpms::for_host(self.bundle, facts).any(|id| id.name == package)
    }
}

/// What steps wait for on other hosts.
#[derive(Debug, Default)]
pub(super) struct Waits {
    /// etcd members that answer: those that this job touches.
    pub etcd: Vec<StepId>,
    /// API servers that answer: those of this run.
    pub api: Vec<StepId>,
    /// The list of the cluster's hosts, in the cluster.
    pub published: Option<StepId>,
    /// The hosts of this run that the cluster's DNS answers.
    pub dns: Vec<StepId>,
    /// kubeadm's configuration in the cluster, as those need it that join.
    pub configured: Vec<StepId>,
    /// The site's files on the control plane nodes.
    pub site_files: Vec<StepId>,
    /// The settings of the control plane nodes that come before this host; of all of them.
    pub settled: Vec<StepId>,
    pub all_settled: Vec<StepId>,
    /// API servers that read secrets with a new key: all of them.
    pub readable: Vec<StepId>,
    /// Those that write with it: of the control plane nodes that come before this host; all of them.
    pub written: Vec<StepId>,
    pub all_written: Vec<StepId>,
    /// The last step of the control plane node before this one, where they are worked on one after the other.
    pub before: Option<StepId>,
}

/// A host of a cluster, and what is known where its steps are decided.
#[derive(Clone, Copy)]
pub(super) struct On<'a> {
    pub cluster: &'a Cluster,
    pub host: &'a HostId,
    pub facts: &'a Facts,
    pub keys: &'a ClusterKeys,
    pub supply: &'a Supply<'a>,
    pub waits: &'a Waits,
    /// The list of the cluster's hosts, the same for every host.
    pub list: &'a Arc<[u8]>,
    /// It publishes what the whole cluster is to know.
    pub publishes: bool,
}

impl<'a> On<'a> {
    pub(super) fn control_plane(&self) -> Option<&'a Machine> {
        self.cluster.control_plane.get(self.host)
    }

    pub(super) fn node(&self) -> Option<&'a Node> {
        self.cluster.workers.get(self.host)
    }

    /// What the cluster knows of it, whatever its roles are.
    pub(super) fn machine(&self) -> Option<&'a Machine> {
        self.control_plane().or(self.node().map(|node| &node.machine))
    }

    /// Whether pods run on it: those of the control plane too, where it is made of pods.
    pub(super) fn runs_pods(&self) -> bool {
        let control_plane = || self.control_plane().is_some() && self.cluster.distribution.rules().runs_control_plane();
        self.node().is_some() || control_plane()
    }

    /// Whether this host begins the cluster; every other one joins it. A control plane that consists of one host begins again
    /// where that was made anew: its data is in etcd, outside of it.
    pub(super) fn begins(&self) -> bool {
        let cluster = self.cluster;
        let is_first = cluster.control_plane.keys().next() == Some(self.host);
        is_first && (!cluster.standing || cluster.control_plane.len() == 1)
    }

    /// The image that holds a pod's namespaces, when the bundle brings one.
    pub(super) fn pause(&self) -> Option<&'a str> {
        images::pause(self.supply.images, self.cluster.minor)
    }

    /// The cgroup driver of the runtime and the kubelet, which must be the same.
    pub(super) fn cgroup_driver(&self) -> &'static str {
        self.runtime().cgroup_driver(self)
    }

    /// Whether the kubelet's clean-up leaves the bundle's images alone.
    pub(super) fn keeps_pinned_images(&self) -> bool {
        self.cluster.minor >= options::since::PINNED_IMAGES && self.runtime().pins_images(self)
    }

    /// What runs its containers.
    pub(super) fn runtime(&self) -> &'static dyn ContainerRuntime {
        runtime::of(self.cluster)
    }

    /// What connects its pods.
    pub(super) fn network(&self) -> &'static dyn PodNetwork {
        pod_network::of(&self.cluster.network)
    }

    /// The file by which its kubelet logs in to registries, where the runtime cannot.
    pub(super) fn registry_login(&self) -> Option<FileSpec> {
        registries::login(self.cluster, self.supply.registries)
    }

    /// A step on this host.
    pub(super) fn step(&self, what: &str, title: impl Into<String>, work: impl crate::plan::Work + 'static) -> Step {
        Step::on(self.host, what, title, work)
    }

    /// Files, then the unit that reads them.
    pub(super) fn service(&self, name: &str, title: &str, files: Files) -> [Step; 2] {
        let reads = Reads::Files(files.clone());
        [
            self.step(&format!("{name}.configure"), format!("configure {title}"), files),
            self.step(&format!("{name}.start"), format!("start {title}"), unit(name, reads)).weight(3),
        ]
    }
}

/// A unit that is to be ready when its step ends.
pub(super) fn unit(name: &str, reads: Reads) -> Unit {
    Unit { name: format!("{name}.service"), reads, timeout: super::plan::START, wait: true }
}

/// Packages of the components that a host has.
pub(super) fn packages(components: &[&dyn Component], on: &On<'_>) -> Vec<Wanted> {
    components.iter().filter(|c| c.is_on(on)).flat_map(|c| c.packages(on)).collect()
}

/// The steps of the components that a host has.
pub(super) fn steps(components: &[&dyn Component], on: &On<'_>) -> Vec<Step> {
    components.iter().filter(|c| c.is_on(on)).flat_map(|c| c.steps(on)).collect()
}

/// What a host has by its components.
pub(super) fn owned(components: &[&dyn Component], on: &On<'_>) -> Vec<Owned> {
    components.iter().filter(|c| c.is_on(on)).flat_map(|c| c.owns(on)).collect()
}
