//! `cluster create`: masters and nodes, or the cluster that stands brought to what it should be. `cluster add` is the same
//! for hosts that are to join the cluster that stands.

use std::collections::{BTreeMap, BTreeSet};

use payload::Bundle;

use crate::flow::error::FlowError;
use crate::flow::etcd;
use crate::flow::problem::Problem;
use crate::flow::request::{ClusterChange, ClusterCreate, ClusterRemove, ClusterSettings, Network, Runtime};
use crate::flow::rpms;
use crate::flow::scene::{Asked, Flow, Scene};
use crate::flow::state::Environment;
use crate::host::Target;
use crate::plan::{HostState, Plan, RunReport};
use crate::repo::Wanted;

use super::images::{self, Image};
use super::manifest::{self, Manifest};
use super::plan::{Means, make_plan};
use super::state::{Cluster, Machine, Node};
use super::{access, dns, endpoint, flannel, preflight, version};

const HAPROXY: &str = "haproxy";
const KEEPALIVED: &str = "keepalived";
const CHRONY: &str = "chrony";

/// Creates a Kubernetes cluster, or adds hosts to it.
#[derive(Debug)]
pub struct Create {
    request: ClusterCreate,
    /// Only hosts are added; the cluster must stand.
    adding: bool,
    /// Members come or go by an earlier operation of the same job: every API server is to learn of it.
    etcd_changes: bool,
    /// Hosts named for their credentials only.
    also: Vec<Target>,
    /// Masters that an earlier operation of the same job takes out.
    leaving: Vec<String>,
    master_packages: Vec<Wanted>,
    node_packages: Vec<Wanted>,
    images: Vec<Image>,
    manifests: Vec<Manifest>,
    network: Network,
    known: Option<Cluster>,
    /// Masters of the cluster that must be told of something, beside the hosts of the request.
    others: Vec<Target>,
}

impl Create {
    pub fn new(request: ClusterCreate) -> Self {
        Self {
            request,
            adding: false,
            etcd_changes: false,
            also: Vec::new(),
            leaving: Vec::new(),
            master_packages: Vec::new(),
            node_packages: Vec::new(),
            images: Vec::new(),
            manifests: Vec::new(),
            network: Network::Auto,
            known: None,
            others: Vec::new(),
        }
    }

    /// Adds hosts to the environment's cluster.
    pub fn add(change: ClusterChange) -> Self {
        let ClusterChange { masters, nodes, etcd, master_rpms, node_rpms, etcd_rpms: _, also } = change;
        let settings = ClusterSettings::default();
        let request = ClusterCreate { masters, nodes, etcd: Vec::new(), master_rpms, node_rpms, settings };
        Self { adding: true, etcd_changes: !etcd.is_empty(), also, ..Self::new(request) }
    }

    /// Tells the API servers that stay of the etcd members that stay.
    pub fn tell(change: &ClusterRemove) -> Self {
        let leaving = change.masters.iter().map(|t| t.address.to_string()).collect();
        let also = change.also.clone();
        Self { etcd_changes: true, leaving, ..Self::add(ClusterChange { also, ..ClusterChange::default() }) }
    }

    fn nodes(&self) -> &[Target] {
        if self.request.nodes.is_empty() && !self.adding { &self.request.masters } else { &self.request.nodes }
    }

    /// Masters run a kubelet only when they are nodes too. What a host was before this run it stays.
    fn is_node(&self, host: &str) -> bool {
        self.nodes().iter().any(|t| t.address.to_string() == host)
            || self.known.as_ref().is_some_and(|k| k.nodes.contains_key(host))
    }

    fn is_master(&self, host: &str) -> bool {
        self.request.masters.iter().any(|t| t.address.to_string() == host)
            || self.known.as_ref().is_some_and(|k| k.masters.contains_key(host))
    }

    /// Masters that are not in the request, when every API server is to learn of other etcd members.
    fn masters_to_tell(&self, asked: &Asked<'_>) -> Result<Vec<Target>, FlowError> {
        let Some(known) = self.known.as_ref().filter(|_| self.etcd_changes) else { return Ok(Vec::new()) };
        let tell = |host: &&String| {
            self.request.masters.iter().all(|t| t.address.to_string() != **host) && !self.leaving.contains(host)
        };
        asked.logins(
            known.masters.keys().filter(tell),
            &self.also,
            "their API servers must be updated with the etcd members",
        )
    }

