//! A cluster and its hosts brought to what they should be: created by `cluster create`, given hosts by `cluster add`, or as it
//! stands, where certificates or etcd's members have changed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use payload::Bundle;

use crate::flow::clocks;
use crate::flow::disk_space::DiskSpace;
use crate::flow::error::FlowError;
use crate::flow::etcd;
use crate::flow::job::stop_at_problems;
use crate::flow::names;
use crate::flow::problem::Problem;
use crate::flow::registry::{Registries, Served};
use crate::flow::request::ClusterSettings;
use crate::flow::scene::{Asked, Flow, Scene, Seen};
use crate::flow::state::Environment;
use crate::host::{Facts, HostId, Target};
use crate::packages::Wanted;
use crate::plan::{Plan, RunReport};
use crate::resource::Image;

use super::images;
use super::kubeadm::Former;
use super::manifest::Manifest;
use super::plan::{make_plan, wanted_packages};
use super::state::{Cluster, EtcdAccess, Machine, Node};
use super::{
    access, dns, endpoint, families, flannel_builtin, kept_registry, pod_network, preflight, proxy_mode, registries,
    state, version,
};

mod flannel;
mod newcomers;
mod places;
mod requests;
mod site_settings;
mod supplies;
mod versions;

/// Brings a Kubernetes cluster to what it should be.
#[derive(Debug)]
pub struct Converge {
    pub(super) control_plane: Vec<Target>,
    pub(super) workers: Vec<Target>,
    /// Hosts that keep their roles, and are part of the run because something that they use has changed.
    refresh: Vec<Target>,
    /// Why they are; nothing when hosts are named for their own sake.
    reason: Option<&'static str>,
    /// What the cluster is made with; without, it must stand, and stays what it is.
    pub(super) settings: Option<ClusterSettings>,
    /// These are from a file, which says all that is to be set on components.
    described: bool,
    /// Members of an etcd cluster of the site.
    etcd: Vec<Target>,
    pub(super) control_plane_rpms: Vec<String>,
    pub(super) worker_rpms: Vec<String>,
    pub(super) control_plane_packages: Vec<Wanted>,
    pub(super) worker_packages: Vec<Wanted>,
    pub(super) images: Vec<Image>,
    manifests: Vec<Manifest>,
    /// Images of flannel's built-in manifest, where this run applies it.
    flannel: Option<flannel_builtin::Images>,
    /// As the control host knows the cluster and its etcd before the run, and the cluster as it is to be.
    pub(super) before: Option<Cluster>,
    own_etcd: Option<etcd::Cluster>,
    known_registries: Registries,
    /// What nodes are to know of them.
    served: Vec<Served>,
    /// Another operation of the job brings a registry.
    registry_comes: bool,
    after: Option<Cluster>,
    /// The settings of components that the cluster had, where others are to be applied.
    former: Option<Former>,
}

impl Converge {
    /// What the cluster is made with: once it is there, what it was made with.
    pub(super) fn settings(&self) -> ClusterSettings {
        let kept = self.before.as_ref().map(|known| &known.settings);
        kept.or(self.settings.as_ref()).cloned().unwrap_or_default()
    }

