//! What an operation brings to the road that [`super::job`] describes, and what it gets to see on it.

use std::collections::BTreeMap;

use payload::Bundle;

use crate::deliver::Delivery;
use crate::host::{Facts, HostId, Target};
use crate::packages::{InstallOptions, Wanted};
use crate::plan::{Events, Plan, RunHosts, RunReport};

use super::disk_space::DiskSpace;
use super::error::FlowError;
use super::logins::Logins;
use super::ownership::Share;
use super::pki::Pki;
use super::problem::Problem;
use super::request::RunOptions;
use super::rpms::Places;
use super::state::Environment;
use super::{etcd, kubernetes, registry};

/// What a flow reaches before and after its plan: the hosts, the state, whoever listens.
#[derive(Debug)]
pub(super) struct Scene<'a> {
    pub environment: &'a Environment,
    pub bundle: Option<&'a Bundle>,
    pub hosts: &'a RunHosts,
    pub events: &'a Events,
    pub options: &'a RunOptions,
    pub install: InstallOptions,
    pub delivery: Delivery,
}

impl Scene<'_> {
    /// The facts of all hosts that answered.
    pub(super) fn facts(&self) -> BTreeMap<&HostId, &Facts> {
        self.hosts.iter().map(|(name, host)| (name, &host.facts)).collect()
    }

    /// What plans are made from.
    pub(super) fn seen(&self) -> Seen<'_> {
        Seen::new(self.environment, self.bundle, self.facts(), self.install.clone(), self.delivery.clone())
    }
}

/// What a plan is made from. Whoever plans asks no host and reads or writes no file: what it must know beside this, it has
/// observed before ([`Flow::check_request`], [`Flow::observe`]).
#[derive(Debug)]
pub(super) struct Seen<'a> {
    /// For steps that reach it when they run.
    pub environment: &'a Environment,
    /// Names keys and certificates; a step makes them.
    pub pki: Pki,
    pub bundle: Option<&'a Bundle>,
    pub facts: BTreeMap<&'a HostId, &'a Facts>,
    pub install: InstallOptions,
    /// For steps that bring something when they run.
    pub delivery: Delivery,
    /// What hosts hold of etcd, of those that were asked.
    pub etcd_found: BTreeMap<HostId, etcd::Found>,
    /// What of each host may be undone, of those that were asked ([`super::ownership::observe`]).
    pub shares: BTreeMap<HostId, Share>,
    /// The token of an etcd cluster that begins in this run.
    pub fresh_token: String,
    /// The etcd cluster as an earlier operation of the same job plans it.
    pub etcd: Option<etcd::Cluster>,
    /// The Kubernetes cluster likewise.
    pub cluster: Option<kubernetes::Cluster>,
    /// The registry likewise.
    pub registry: Option<registry::Registry>,
    /// The site's own registry likewise.
    pub site_registry: Option<registry::Site>,
}

impl<'a> Seen<'a> {
    /// Before any flow has observed or planned.
    pub(super) fn new(
        environment: &'a Environment,
        bundle: Option<&'a Bundle>,
        facts: BTreeMap<&'a HostId, &'a Facts>,
        install: InstallOptions,
        delivery: Delivery,
    ) -> Self {
        Self {
            environment,
            pki: environment.pki(),
            bundle,
            facts,
            install,
            delivery,
            etcd_found: BTreeMap::new(),
            shares: BTreeMap::new(),
            fresh_token: String::new(),
            etcd: None,
            cluster: None,
            registry: None,
            site_registry: None,
        }
    }
}

impl Seen<'_> {
    /// What of this host may be undone: nothing, where it was not asked.
    pub(super) fn share(&self, host: &HostId) -> Share {
        self.shares.get(host).cloned().unwrap_or_default()
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
    /// Where package files may come from.
    pub(super) fn places(&self) -> Places<'_> {
        Places { control_host: self.options.known_caller, bundle: self.bundle }
    }

    /// The ways to hosts of the environment that the request does not name but the work is about.
    ///
    /// # Errors
    /// Names every host for which no credentials are at hand; `why` says what for.
    pub(super) fn logins<'h>(
        &self,
        hosts: impl IntoIterator<Item = &'h HostId>,
        also: &[Target],
        why: &str,
    ) -> Result<Vec<Target>, FlowError> {
        let kept = if self.options.known_caller { Logins::load(self.environment)? } else { Logins::default() };
        let mut found = Vec::new();
        let mut missing = Vec::new();
        for host in hosts {
            let named = also.iter().find(|t| t.id() == *host).cloned();
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
            self.options.login_help,
        ))
    }
}

/// In the order they run.
pub(super) type Flows = Vec<Box<dyn Flow>>;

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
    fn packages(&self, _: &Scene<'_>) -> Result<BTreeMap<HostId, Vec<Wanted>>, FlowError> {
        Ok(BTreeMap::new())
    }
    /// What stands in the way, on any host. Changes nothing.
    fn preflight(&self, _: &Scene<'_>) -> Result<Vec<Problem>, FlowError> {
        Ok(Vec::new())
    }
    /// What the work takes of hosts' file systems beside packages.
    fn disk_space(&self, _: &Scene<'_>) -> BTreeMap<HostId, Vec<DiskSpace>> {
        BTreeMap::new()
    }
    /// What has to be asked before the plan is made. Changes nothing.
    fn observe(&mut self, _: &Scene<'_>, _: &mut Seen<'_>) -> Result<(), FlowError> {
        Ok(())
    }
    /// The steps: a function of what was seen.
    fn plan(&mut self, seen: &mut Seen<'_>) -> Result<Plan, FlowError>;
    /// Writes down what is planned, before the first step: a run that is killed anywhere goes on with the same plan.
    fn keep(&self, _: &Environment) -> Result<(), FlowError> {
        Ok(())
    }
    /// After the run: keep what was learnt; say how to use what was made.
    fn finish(&mut self, scene: &Scene<'_>, report: &RunReport) -> Result<Vec<String>, FlowError>;
}