    fn choose_packages(&mut self, bundle: Option<&Bundle>) -> Result<(), FlowError> {
        self.master_packages =
            packages(&self.request.master_rpms, "-fm", &["kubernetes-master", "kubernetes-client"], bundle)?;
        need(&self.master_packages, "kubernetes-master", "-fm")?;
        let runtime = if self.containerd(bundle) { "containerd" } else { "docker" };
        let names = [runtime, "kubernetes-node", "kubernetes-client", "containernetworking-plugins"];
        self.node_packages = packages(&self.request.node_rpms, "-fn", &names, bundle)?;
        need(&self.node_packages, "kubernetes-node", "-fn")?;
        // With a bundle at hand what it lacks would come from the internet, which is not there: said before any host is
        // touched.
        for (wanted, option) in [(&self.master_packages, "-fm"), (&self.node_packages, "-fn")] {
            for package in wanted.iter().filter(|w| matches!(w, Wanted::Name(n) if n.starts_with("kubernetes-"))) {
                if bundle.is_some() && !rpms::in_bundle(bundle, package.name()) {
                    return Err(FlowError::request_with_help(
                        format!("the bundle has no package {}", package.name()),
                        format!("name its rpm with {option}, or put it into the bundle: `bundle repack --add FILE`"),
                    ));
                }
            }
        }
        Ok(())
    }

    /// Hosts that are in the cluster already are said; a second master needs an endpoint that nodes find it by.
    fn check_joining(&self, asked: &Asked<'_>) -> Result<Vec<Problem>, FlowError> {
        let Some(known) = &self.known else { return Err(no_cluster(asked.environment)) };
        let new = |t: &&Target| !known.masters.contains_key(&t.address.to_string());
        let settings = &known.settings;
        let shared = known.balanced || settings.api_endpoint.is_some() || settings.api_vip.is_some();
        if !shared && self.request.masters.iter().any(|t| new(&t)) {
            return Err(FlowError::request_with_help(
                "the nodes of this cluster know its one master only, so another would be of no use",
                "put haproxy into the bundle (`bundle repack --add FILE`) and run `cluster create` again with all hosts",
            ));
        }
        let there = |hosts: &[Target], is: &dyn Fn(&str) -> bool, what: &str| -> Vec<Problem> {
            let hosts = hosts.iter().map(|t| t.address.to_string()).filter(|h| is(h));
            hosts.map(|h| Problem::info(&h, format!("is a {what} of the cluster already"))).collect()
        };
        let mut problems = there(&self.request.masters, &|h| known.masters.contains_key(h), "master");
        problems.extend(there(&self.request.nodes, &|h| known.nodes.contains_key(h), "node"));
        Ok(problems)
    }

    /// The cluster as it is to be: what is kept, and a place for every host of the request.
    fn settle(&self, scene: &Scene<'_>) -> Result<Cluster, FlowError> {
        let planned = scene.cluster();
        let mut cluster = match planned.as_ref().or(self.known.as_ref()) {
            Some(known) => Cluster { etcd: access::again(known, scene)?, ..known.clone() },
            None => Cluster {
                settings: self.request.settings.clone(),
                network: self.network.clone(),
                etcd: access::first(&self.request.etcd, scene)?,
                minor: version::minor(&self.master_packages, scene),
                containerd: self.containerd(scene.bundle),
                balanced: false,
                standing: false,
                dns: None,
                masters: BTreeMap::new(),
                nodes: BTreeMap::new(),
            },
        };
        cluster.balanced = self.balanced(scene.bundle);
        // Manifests are applied by a master of this run.
        if !self.request.masters.is_empty() {
            cluster.dns = dns::address(&self.manifests).or(cluster.dns);
        }
        if !self.adding {
            cluster.settings.registry_mirrors.clone_from(&self.request.settings.registry_mirrors);
            cluster.settings.insecure_registries.clone_from(&self.request.settings.insecure_registries);
        }
        for target in &self.request.masters {
            cluster.masters.insert(target.address.to_string(), machine(target, scene)?);
        }
        for target in self.nodes() {
            let host = target.address.to_string();
            let subnet = cluster.nodes.get(&host).map_or_else(|| cluster.free_subnet(), |n| n.subnet);
            cluster.nodes.insert(host, Node { machine: machine(target, scene)?, subnet });
        }
        if cluster.nodes.values().any(|n| n.subnet >= cluster.room()) {
            return Err(FlowError::request(format!(
                "the pod network {} has room for {} nodes only",
                cluster.settings.pod_cidr,
                cluster.room()
            )));
        }
        Ok(cluster)
    }

