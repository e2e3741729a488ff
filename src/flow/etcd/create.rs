//! `etcd create`: a cluster of these members, or the one that stands brought to what it should be.

use std::collections::BTreeMap;

use payload::Bundle;

use crate::flow::error::FlowError;
use crate::flow::job::{Flow, Scene};
use crate::flow::problem::Problem;
use crate::flow::request::EtcdCreate;
use crate::flow::rpms;
use crate::flow::state::Environment;
use crate::host::Target;
use crate::plan::{HostState, Plan, RunReport};
use crate::repo::Wanted;

use super::plan::make_plan;
use super::preflight::{check_hosts, check_members};
use super::state::Cluster;

/// The package that brings etcd when no files are named.
const PACKAGE: &str = "etcd";

/// Creates an etcd cluster.
#[derive(Debug)]
pub struct Create {
    request: EtcdCreate,
    wanted: Vec<Wanted>,
    known: Option<Cluster>,
}

impl Create {
    pub fn new(request: EtcdCreate) -> Self {
        Self { request, wanted: Vec::new(), known: None }
    }

    fn hosts(&self) -> Vec<String> {
        self.request.members.iter().map(|t| t.address.to_string()).collect()
    }
}

impl Flow for Create {
    fn title(&self) -> String {
        format!("create the etcd cluster of {}", self.hosts().join(", "))
    }

    fn targets(&self) -> Vec<Target> {
        self.request.members.clone()
    }

    fn check_request(&mut self, environment: &Environment, bundle: Option<&Bundle>) -> Result<Vec<Problem>, FlowError> {
        self.wanted = if self.request.rpms.is_empty() {
            rpms::by_name([PACKAGE])
        } else {
            rpms::from_files(&self.request.rpms, "-f", bundle)?
        };
        self.known = Cluster::load(environment)?;
        check_members(&self.request, self.known.as_ref(), environment)
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