    /// The cluster as far as it follows from the request: a place for every host, before any host has been asked.
    fn outline(&self, known: Option<&Cluster>, bundle: Option<&Bundle>) -> Cluster {
        let mut cluster = known.cloned().unwrap_or_else(|| Cluster {
            settings: self.settings(),
            network: self.network(bundle),
            etcd: EtcdAccess { endpoints: Vec::new(), tls: false },
            minor: state::today(),
            distribution: self.distribution(bundle),
            version: String::new(),
            containerd: self.containerd(bundle),
            balanced: false,
            standing: false,
            dns: None,
            unfinished: None,
            flannel: None,
            had_stub_domains: false,
            kube_proxy_mode: None,
            images: BTreeSet::new(),
            control_plane: BTreeMap::new(),
            workers: BTreeMap::new(),
        });
        cluster.balanced = self.balanced(bundle);
        // Manifests are applied by a control plane node of this run.
        if !self.control_plane.is_empty() {
            cluster.dns = dns::address(&self.manifests).or(cluster.dns);
        }
        // A host that joins by another bundle says nothing of what the others are to have.
        if !self.images.is_empty() && (self.settings.is_some() || cluster.images.is_empty()) {
            cluster.images = images::names(&self.images);
        }
        if self.flannel.is_some() {
            cluster.flannel.clone_from(&self.flannel);
        }
        if let Some(settings) = &self.settings {
            cluster.settings.registry_mirrors.clone_from(&settings.registry_mirrors);
            cluster.settings.insecure_registries.clone_from(&settings.insecure_registries);
            cluster.settings.keep_registry = settings.keep_registry;
            let is_none = cluster.settings.stub_domains.is_empty() && settings.stub_domains.is_empty();
            cluster.had_stub_domains |= !is_none;
            cluster.settings.stub_domains.clone_from(&settings.stub_domains);
            if self.described {
                cluster.settings.flannel.clone_from(&settings.flannel);
            }
            self.set_components(&mut cluster, settings);
        }
        let unknown =
            |host: &str| Machine { name: host.to_owned(), address: Ipv4Addr::UNSPECIFIED.into(), second_address: None };
        for host in self.control_plane.iter().map(Target::id) {
            let machine = unknown(&host);
            cluster.control_plane.entry(host).or_insert(machine);
        }
        let mut free = cluster.free_subnets();
        for host in self.workers.iter().map(Target::id) {
            let machine = unknown(&host);
            cluster.workers.entry(host).or_insert_with(|| Node { machine, subnet: free.next().unwrap_or_default() });
        }
        cluster
    }

    /// The cluster as it is to be.
    fn decide(&self, seen: &Seen<'_>) -> Result<Cluster, FlowError> {
        let known = seen.cluster.as_ref().or(self.before.as_ref());
        let own_etcd = seen.etcd.as_ref().or(self.own_etcd.as_ref());
        let mut cluster = self.outline(known, seen.bundle);
        match known {
            Some(known) => cluster.etcd = access::again(known, own_etcd),
            None => {
                cluster.etcd = access::first(&self.etcd, own_etcd, &seen.environment.name)?;
                let facts = self.facts(&seen.facts);
                let facts = facts.iter().map(|(_, facts)| *facts);
                let all = facts.clone();
                let key = self.rules(seen.bundle).key_package();
                cluster.version =
                    version::of(key, &self.control_plane_packages, seen.bundle, facts).unwrap_or_default();
                cluster.minor = version::minor(&cluster.version).unwrap_or_else(state::today);
                if self.rules(seen.bundle).runs_control_plane() {
                    cluster.kube_proxy_mode = Some(proxy_mode::choose(all, cluster.minor).to_owned());
                }
                // Without a bundle the version is known from the hosts only.
                self.rules(seen.bundle).check_components(&cluster.settings.components, Some(cluster.minor))?;
                self.rules(seen.bundle).check_families(&cluster.settings, Some(cluster.minor))?;
            }
        }
        let mut images = std::mem::take(&mut cluster.images);
        images.retain(|name| !images::is_of_another_version(name, &cluster));
        cluster.images = images;
        self.place(&mut cluster, seen)?;
        if cluster.workers.values().any(|n| n.subnet >= cluster.most_nodes()) {
            return Err(FlowError::request(format!(
                "the pod network {} has addresses for {} nodes only",
                cluster.settings.pod_cidr,
                cluster.most_nodes()
            )));
        }
        Ok(cluster)
    }