    /// Whether containerd runs the pods by itself.
    fn containerd(&self, bundle: Option<&Bundle>) -> bool {
        match (&self.known, self.request.settings.runtime) {
            (Some(known), _) => known.containerd,
            (None, Runtime::Docker) => false,
            (None, Runtime::Containerd) => true,
            (None, Runtime::Auto) => version::named(&self.master_packages, bundle).is_some_and(|minor| minor >= 24),
        }
    }

    /// Whether every node reaches the API by a haproxy of its own: also with one master, when haproxy is at hand, so that
    /// masters can come and go later.
    fn balanced(&self, bundle: Option<&Bundle>) -> bool {
        let known = self.known.as_ref();
        let settings = known.map_or(&self.request.settings, |k| &k.settings);
        if settings.api_endpoint.is_some() || settings.api_vip.is_some() {
            return false;
        }
        let masters = self.request.masters.iter().map(|t| t.address.to_string());
        let all: BTreeSet<String> = masters.chain(known.into_iter().flat_map(|k| k.masters.keys().cloned())).collect();
        match known {
            // Hosts that are not in this run would not learn of it.
            Some(known) if self.adding => known.balanced,
            Some(known) if known.balanced => true,
            _ => all.len() > 1 || rpms::in_bundle(bundle, HAPROXY),
        }
    }
}

fn machine(target: &Target, scene: &Scene<'_>) -> Result<Machine, FlowError> {
    let host = target.address.to_string();
    let facts = scene.hosts.get(&host).map(|h| &h.facts);
    let address = facts.and_then(|f| etcd::member_address(target, f)).filter(|ip| preflight::ipv4(*ip).is_some());
    match (facts, address) {
        (Some(facts), Some(address)) => Ok(Machine { name: facts.hostname.to_ascii_lowercase(), address }),
        _ => Err(FlowError::Failed {
            error: format!("{host} has no IPv4 address that the others could reach"),
            help: Some("give it an address and a default route".to_owned()),
        }),
    }
}

/// Packages named, else those of the bundle among the ones that belong to the role.
fn packages(files: &[String], option: &str, names: &[&str], bundle: Option<&Bundle>) -> Result<Vec<Wanted>, FlowError> {
    if !files.is_empty() {
        return rpms::from_files(files, option, bundle);
    }
    Ok(rpms::by_name(names.iter().copied()))
}

fn need(wanted: &[Wanted], name: &str, option: &str) -> Result<(), FlowError> {
    if wanted.iter().any(|w| w.name() == name) {
        return Ok(());
    }
    Err(FlowError::request_with_help(
        format!("the rpms given with {option} lack {name}"),
        format!("add its file to {option}, or leave {option} away to install by name"),
    ))
}

impl Flow for Create {
    fn title(&self) -> String {
        let (masters, nodes) = (self.request.masters.len(), self.nodes().len());
        match (self.adding, masters + nodes) {
            (false, _) => format!("create the Kubernetes cluster of {masters} master(s), {nodes} node(s)"),
            (true, 0) => "update the API servers' list of etcd members".to_owned(),
            (true, _) => format!("add {masters} master(s), {nodes} node(s) to the Kubernetes cluster"),
        }
    }

    fn targets(&self) -> Vec<Target> {
        let mut targets = self.request.masters.clone();
        let more = self.nodes().iter().filter(|n| !self.is_master(&n.address.to_string()));
        targets.extend(more.cloned());
        targets.extend(self.others.clone());
        targets
    }

