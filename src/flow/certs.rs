//! `cluster certs renew`: new certificates under the same authorities for everything the environment runs; services are
//! restarted one member, one master at a time.

use crate::host::Target;
use crate::plan::{Plan, RunReport};

use super::error::FlowError;
use super::pki::Authority;
use super::problem::Problem;
use super::request::{ClusterCreate, EtcdCreate};
use super::scene::{Asked, Flow, Scene};
use super::{etcd, kubernetes};

/// The flows that renew: the certificates are forgotten, and what uses them is brought to what it should be.
///
/// # Errors
/// When there is nothing to renew, or a host's credentials are not at hand.
pub(super) fn flows(asked: &Asked<'_>, also: &[Target]) -> Result<Vec<Box<dyn Flow>>, FlowError> {
    let mut flows: Vec<Box<dyn Flow>> = vec![Box::new(Forget)];
    let why = "its certificates are to be renewed";
    if let Some(cluster) = etcd::Cluster::load(asked.environment)? {
        let members = asked.logins(cluster.members.keys(), also, why)?;
        let request = EtcdCreate { members, rpms: Vec::new(), tls: cluster.tls, wipe_data: Vec::new() };
        flows.push(Box::new(etcd::Create::new(request)));
    }
    if let Some(cluster) = kubernetes::Cluster::load(asked.environment)? {
        let request = ClusterCreate {
            masters: asked.logins(cluster.masters.keys(), also, why)?,
            nodes: asked.logins(cluster.nodes.keys(), also, why)?,
            etcd: Vec::new(),
            master_rpms: Vec::new(),
            node_rpms: Vec::new(),
            settings: cluster.settings,
        };
        flows.push(Box::new(kubernetes::Create::new(request)));
    }
    if flows.len() == 1 {
        return Err(FlowError::request_with_help(
            format!("environment {} has no cluster whose certificates could be renewed", asked.environment.name),
            "name another with --environment",
        ));
    }
    Ok(flows)
}

/// Drops the certificates kept, so that the flows behind it make new ones.
#[derive(Debug)]
struct Forget;

impl Flow for Forget {
    fn title(&self) -> String {
        "renew the certificates".to_owned()
    }

    fn check_request(&mut self, _: &Asked<'_>) -> Result<Vec<Problem>, FlowError> {
        Ok(Vec::new())
    }

    fn targets(&self) -> Vec<Target> {
        Vec::new()
    }

    fn plan(&mut self, scene: &Scene<'_>) -> Result<Plan, FlowError> {
        if !scene.options.dry_run {
            for purpose in ["etcd", "kubernetes", "front-proxy"] {
                let folder = scene.environment.pki(purpose);
                if folder.join("ca.crt").exists() {
                    Authority::open_or_create(&folder, "")?.forget_issued()?;
                }
            }
        }
        Ok(Plan::default())
    }

    fn finish(&mut self, _: &Scene<'_>, _: &RunReport) -> Result<Vec<String>, FlowError> {
        Ok(Vec::new())
    }
}