    /// Of all hosts of the job those of this cluster.
    fn facts<'a>(&self, all: &BTreeMap<&'a HostId, &'a Facts>) -> Vec<(&'a HostId, &'a Facts)> {
        let hosts = self.targets().into_iter().map(|target| target.id());
        hosts.filter_map(|host| all.get_key_value(&host).map(|(host, facts)| (*host, *facts))).collect()
    }
}

impl Flow for Converge {
    fn title(&self) -> String {
        let (control_plane, workers) = (self.control_plane.len(), self.workers.len());
        match (&self.settings, self.reason) {
            (Some(_), _) => {
                format!(
                    "create the Kubernetes cluster of {control_plane} control plane node(s), {workers} worker node(s)"
                )
            }
            (None, Some(reason)) => reason.to_owned(),
            (None, None) => {
                format!("add {control_plane} control plane node(s), {workers} worker node(s) to the Kubernetes cluster")
            }
        }
    }

    fn targets(&self) -> Vec<Target> {
        let all = self.control_plane.iter().chain(&self.workers).chain(&self.refresh);
        let mut seen = BTreeSet::new();
        all.filter(|target| seen.insert(target.id())).cloned().collect()
    }

    fn check_request(&mut self, asked: &Asked<'_>) -> Result<Vec<Problem>, FlowError> {
        let bundle = asked.bundle;
        self.before = Cluster::load(asked.environment)?;
        self.own_etcd = etcd::Cluster::load(asked.environment)?;
        self.known_registries = Registries::load(asked.environment)?;
        match (&self.before, &self.settings) {
            (None, None) => return Err(no_cluster(asked.environment)),
            (_, Some(settings)) => preflight::check_request(&self.control_plane, settings)?,
            (Some(_), None) => {}
        }
        self.images = images::in_bundle(bundle)?;
        self.check_network(bundle)?;
        let network = self.network(bundle);
        self.flannel = self.builtin_flannel(&network, bundle)?;
        self.manifests = self.manifests(&network, bundle)?;
        if self.before.is_none() {
            self.rules(bundle).check(&self.control_plane, &self.settings(), &network, &self.manifests)?;
        }
        self.choose_packages(asked.places())?;
        self.check_families(bundle)?;
        let mut problems = self.check_components(bundle)?;
        problems.extend(self.check_manifests(&network, bundle)?);
        let outline = self.outline(self.before.as_ref(), bundle);
        if outline.settings.keep_registry {
            kept_registry::check(&outline)?;
        }
        self.former = self.former();
        let Some(known) = &self.before else { return Ok(problems) };
        self.check_roles(known)?;
        // With a new balancer on every node another control plane node is of use: all hosts are named then.
        if self.settings.is_none() || (known.standing && !known.distribution.rules().balances_later()) {
            self.check_endpoint(known)?;
        }
        problems.extend(match &self.settings {
            Some(settings) => preflight::check_kept(&known.settings, settings),
            None => self.there_already(known),
        });
        Ok(problems)
    }

    fn packages(&self, scene: &Scene<'_>) -> Result<BTreeMap<HostId, Vec<Wanted>>, FlowError> {
        let cluster = self.outline(self.before.as_ref(), scene.bundle);
        let (hosts, supply, facts) = (self.hosts(), self.supply(scene.bundle, &scene.delivery), scene.facts());
        Ok(wanted_packages(&cluster, &hosts, &self.roles_packages(), &supply, &facts))
    }

