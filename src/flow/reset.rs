//! `cluster reset`: hosts restored to what they were before this environment changed them, from the record each of them keeps.
//! What another environment or a cluster of somebody else has there stays ([`super::ownership`]).
//!
//! Without `--wipe-data` etcd's data stays, and with it what the control host keeps of the environment (certificates, names):
//! the line that made the cluster brings it back with all it held.

use std::collections::BTreeSet;

use crate::host::{HostId, Target};
use crate::plan::{Level, Plan, RunReport, Step};
use crate::resource::Undo;

use super::error::FlowError;
use super::ownership::Share;
use super::problem::Problem;
use super::request::ClusterReset;
use super::scene::{Asked, Flow, Scene, Seen};
use super::state::Environment;
use super::{etcd, kubernetes, ownership, registry};

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
    /// Hosts on which nothing is undone.
    left: Vec<HostId>,
}

impl Reset {
    pub(super) fn new(request: ClusterReset) -> Self {
        Self {
            request,
            targets: Vec::new(),
            known: BTreeSet::new(),
            etcd: None,
            cluster: None,
            registry: None,
            left: Vec::new(),
        }
    }

    /// The steps of one host, of which the environment may undo this.
    fn steps(&self, host: &HostId, share: &Share, also: Vec<String>) -> Vec<Step> {
        let mut steps = Vec::new();
        if share.node {
            let teardown = kubernetes::Teardown { also: also.clone() };
            steps.push(Step::on(host, "node.teardown", "remove what Kubernetes created", teardown).weight(5));
        }
        let token = self.etcd.as_ref().map(|etcd| etcd.token.clone());
        if let Some(token) = token.clone() {
            let mark = etcd::MarkData { token };
            steps.push(Step::on(host, "etcd.mark", "mark etcd's data as this cluster's", mark));
        }
        steps.push(Step::on(host, "host.undo", "undo the recorded changes", Undo::All { also }).weight(8));
        if let Some(token) = token.filter(|_| share.data && self.wipes(host)) {
            steps.push(Step::on(host, "etcd.wipe", "delete etcd's data", etcd::WipeOwn { token }));
        }
        steps
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

    fn observe(&mut self, scene: &Scene<'_>, seen: &mut Seen<'_>) -> Result<(), FlowError> {
        let hosts: Vec<HostId> = self.targets.iter().map(Target::id).collect();
        ownership::observe(hosts.iter(), &self.request.recorded_by, scene, seen)?;
        for host in hosts.iter().filter(|host| self.wipes(host)) {
            if let Some(whose) = seen.share(host).foreign_data {
                let text = format!("etcd's data here {whose}: it is not deleted");
                let help = "`cluster reset --wipe-data` of the environment that made it deletes it; where no cluster needs it any \
                            more: rm -r /var/lib/etcd/default.etcd";
                scene.events.note(Some(host), Level::Warning, text, Some(help.to_owned()));
            }
        }
        Ok(())
    }

    fn plan(&mut self, seen: &mut Seen<'_>) -> Result<Plan, FlowError> {
        let mut plan = Plan::default();
        self.left.clear();
        for host in self.targets.iter().map(Target::id) {
            let share = seen.share(&host);
            match share.undo.clone() {
                Some(also) => plan.steps.extend(self.steps(&host, &share, also)),
                None => self.left.push(host),
            }
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
        if !self.left.is_empty() {
            let left: Vec<&str> = self.left.iter().map(HostId::as_str).collect();
            advice.push(format!("{}: left as found, for the reason that the warning above names", left.join(", ")));
        }
        if !wiped {
            advice.extend([
                "the hosts are as they were; etcd's data is still in /var/lib/etcd, and the line that made the cluster \
                 brings it back with all it held"
                    .to_owned(),
                "`cluster reset --wipe-data` deletes the data too".to_owned(),
            ]);
            return Ok(advice);
        }
        let aside = scene.environment.empty()?;
        advice.push("the hosts are as they were, and the environment is empty".to_owned());
        advice.extend(
            aside.map(|path| format!("its authorities and keys are kept in {path}, until you delete that folder")),
        );
        Ok(advice)
    }
}