    fn check_request(&mut self, asked: &Asked<'_>) -> Result<Vec<Problem>, FlowError> {
        let bundle = asked.bundle;
        self.known = Cluster::load(asked.environment)?;
        match (&self.known, self.adding) {
            (None, true) => return Err(no_cluster(asked.environment)),
            (Some(known), true) => self.request.settings = known.settings.clone(),
            (_, false) => preflight::check_request(&self.request, bundle)?,
        }
        self.network = match (&self.known, &self.request.settings.network) {
            (Some(known), _) => known.network.clone(),
            (None, Network::Auto) if rpms::in_bundle(bundle, flannel::PACKAGE) => Network::Flannel,
            (None, Network::Auto) => Network::Direct,
            (None, other) => other.clone(),
        };
        self.images = images::in_bundle(bundle)?;
        self.manifests = manifest::in_bundle(bundle, &self.network)?;
        if self.known.is_none() {
            dns::check(&self.manifests, &self.request.settings)?;
        }
        self.others = self.masters_to_tell(asked)?;
        self.choose_packages(bundle)?;
        let mut problems = preflight::check_kept(self.known.as_ref(), &self.request);
        if self.adding {
            problems.extend(self.check_joining(asked)?);
        }
        Ok(problems)
    }

    fn packages(&self, scene: &Scene<'_>) -> Result<BTreeMap<String, Vec<Wanted>>, FlowError> {
        let (balanced, chrony) = (self.balanced(scene.bundle), rpms::in_bundle(scene.bundle, CHRONY));
        let vip = self.known.as_ref().map_or(&self.request.settings, |k| &k.settings).api_vip.is_some();
        let mut all: BTreeMap<String, Vec<Wanted>> = BTreeMap::new();
        for host in self.targets().iter().map(|t| t.address.to_string()) {
            let (master, node) = (self.is_master(&host), self.is_node(&host));
            let mut wanted = Vec::new();
            let mut want = |yes: bool, packages: &[Wanted]| {
                for package in packages.iter().filter(|_| yes) {
                    if !wanted.contains(package) {
                        wanted.push(package.clone());
                    }
                }
            };
            want(master, &self.master_packages);
            want(node, &self.node_packages);
            want(node && balanced, &rpms::by_name([HAPROXY]));
            // etcdctl comes with etcd.
            want(node && self.network == Network::Flannel, &rpms::by_name([flannel::PACKAGE, "etcd"]));
            want(master && vip, &rpms::by_name([KEEPALIVED]));
            want(chrony, &rpms::by_name([CHRONY]));
            all.insert(host, wanted);
        }
        Ok(all)
    }

    fn preflight(&self, scene: &Scene<'_>) -> Result<Vec<Problem>, FlowError> {
        let minor = self.known.as_ref().map_or_else(|| version::minor(&self.master_packages, scene), |k| k.minor);
        let mut problems = preflight::check_hosts(&self.targets(), &self.request, minor, scene);
        problems.extend(self.known.iter().flat_map(|known| preflight::check_taken(&self.targets(), known, scene)));
        Ok(problems)
    }

    fn plan(&mut self, scene: &Scene<'_>) -> Result<Plan, FlowError> {
        let cluster = self.settle(scene)?;
        let means = Means {
            packages: &self.packages(scene)?,
            images: &self.images,
            manifests: &self.manifests,
            chrony: rpms::in_bundle(scene.bundle, CHRONY),
            standing: self.known.as_ref().is_some_and(|k| k.standing),
        };
        let plan = make_plan(&cluster, &means, scene)?;
        if !scene.options.dry_run {
            cluster.save(scene.environment)?;
        }
        self.known = Some(cluster);
        Ok(plan)
    }

    fn finish(&mut self, scene: &Scene<'_>, report: &RunReport) -> Result<Vec<String>, FlowError> {
        let Some(cluster) = &mut self.known else { return Ok(Vec::new()) };
        let good = |host: &String| report.hosts.iter().any(|h| h.host == *host && h.result == HostState::Ok);
        if !cluster.standing && cluster.masters.keys().any(good) {
            cluster.standing = true;
            cluster.save(scene.environment)?;
        }
        if report.hosts.iter().any(|h| h.result != HostState::Ok) {
            return Ok(Vec::new());
        }
        let (masters, nodes) = (cluster.masters.len(), cluster.nodes.len());
        let url = endpoint::for_people(cluster);
        let network = match &cluster.network {
            Network::Manifest(name) => format!("{name}, from the bundle"),
            Network::Flannel => "flannel".to_owned(),
            _ => "direct: a bridge on every node and routes between them".to_owned(),
        };
        Ok(vec![
            format!("Kubernetes: {masters} master(s), {nodes} node(s), API at {url}"),
            format!("Kubernetes: pod network {network}"),
            "Kubernetes: log in to any master as root, and `kubectl get nodes` answers".to_owned(),
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
