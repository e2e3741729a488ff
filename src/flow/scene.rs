//! What an operation brings to the road that [`super::job`] describes, and what it gets to see on it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use payload::Bundle;

use crate::host::Target;
use crate::plan::{Events, Plan, RunHosts, RunReport};
use crate::repo::{InstallOptions, Wanted};

use super::error::FlowError;
use super::logins::Logins;
use super::problem::Problem;
use super::request::RunOptions;
use super::state::Environment;
use super::{etcd, kubernetes};

/// What a flow's own methods get to see.
#[derive(Debug)]
pub(super) struct Scene<'a> {
    pub environment: &'a Environment,
    pub bundle: Option<&'a Bundle>,
    pub hosts: &'a RunHosts,
    pub events: &'a Events,
    pub options: &'a RunOptions,
    pub install: InstallOptions,
    /// The etcd cluster that an earlier operation of the same job plans, also in a dry run, which keeps nothing.
    pub planned_etcd: Mutex<Option<etcd::Cluster>>,
    pub planned_cluster: Mutex<Option<kubernetes::Cluster>>,
}

impl Scene<'_> {
    /// The etcd cluster that this job plans.
    pub(super) fn etcd(&self) -> Option<etcd::Cluster> {
        self.planned_etcd.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The Kubernetes cluster that an earlier operation of this job plans.
    pub(super) fn cluster(&self) -> Option<kubernetes::Cluster> {
        self.planned_cluster.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn plans_cluster(&self, cluster: &kubernetes::Cluster) {
        *self.planned_cluster.lock().unwrap_or_else(PoisonError::into_inner) = Some(cluster.clone());
    }

    pub(super) fn plans_etcd(&self, cluster: &etcd::Cluster) {
        *self.planned_etcd.lock().unwrap_or_else(PoisonError::into_inner) = Some(cluster.clone());
    }
}

/// What can be asked before any host is touched.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub environment: &'a Environment,
    pub bundle: Option<&'a Bundle>,
    pub options: &'a RunOptions,
}

impl Asked<'_> {
    /// The ways to hosts of the environment that the request does not name but the work is about.
    ///
    /// # Errors
    /// Names every host for which no credentials are at hand; `why` says what for.
    pub(super) fn logins<'h>(
        &self,
        hosts: impl IntoIterator<Item = &'h String>,
        also: &[Target],
        why: &str,
    ) -> Result<Vec<Target>, FlowError> {
        let kept = Logins::load(self.environment)?;
        let mut found = Vec::new();
        let mut missing = Vec::new();
        for host in hosts {
            let named = also.iter().find(|t| t.address.to_string() == *host).cloned();
            match named.or_else(|| kept.target(host, &self.options.login, &self.options.sealed)) {
                Some(target) => found.push(target),
                None => missing.push(host.as_str()),
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        Err(FlowError::request_with_help(
            format!("no credentials for {}: {why}", missing.join(", ")),
            "name those hosts too, with their passwords (`--help` says where), or give --ssh-key, or --keep-credentials \
             with the key file of an earlier run",
        ))
    }
}

/// One operation's part of the road.
pub(super) trait Flow {
    /// What is being done, for the log: "create the etcd cluster".
    fn title(&self) -> String;
    /// Everything that can be checked without a host. Called first.
    fn check_request(&mut self, asked: &Asked<'_>) -> Result<Vec<Problem>, FlowError>;
    /// The hosts it needs.
    fn targets(&self) -> Vec<Target>;
    /// Whether the work can do without this host when it does not answer.
    fn may_be_dead(&self, _host: &str) -> bool {
        false
    }
    /// What to do about a host that it could do without, were it told to.
    fn when_dead(&self) -> Option<&'static str> {
        None
    }
    /// The packages each host should have.
    fn packages(&self, _: &Scene<'_>) -> Result<BTreeMap<String, Vec<Wanted>>, FlowError> {
        Ok(BTreeMap::new())
    }
    /// What stands in the way, on any host. Changes nothing.
    fn preflight(&self, _: &Scene<'_>) -> Result<Vec<Problem>, FlowError> {
        Ok(Vec::new())
    }
    /// The steps.
    fn plan(&mut self, scene: &Scene<'_>) -> Result<Plan, FlowError>;
    /// After the run: keep what was learnt; say how to use what was made.
    fn finish(&mut self, scene: &Scene<'_>, report: &RunReport) -> Result<Vec<String>, FlowError>;
}
