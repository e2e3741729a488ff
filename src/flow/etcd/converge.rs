//! A cluster of etcd brought to what it should be: created by `etcd create`, given members by `etcd add`, or as it stands,
//! with new certificates.

use std::collections::BTreeMap;

use payload::Bundle;

use crate::flow::clocks;
use crate::flow::disk_space::DiskSpace;
use crate::flow::error::FlowError;
use crate::flow::names::{self, Reserved};
use crate::flow::problem::Problem;
use crate::flow::request::{EtcdChange, EtcdCreate};
use crate::flow::rpms;
use crate::flow::scene::{Asked, Flow, Scene, Seen};
use crate::flow::state::Environment;
use crate::host::{HostId, Target, for_each};
use crate::packages::Wanted;
use crate::plan::{Plan, RunReport};

use super::decide::{decide, fresh_token};
use super::plan::make_plan;
use super::preflight::{check_hosts, check_members, disk_space};
use super::probe::Found;
use super::state::Cluster;
use super::status::no_cluster;

/// The package that brings etcd when no files are named.
pub(super) const PACKAGE: &str = "etcd";
/// The first etcd that knows nothing of its version 2 API.
const WITHOUT_V2: [u32; 2] = [3, 6];

/// Brings an etcd cluster to what it should be.
#[derive(Debug)]
pub struct Converge {
    request: EtcdCreate,
    /// The cluster must be there, and stays what it is beside the hosts of the request: its title.
    standing: Option<String>,
    /// flannel's package is to keep its subnets in it.
    flannel: bool,
    wanted: Vec<Wanted>,
    known: Option<Cluster>,
    after: Option<Cluster>,
}

impl Converge {
    /// The cluster of these members.
    pub fn create(request: EtcdCreate) -> Self {
        Self::new(request, None)
    }

    /// The cluster that stands, with these members beside its own.
    pub fn add(change: EtcdChange) -> Self {
        let hosts: Vec<HostId> = change.members.iter().map(Target::id).collect();
        let title = format!("add {} to the etcd cluster", hosts.join(", "));
        let request = EtcdCreate { members: change.members, rpms: change.rpms, tls: true, wipe_data: Vec::new() };
        Self::new(request, Some(title))
    }

    /// The cluster that stands, on these members of it.
    pub fn refresh(members: Vec<Target>, reason: &str) -> Self {
        let request = EtcdCreate { members, rpms: Vec::new(), tls: true, wipe_data: Vec::new() };
        Self::new(request, Some(reason.to_owned()))
    }

    fn new(request: EtcdCreate, standing: Option<String>) -> Self {
        Self { request, standing, flannel: false, wanted: Vec::new(), known: None, after: None }
    }

    /// Where flannel's package is to keep its subnets in it.
    #[must_use]
    pub fn for_flannel(self, flannel: bool) -> Self {
        Self { flannel, ..self }
    }

    fn hosts(&self) -> Vec<HostId> {
        self.request.members.iter().map(Target::id).collect()
    }

    /// flannel's package knows etcd's version 2 API alone.
    fn check_flannel(&self, bundle: Option<&Bundle>) -> Result<(), FlowError> {
        let known = self.known.as_ref();
        let comes = known.is_some_and(|k| k.flannel && self.hosts().iter().any(|host| !k.members.contains_key(host)));
        let version = if self.flannel || comes { rpms::version(PACKAGE, &self.wanted, bundle) } else { None };
        match version.filter(|version| rpms::numbers(version).as_slice() >= WITHOUT_V2.as_slice()) {
            None => Ok(()),
            Some(version) => Err(FlowError::request_with_help(
                format!("the package flannel needs etcd's version 2 API, which etcd {version} no longer has"),
                "use etcd 3.5 or older (-f), or another network: -cni direct",
            )),
        }
    }

    fn check_standing(&mut self, environment: &Environment) -> Result<Vec<Problem>, FlowError> {
        let known = self.known.as_ref().ok_or_else(|| no_cluster(environment))?;
        if !known.standing {
            return Err(FlowError::request_with_help(
                "the etcd cluster's first start was not finished",
                "run the line that creates it again, then add members",
            ));
        }
        self.request.tls = known.tls;
        let there = self.hosts().into_iter().filter(|h| known.members.contains_key(h));
        Ok(there.map(|h| Problem::info(&h, "is a member of the etcd cluster already")).collect())
    }
}

