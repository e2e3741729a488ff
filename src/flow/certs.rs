//! `cluster certs renew`: new certificates under the same authorities for everything the environment runs; services are
//! restarted one member, one control plane node at a time.

use crate::host::Target;
use crate::plan::{Plan, RunReport, Step};

use super::error::FlowError;
use super::pki::Forget;
use super::problem::Problem;
use super::scene::{Asked, Flow, Scene, Seen};
use super::{etcd, kubernetes, registry};

/// The flows that renew: the certificates are forgotten, and what uses them is brought to what it should be.
///
/// # Errors
/// When there is nothing to renew, or a host's credentials are not at hand.
pub(super) fn flows(asked: &Asked<'_>, also: &[Target]) -> Result<Vec<Box<dyn Flow>>, FlowError> {
    let mut flows: Vec<Box<dyn Flow>> = vec![Box::new(ForgetIssued)];
    let why = "its certificates are to be renewed";
    if let Some(cluster) = etcd::Cluster::load(asked.environment)? {
        let members = asked.logins(cluster.members.keys(), also, why)?;
        flows.push(Box::new(etcd::Converge::refresh(members, "renew etcd's certificates")));
    }
    if let Some(registry) = registry::Registry::load(asked.environment)? {
        let hosts = asked.logins(registry.hosts.keys(), also, why)?;
        flows.push(Box::new(registry::Converge::refresh(hosts, "renew the registry's certificates")));
    }
    if let Some(cluster) = kubernetes::Cluster::load(asked.environment)? {
        let workers = cluster.workers.keys().filter(|host| !cluster.control_plane.contains_key(*host));
        let hosts = asked.logins(cluster.control_plane.keys().chain(workers), also, why)?;
        flows.push(Box::new(kubernetes::Converge::refresh(hosts, "renew Kubernetes' certificates")));
    }
    if flows.len() == 1 {
        return Err(FlowError::request_with_help(
            format!("environment {} has no cluster whose certificates could be renewed", asked.environment.name),
            "name another with --environment",
        ));
    }
    Ok(flows)
}

/// Forgets the certificates, so that the flows behind it make new ones.
#[derive(Debug)]
struct ForgetIssued;

impl Flow for ForgetIssued {
    fn title(&self) -> String {
        "renew the certificates".to_owned()
    }

    fn check_request(&mut self, _: &Asked<'_>) -> Result<Vec<Problem>, FlowError> {
        Ok(Vec::new())
    }

    fn targets(&self) -> Vec<Target> {
        Vec::new()
    }

    fn plan(&mut self, seen: &mut Seen<'_>) -> Result<Plan, FlowError> {
        let mut plan = Plan::default();
        plan.push(Step::control("certificates.renew", "replace the certificates", Forget::new(seen.pki.clone())));
        Ok(plan)
    }

    fn finish(&mut self, _: &Scene<'_>, _: &RunReport) -> Result<Vec<String>, FlowError> {
        Ok(Vec::new())
    }
}
