//! `cluster reset`: hosts restored to what they were before this product changed them, from the record each of them keeps.
//!
//! Without `--wipe-data` etcd's data stays, and with it what the control host keeps of the environment (certificates, names):
//! the line that made the cluster brings it back with all it held.

use std::collections::BTreeSet;

use crate::host::{HostId, Target};
use crate::plan::{Plan, RunReport, Step};
use crate::resource::Undo;

use super::error::FlowError;
use super::problem::Problem;
use super::request::ClusterReset;
use super::scene::{Asked, Flow, Scene, Seen};
use super::state::Environment;
use super::{etcd, kubernetes, registry};

/// Gives hosts back.
#[derive(Debug)]
pub(super) struct Reset {
    request: ClusterReset,
    targets: Vec<Target>,
    /// Hosts of the environment's clusters.
    known: BTreeSet<HostId>,
    /// Those clusters, as the control host knows them.
    etcd: Option<etcd::Cluster>,
    cluster: Option<kubernetes::Cluster>,
    registry: Option<registry::Registry>,
}

impl Reset {
    pub(super) fn new(request: ClusterReset) -> Self {
        Self { request, targets: Vec::new(), known: BTreeSet::new(), etcd: None, cluster: None, registry: None }
    }

    fn wipes(&self, host: &HostId) -> bool {
        self.request.wipes(host, &self.targets)
    }

    /// Every host of the environment is restored.
    fn is_whole(&self) -> bool {
        self.known.iter().all(|host| self.targets.iter().any(|t| t.id() == *host))
    }
}

impl Flow for Reset {
    fn title(&self) -> String {
        "reset the hosts".to_owned()
    }

    fn check_request(&mut self, asked: &Asked<'_>) -> Result<Vec<Problem>, FlowError> {
        self.etcd = etcd::Cluster::load(asked.environment)?;
        self.cluster = kubernetes::Cluster::load(asked.environment)?;
        self.registry = registry::Registry::load(asked.environment)?;
        self.known.extend(self.registry.iter().flat_map(|r| r.hosts.keys().cloned()));
        self.known.extend(self.etcd.iter().flat_map(|c| c.members.keys().cloned()));
        self.known.extend(self.cluster.iter().flat_map(|c| c.control_plane.keys().chain(c.workers.keys()).cloned()));
        if self.request.hosts.is_empty() {
            if self.known.is_empty() {
                return Err(FlowError::request_with_help(
                    format!("environment {} has no hosts", asked.environment.name),
                    "name the hosts to reset with --host",
                ));
            }
            self.targets = asked.logins(&self.known, &[], "they are to be reset")?;
            return Ok(Vec::new());
        }
        self.targets.clone_from(&self.request.hosts);
        let some: Vec<HostId> = self.targets.iter().map(Target::id).collect();
        let at_work: Vec<&str> = some.iter().filter(|h| self.known.contains(*h)).map(HostId::as_str).collect();
        if !self.is_whole() && !at_work.is_empty() {
            return Err(FlowError::request_with_help(
                format!("{}: still part of a cluster that keeps other hosts", at_work.join(", ")),
                "take it out with `cluster remove`, `etcd remove` or `registry remove`, or name all hosts of the cluster",
            ));
        }
        Ok(Vec::new())
    }

    fn targets(&self) -> Vec<Target> {
        self.targets.clone()
    }

    fn plan(&mut self, _: &mut Seen<'_>) -> Result<Plan, FlowError> {
        let mut plan = Plan::default();
        for host in self.targets.iter().map(Target::id) {
            let teardown = Step::on(&host, "node.teardown", "remove what Kubernetes created", kubernetes::Teardown);
            plan.push(teardown.weight(5));
            let wipe = if self.wipes(&host) {
                vec![etcd::DATA_DIR.to_owned(), etcd::MARK.to_owned()]
            } else {
                if let Some(etcd) = &self.etcd {
                    let mark = etcd::MarkData { token: etcd.token.clone() };
                    plan.push(Step::on(&host, "etcd.mark", "mark etcd's data as this cluster's", mark));
                }
                Vec::new()
            };
            plan.push(Step::on(&host, "host.undo", "undo the recorded changes", Undo::All { wipe }).weight(8));
        }
        Ok(plan)
    }

    /// From here on the members start at the same time again, as the first time.
    fn keep(&self, environment: &Environment) -> Result<(), FlowError> {
        if !self.is_whole() {
            return Ok(());
        }
        if let Some(etcd) = &self.etcd {
            etcd::Cluster { standing: false, ..etcd.clone() }.save(environment)?;
        }
        if let Some(cluster) = &self.cluster {
            kubernetes::Cluster { standing: false, ..cluster.clone() }.save(environment)?;
        }
        Ok(())
    }

    fn finish(&mut self, scene: &Scene<'_>, report: &RunReport) -> Result<Vec<String>, FlowError> {
        if !self.is_whole() || report.any_failed() {
            return Ok(Vec::new());
        }
        let wiped = self.targets.iter().all(|t| self.wipes(&t.id()));
        let images =
            self.registry.iter().map(|r| format!("the registry's images are still in {} of its host(s)", r.storage));
        let mut advice: Vec<String> = images.collect();
        if !wiped {
            advice.extend([
                "the hosts are as they were; etcd's data is still in /var/lib/etcd, and the line that made the cluster \
                 brings it back with all it held"
                    .to_owned(),
                "`cluster reset --wipe-data` deletes the data too".to_owned(),
            ]);
            return Ok(advice);
        }
        scene.environment.empty()?;
        advice.push("the hosts are as they were, and the environment is empty".to_owned());
        Ok(advice)
    }
}