    fn preflight(&self, scene: &Scene<'_>) -> Result<Vec<Problem>, FlowError> {
        let key = self.rules(scene.bundle).key_package();
        let all = scene.facts();
        let facts = self.facts(&all);
        let version = self.version_seen(&facts, scene);
        let minor = version.as_deref().and_then(version::minor).unwrap_or_else(state::today);
        let new_control_plane: Vec<HostId> = self.control_plane.iter().map(Target::id).collect();
        let mut problems = preflight::check_hosts(&self.targets(), &new_control_plane, &self.settings(), minor, scene);
        let packages = &self.control_plane_packages;
        problems.extend(self.check_version(version.as_deref(), minor, scene));
        problems.extend(version::differing(key, packages, scene.bundle, facts.iter().copied()));
        let cluster = self.outline(self.before.as_ref(), scene.bundle);
        problems.extend(names::check(&self.targets(), &preflight::reserved(&cluster), scene)?);
        problems.extend(families::check_hosts(&self.placed(), &cluster, scene));
        problems.extend(preflight::check_address(&self.targets(), &cluster, scene));
        problems.extend(clocks::check(scene.hosts));
        problems.extend(self.check_kept_registry(scene));
        problems.extend(self.check_proxy_mode(&cluster, minor, &facts));
        problems.extend(self.check_pod_network(scene));
        problems.extend(self.check_runtime(scene));
        problems.extend(self.check_newcomers(scene));
        Ok(problems)
    }

    fn disk_space(&self, scene: &Scene<'_>) -> BTreeMap<HostId, Vec<DiskSpace>> {
        self.images_room(scene)
    }

    /// Which files of the site are in the way follows from the registry, which another operation may bring.
    fn observe(&mut self, scene: &Scene<'_>, seen: &mut Seen<'_>) -> Result<(), FlowError> {
        let mut cluster = self.outline(self.before.as_ref(), scene.bundle);
        self.place(&mut cluster, seen)?;
        self.learn_registries(&cluster, seen);
        stop_at_problems(registries::conflicts(&self.registries(&cluster, scene), scene), scene.events)
    }

    fn plan(&mut self, seen: &mut Seen<'_>) -> Result<Plan, FlowError> {
        let cluster = self.decide(seen)?;
        let delivery = seen.delivery.clone();
        self.learn_registries(&cluster, seen);
        let (hosts, supply) = (self.hosts(), self.supply(seen.bundle, &delivery));
        let packages = wanted_packages(&cluster, &hosts, &self.roles_packages(), &supply, &seen.facts);
        let standing = self.before.as_ref().is_some_and(|known| known.standing);
        let plan = make_plan(&cluster, packages, &supply, standing, seen);
        self.after = Some(cluster);
        Ok(plan)
    }

    /// A host that an operation before this one takes out stays known until it is out: a run that is killed before leaves it to
    /// the next one.
    fn keep(&self, environment: &Environment) -> Result<(), FlowError> {
        let Some(mut after) = self.after.clone() else { return Ok(()) };
        self.begin_settings(&mut after);
        self.before.iter().fold(after, Cluster::and_hosts_of).save(environment)
    }

    fn finish(&mut self, scene: &Scene<'_>, report: &RunReport) -> Result<Vec<String>, FlowError> {
        let Some(cluster) = &mut self.after else { return Ok(Vec::new()) };
        if !cluster.standing && cluster.control_plane.keys().any(|host| report.succeeded(host)) {
            cluster.standing = true;
            cluster.save(scene.environment)?;
        }
        if report.any_failed() {
            return Ok(Vec::new());
        }
        if report.ok && self.former.is_some() {
            cluster.end_settings(scene.environment)?;
        }
        let (control_plane, workers) = (cluster.control_plane.len(), cluster.workers.len());
        let (url, network) = (endpoint::for_people(cluster), pod_network::of(&cluster.network).name(cluster));
        Ok(vec![
            format!("Kubernetes: {control_plane} control plane node(s), {workers} worker node(s), API at {url}"),
            format!("Kubernetes: pod network {network}"),
            "Kubernetes: log in to any control plane node as root, and `kubectl get nodes` answers".to_owned(),
        ])
    }
}

/// Nothing to add to, remove from or ask.
pub(super) fn no_cluster(environment: &Environment) -> FlowError {
    FlowError::request_with_help(
        format!("environment {} has no Kubernetes cluster", environment.name),
        "create one with `cluster create`, or name another with --environment",
    )
}
