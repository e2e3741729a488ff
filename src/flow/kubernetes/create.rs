//! `cluster create`: masters and nodes, or the cluster that stands brought to what it should be.

use std::collections::BTreeMap;

use payload::Bundle;

use crate::flow::error::FlowError;
use crate::flow::etcd;
use crate::flow::job::{Flow, Scene};
use crate::flow::problem::Problem;
use crate::flow::request::{ClusterCreate, Network};
use crate::flow::rpms;
use crate::flow::state::Environment;
use crate::host::Target;
use crate::plan::{HostState, Plan, RunReport};
use crate::repo::Wanted;

use super::images::{self, Image};
use super::plan::make_plan;
use super::state::{Cluster, EtcdAccess, Machine, Node};
use super::{endpoint, preflight};

/// Creates a Kubernetes cluster.
#[derive(Debug)]
pub struct Create {
    request: ClusterCreate,
    master_packages: Vec<Wanted>,
    node_packages: Vec<Wanted>,
    images: Vec<Image>,
    network: Network,
    known: Option<Cluster>,
}

impl Create {
    pub fn new(request: ClusterCreate) -> Self {
        Self {
            request,
            master_packages: Vec::new(),
            node_packages: Vec::new(),
            images: Vec::new(),
            network: Network::Auto,
            known: None,
        }
    }

    fn nodes(&self) -> &[Target] {
        if self.request.nodes.is_empty() { &self.request.masters } else { &self.request.nodes }
    }

    /// Masters run a kubelet only when they are nodes too.
    fn is_node(&self, host: &str) -> bool {
        self.nodes().iter().any(|t| t.address.to_string() == host)
    }

    fn is_master(&self, host: &str) -> bool {
        self.request.masters.iter().any(|t| t.address.to_string() == host)
    }

    /// The cluster as it is to be: what is kept, and a place for every host of the request.
    fn settle(&self, scene: &Scene<'_>) -> Result<Cluster, FlowError> {
        let mut cluster = match &self.known {
            Some(known) => known.clone(),
            None => Cluster {
                settings: self.request.settings.clone(),
                network: self.network.clone(),
                etcd: self.etcd_access(scene)?,
                masters: BTreeMap::new(),
                nodes: BTreeMap::new(),
            },
        };
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

    fn etcd_access(&self, scene: &Scene<'_>) -> Result<EtcdAccess, FlowError> {
        let own = match scene.etcd() {
            Some(cluster) => Some(cluster),
            None => etcd::Cluster::load(scene.environment)?,
        };
        let given: Vec<_> = self.request.etcd.iter().map(|t| t.address.to_string()).collect();
        match own {
            Some(cluster) if given.iter().all(|host| cluster.members.contains_key(host)) => {
                Ok(EtcdAccess { endpoints: cluster.endpoints(), tls: cluster.tls })
            }
            _ if !given.is_empty() => {
                let url = |t: &Target| format!("http://{}:{}", t.address.before_port(), etcd::CLIENT_PORT);
                Ok(EtcdAccess { endpoints: self.request.etcd.iter().map(url).collect(), tls: false })
            }
            _ => Err(FlowError::request_with_help(
                format!("environment {} has no etcd cluster, and none is named", scene.environment.name),
                "create one on the same line with -create_etcd_cluster, or name its members with -enl",
            )),
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
        format!(
            "create the Kubernetes cluster of {} master(s), {} node(s)",
            self.request.masters.len(),
            self.nodes().len()
        )
    }

    fn targets(&self) -> Vec<Target> {
        let mut targets = self.request.masters.clone();
        let more = self.nodes().iter().filter(|n| !self.is_master(&n.address.to_string()));
        targets.extend(more.cloned());
        targets
    }

    fn check_request(&mut self, environment: &Environment, bundle: Option<&Bundle>) -> Result<Vec<Problem>, FlowError> {
        preflight::check_request(&self.request, bundle)?;
        self.master_packages =
            packages(&self.request.master_rpms, "-fm", &["kubernetes-master", "kubernetes-client"], bundle)?;
        need(&self.master_packages, "kubernetes-master", "-fm")?;
        let names = ["docker", "kubernetes-node", "kubernetes-client", "containernetworking-plugins"];
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
        self.images = images::in_bundle(bundle)?;
        self.network = match &self.request.settings.network {
            Network::Auto => Network::Direct,
            other => other.clone(),
        };
        self.known = Cluster::load(environment)?;
        Ok(Vec::new())
    }

    fn packages(&self, _: &Scene<'_>) -> Result<BTreeMap<String, Vec<Wanted>>, FlowError> {
        let balanced = self.request.settings.api_endpoint.is_none() && self.request.masters.len() > 1;
        let mut all: BTreeMap<String, Vec<Wanted>> = BTreeMap::new();
        for host in self.targets().iter().map(|t| t.address.to_string()) {
            let mut wanted = Vec::new();
            if self.is_master(&host) {
                wanted.extend(self.master_packages.clone());
            }
            if self.is_node(&host) {
                wanted.extend(self.node_packages.clone());
            }
            if balanced {
                wanted.extend(rpms::by_name(["haproxy"]));
            }
            wanted.dedup();
            all.insert(host, wanted);
        }
        Ok(all)
    }

    fn preflight(&self, scene: &Scene<'_>) -> Result<Vec<Problem>, FlowError> {
        Ok(preflight::check_hosts(&self.targets(), &self.request, scene))
    }

    fn plan(&mut self, scene: &Scene<'_>) -> Result<Plan, FlowError> {
        let cluster = self.settle(scene)?;
        let plan = make_plan(&cluster, &self.packages(scene)?, &self.images, scene)?;
        if !scene.options.dry_run {
            cluster.save(scene.environment)?;
        }
        self.known = Some(cluster);
        Ok(plan)
    }

    fn finish(&mut self, _: &Scene<'_>, report: &RunReport) -> Result<Vec<String>, FlowError> {
        let Some(cluster) = &self.known else { return Ok(Vec::new()) };
        if report.hosts.iter().any(|h| h.result != HostState::Ok) {
            return Ok(Vec::new());
        }
        Ok(vec![
            format!(
                "Kubernetes: {} master(s), {} node(s), API at {}",
                cluster.masters.len(),
                cluster.nodes.len(),
                endpoint::url(cluster)
            ),
            "Kubernetes: log in to any master as root, and `kubectl get nodes` answers".to_owned(),
        ])
    }
}
