//! What a run brings of images and registries: whether hosts have the space for them, and which registries nodes know.

use std::collections::BTreeMap;

use payload::Bundle;

use super::super::component::Supply;
use super::super::plan::{Hosts, RolesPackages};
use super::super::state::Cluster;
use super::super::{images, kept_registry, manifest_check, registries, runtime, stub_domains};
use super::Converge;
use crate::deliver::Delivery;
use crate::flow::disk_space::DiskSpace;
use crate::flow::error::FlowError;
use crate::flow::problem::Problem;
use crate::flow::request::Network;
use crate::flow::scene::{Scene, Seen};
use crate::host::HostId;
use crate::plan::RunHost;
use crate::resource::{Files, Store};

impl Converge {
    pub(super) fn roles_packages(&self) -> RolesPackages<'_> {
        RolesPackages { control_plane: &self.control_plane_packages, worker: &self.worker_packages }
    }

    pub(super) fn supply<'a>(&'a self, bundle: Option<&'a Bundle>, delivery: &'a Delivery) -> Supply<'a> {
        let (images, manifests, registries) = (&self.images, &self.manifests, &self.served);
        Supply { bundle, images, manifests, delivery, registries, former: self.former.as_ref() }
    }

    /// What manifests of the bundle need and are for. A cluster that stands may have images of an earlier bundle.
    pub(super) fn check_manifests(
        &self,
        network: &Network,
        bundle: Option<&Bundle>,
    ) -> Result<Vec<Problem>, FlowError> {
        // Only a control plane node of this run applies them.
        if self.control_plane.is_empty() {
            return Ok(Vec::new());
        }
        let mut problems = Vec::new();
        let settings = self.settings();
        if let (Network::Manifest(_), Some(manifest)) = (network, self.manifests.first()) {
            match &self.before {
                None => manifest_check::check_network(manifest, settings.pods())?,
                Some(_) => {
                    let other = manifest_check::other_network(manifest, settings.pods());
                    let help = "take a bundle whose manifest has the cluster's network";
                    problems.extend(other.map(|text| Problem::warning(None, text, Some(help.to_owned()))));
                }
            }
        }
        let asked = self.settings.as_ref().unwrap_or(&settings);
        // Without a bundle at hand what an earlier one brought stays as it is.
        let is_kept = self.manifests.is_empty()
            && self.before.as_ref().is_some_and(|known| known.settings.stub_domains == asked.stub_domains);
        let is_addon = !self.distribution(bundle).rules().runs_control_plane();
        if is_addon && !is_kept {
            stub_domains::check_addons(&self.manifests, &asked.stub_domains)?;
        }
        let registries = &self.known_registries;
        let elsewhere = self.before.as_ref().is_some_and(|known| known.standing)
            || self.registry_comes
            || registries.own.is_some()
            || registries.site.is_some()
            || !asked.registry_mirrors.is_empty()
            || !asked.insecure_registries.is_empty();
        let mut there = images::names(&self.images);
        there.extend(self.before.iter().flat_map(|known| known.images.iter().cloned()));
        problems.extend(manifest_check::check_images(&self.manifests, &there, elsewhere)?);
        Ok(problems)
    }

    /// What images take of the hosts of this run that will run pods and have none yet, and of those that will serve the cluster's.
    pub(super) fn images_room(&self, scene: &Scene<'_>) -> BTreeMap<HostId, Vec<DiskSpace>> {
        let cluster = self.outline(self.before.as_ref(), scene.bundle);
        let Hosts { control_plane, mut workers } = self.hosts();
        if cluster.distribution.rules().runs_control_plane() {
            workers.extend(control_plane);
        }
        let mut all: BTreeMap<HostId, Vec<DiskSpace>> = BTreeMap::new();
        for host in workers.iter().filter_map(|host| scene.hosts.get(host)) {
            if let Some(store) = empty_store(&cluster, host) {
                let folder = cluster.settings.data_root.as_deref().unwrap_or(store.folder());
                all.insert(host.host.name().clone(), vec![images::disk_space(folder, &self.images)]);
            }
        }
        for host in self.new_keepers(&cluster, scene) {
            all.entry(host.host.name().clone()).or_default().push(kept_registry::disk_space(&self.images));
        }
        all
    }

    /// Control plane nodes of this run that will serve the cluster's images: those that did already have what they need.
    pub(super) fn check_kept_registry(&self, scene: &Scene<'_>) -> Vec<Problem> {
        let cluster = self.outline(self.before.as_ref(), scene.bundle);
        self.new_keepers(&cluster, scene).into_iter().flat_map(kept_registry::check_host).collect()
    }

    fn new_keepers<'s>(&self, cluster: &Cluster, scene: &'s Scene<'_>) -> Vec<&'s RunHost> {
        let known = |host: &HostId| self.before.as_ref().is_some_and(|known| known.keeps_registry(host));
        let hosts = self.hosts().control_plane;
        let hosts = hosts.iter().filter(|host| cluster.keeps_registry(host) && !known(host));
        hosts.filter_map(|host| scene.hosts.get(host)).collect()
    }

    /// An earlier operation of the job may have brought or removed one.
    pub(super) fn learn_registries(&mut self, cluster: &Cluster, seen: &Seen<'_>) {
        self.known_registries.learn(seen);
        self.served = self.known_registries.served(&seen.pki);
        self.served.extend(kept_registry::served(cluster, &seen.pki));
    }

    /// The hosts of this run that will run pods, with the files that tell their runtimes of registries.
    pub(super) fn registries<'s>(&self, cluster: &Cluster, scene: &'s Scene<'_>) -> Vec<(&'s RunHost, Files)> {
        let Hosts { mut workers, control_plane } = self.hosts();
        if cluster.distribution.rules().runs_control_plane() {
            workers.extend(control_plane);
        }
        let files = registries::files(cluster, &self.served);
        workers.iter().filter_map(|host| Some((scene.hosts.get(host)?, files.clone()))).collect()
    }
}

/// The store of a host without the runtime, which has none of the images; what another lacks is seen when they are brought.
fn empty_store(cluster: &Cluster, host: &RunHost) -> Option<&'static Store> {
    let runtime = runtime::of(cluster);
    let is_new = !runtime.packages().iter().any(|name| host.facts.packages.contains_key(*name));
    is_new.then(|| runtime.images())
}