impl Flow for Converge {
    fn title(&self) -> String {
        let create = || format!("create the etcd cluster of {}", self.hosts().join(", "));
        self.standing.clone().unwrap_or_else(create)
    }

    fn targets(&self) -> Vec<Target> {
        self.request.members.clone()
    }

    fn check_request(&mut self, asked: &Asked<'_>) -> Result<Vec<Problem>, FlowError> {
        self.wanted = if self.request.rpms.is_empty() {
            rpms::by_name([PACKAGE])
        } else {
            rpms::from_files(&self.request.rpms, "-f", asked.places())?
        };
        self.known = Cluster::load(asked.environment)?;
        self.check_flannel(asked.bundle)?;
        if self.standing.is_some() {
            return self.check_standing(asked.environment);
        }
        check_members(&self.request, self.known.as_ref(), asked.environment)
    }

    fn packages(&self, _: &Scene<'_>) -> Result<BTreeMap<HostId, Vec<Wanted>>, FlowError> {
        Ok(self.hosts().into_iter().map(|host| (host, self.wanted.clone())).collect())
    }

    fn preflight(&self, scene: &Scene<'_>) -> Result<Vec<Problem>, FlowError> {
        let mut problems = names::check(&self.request.members, &Reserved::usual(), scene)?;
        problems.extend(check_hosts(&self.request, self.known.as_ref(), scene));
        problems.extend(clocks::check(scene.hosts));
        Ok(problems)
    }

    fn disk_space(&self, _: &Scene<'_>) -> BTreeMap<HostId, Vec<DiskSpace>> {
        self.hosts().into_iter().map(|host| (host, vec![disk_space()])).collect()
    }

    fn observe(&mut self, scene: &Scene<'_>, seen: &mut Seen<'_>) -> Result<(), FlowError> {
        let hosts: Vec<_> =
            self.hosts().into_iter().filter_map(|name| scene.hosts.get(&name).map(|h| (name, &h.host))).collect();
        let looks = for_each(&hosts, scene.options.forks, |(_, host)| Found::on(host));
        for ((name, _), look) in hosts.iter().zip(looks) {
            let lost =
                || FlowError::Failed { error: format!("{name}: the look at its data ended unexpectedly"), help: None };
            let found = look.ok_or_else(lost)?;
            let found = found.map_err(|e| FlowError::Failed { error: e.to_string(), help: e.help() })?;
            seen.etcd_found.insert(name.clone(), found);
        }
        // What a dry run shows is the same every time; the run's own token would be another one anyway.
        seen.fresh_token = if scene.options.dry_run { "(made by the run)".to_owned() } else { fresh_token() };
        Ok(())
    }

    fn plan(&mut self, seen: &mut Seen<'_>) -> Result<Plan, FlowError> {
        let mut cluster = decide(&self.request, self.known.as_ref(), seen)?;
        cluster.flannel |= self.flannel;
        let plan = make_plan(&cluster, &self.request, &self.wanted, seen);
        seen.etcd = Some(cluster.clone());
        self.after = Some(cluster);
        Ok(plan)
    }

    /// Before the first member starts: a run that is killed starts the same cluster again, and never a second one.
    fn keep(&self, environment: &Environment) -> Result<(), FlowError> {
        self.after.as_ref().map_or(Ok(()), |cluster| cluster.save(environment))
    }

    fn finish(&mut self, scene: &Scene<'_>, report: &RunReport) -> Result<Vec<String>, FlowError> {
        let Some(cluster) = &mut self.after else { return Ok(Vec::new()) };
        let answered = self.request.members.iter().filter(|t| report.succeeded(&t.id())).count();
        if answered > cluster.members.len() / 2 && !cluster.standing {
            cluster.standing = true;
            cluster.save(scene.environment)?;
        }
        if answered < self.request.members.len() {
            return Ok(Vec::new());
        }
        Ok(vec![
            format!("etcd: {} member(s), {}", cluster.members.len(), cluster.endpoints().join(" ")),
            "etcd: log in to any member as root, and `etcdctl endpoint health` answers".to_owned(),
        ])
    }
}
