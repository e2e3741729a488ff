//! What must hold before hosts join a cluster that stands.

use std::collections::BTreeSet;

use crate::flow::error::FlowError;
use crate::flow::problem::Problem;
use crate::host::{HostId, Target};

use super::converge::Converge;
use super::state::Cluster;

impl Converge {
    /// A second control plane node needs an endpoint that nodes find it by.
    pub(super) fn check_endpoint(&self, known: &Cluster) -> Result<(), FlowError> {
        let new = |t: &&Target| !known.control_plane.contains_key(&t.id());
        let settings = &known.settings;
        let shared = known.balanced || settings.api_endpoint.is_some() || settings.api_vip.is_some();
        if !shared && self.control_plane.iter().any(|t| new(&t)) {
            let help = if known.distribution.rules().balances_later() {
                "put haproxy into the bundle (`bundle repack --add FILE`) and run `cluster create` again with all hosts"
            } else {
                "kubeadm's clusters get others where they were created with haproxy in the bundle, --api-vip or --api-endpoint: \
                 put haproxy into the bundle (`bundle repack --add FILE`), then `cluster reset` and `cluster create`"
            };
            return Err(FlowError::request_with_help(
                "the nodes of this cluster reach its only control plane node directly, so another would be of no use",
                help,
            ));
        }
        Ok(())
    }

    /// Hosts that are to be added and are in the cluster already: they are said.
    pub(super) fn there_already(&self, known: &Cluster) -> Vec<Problem> {
        let there = |hosts: &[Target], is: &dyn Fn(&str) -> bool, what: &str| -> Vec<Problem> {
            let hosts = hosts.iter().map(Target::id).filter(|h| is(h));
            hosts.map(|h| Problem::info(&h, format!("is a {what} of the cluster already"))).collect()
        };
        let mut problems = there(&self.control_plane, &|h| known.control_plane.contains_key(h), "control plane node");
        problems.extend(there(&self.workers, &|h| known.workers.contains_key(h), "worker node"));
        problems
    }

    /// Where pods make the control plane, kubeadm gives a host its roles when it joins.
    pub(super) fn check_roles(&self, known: &Cluster) -> Result<(), FlowError> {
        if !known.standing || !known.distribution.rules().runs_control_plane() {
            return Ok(());
        }
        let (is_master, is_worker) =
            (|h: &HostId| known.control_plane.contains_key(h), |h: &HostId| known.workers.contains_key(h));
        let masters = self.control_plane.iter().map(Target::id).filter(|h| is_worker(h) && !is_master(h));
        let workers = self.workers.iter().map(Target::id).filter(|h| is_master(h) && !is_worker(h));
        let hosts: BTreeSet<String> = masters.chain(workers).map(String::from).collect();
        if hosts.is_empty() {
            return Ok(());
        }
        let hosts: Vec<String> = hosts.into_iter().collect();
        Err(FlowError::request_with_help(
            format!("{}: with kubeadm's packages a host gets all of its roles when it joins", hosts.join(", ")),
            "remove it from the cluster first, then add it with all of its roles",
        ))
    }
}
