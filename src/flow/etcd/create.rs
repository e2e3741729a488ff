//! `etcd create`: a cluster of these members, or the one that stands brought to what it should be. `etcd add` is the same
//! for hosts that are to join the cluster that stands.

use std::collections::BTreeMap;

use crate::flow::error::FlowError;
use crate::flow::problem::Problem;
use crate::flow::request::{EtcdChange, EtcdCreate};
use crate::flow::rpms;
use crate::flow::scene::{Asked, Flow, Scene};
use crate::flow::state::Environment;
use crate::host::Target;
use crate::plan::{HostState, Plan, RunReport};
use crate::repo::Wanted;

use super::plan::make_plan;
use super::preflight::{check_hosts, check_members};
use super::state::Cluster;
use super::status::no_cluster;

/// The package that brings etcd when no files are named.
const PACKAGE: &str = "etcd";

/// Creates an etcd cluster.
#[derive(Debug)]
pub struct Create {
    request: EtcdCreate,
    /// Only hosts are added; the cluster must stand.
    adding: bool,
    wanted: Vec<Wanted>,
    known: Option<Cluster>,
}

impl Create {
    pub fn new(request: EtcdCreate) -> Self {
        Self { request, adding: false, wanted: Vec::new(), known: None }
    }

    /// Adds members to the environment's cluster.
    pub fn add(change: EtcdChange) -> Self {
        let request = EtcdCreate { members: change.members, rpms: change.rpms, tls: true, wipe_data: Vec::new() };
        Self { adding: true, ..Self::new(request) }
    }

    fn hosts(&self) -> Vec<String> {
        self.request.members.iter().map(|t| t.address.to_string()).collect()
    }

    fn check_joining(&mut self, environment: &Environment) -> Result<Vec<Problem>, FlowError> {
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

impl Flow for Create {
    fn title(&self) -> String {
        let hosts = self.hosts().join(", ");
        if self.adding {
            format!("add {hosts} to the etcd cluster")
        } else {
            format!("create the etcd cluster of {hosts}")
        }
    }

    fn targets(&self) -> Vec<Target> {
        self.request.members.clone()
    }

    fn check_request(&mut self, asked: &Asked<'_>) -> Result<Vec<Problem>, FlowError> {
        self.wanted = if self.request.rpms.is_empty() {
            rpms::by_name([PACKAGE])
        } else {
            rpms::from_files(&self.request.rpms, "-f", asked.bundle)?
        };
        self.known = Cluster::load(asked.environment)?;
        if self.adding {
            return self.check_joining(asked.environment);
        }
        check_members(&self.request, self.known.as_ref(), asked.environment)
    }

    fn packages(&self, _: &Scene<'_>) -> Result<BTreeMap<String, Vec<Wanted>>, FlowError> {
        Ok(self.hosts().into_iter().map(|host| (host, self.wanted.clone())).collect())
    }

    fn preflight(&self, scene: &Scene<'_>) -> Result<Vec<Problem>, FlowError> {
        Ok(check_hosts(&self.request, self.known.as_ref(), scene))
    }

    fn plan(&mut self, scene: &Scene<'_>) -> Result<Plan, FlowError> {
        let cluster = super::plan::settle(&self.request, self.known.as_ref(), scene)?;
        let plan = make_plan(&cluster, &self.request, &self.wanted, scene)?;
        if !scene.options.dry_run {
            cluster.save(scene.environment)?;
        }
        scene.plans_etcd(&cluster);
        self.known = Some(cluster);
        Ok(plan)
    }

    fn finish(&mut self, scene: &Scene<'_>, report: &RunReport) -> Result<Vec<String>, FlowError> {
        let Some(cluster) = &mut self.known else { return Ok(Vec::new()) };
        let good = |host: &String| report.hosts.iter().any(|h| h.host == *host && h.result == HostState::Ok);
        let answered = self.request.members.iter().filter(|t| good(&t.address.to_string())).count();
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
