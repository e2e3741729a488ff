//! Plans of any size from constructed facts, for `make bench-plan`. Compiled with the feature `bench` only.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use payload::Bundle;

use crate::deliver::{Delivery, RouteChoice};
use crate::host::{Facts, HostId, Secret, Target, TargetDefaults};
use crate::packages::InstallOptions;
use crate::plan::Plan;

use super::error::FlowError;
use super::job::make_plan;
use super::operations::checked_flows;
use super::request::{ClusterCreate, ClusterRemove, ClusterSettings, EtcdCreate, Operation, RunOptions};
use super::scene::{Asked, Flows, Seen};
use super::state::Environment;

const ETCD: usize = 5;
const CONTROL_PLANE: usize = 3;
/// Room for 32,768 nodes.
const POD_CIDR: &str = "10.0.0.0/9";
const ENVIRONMENT: &str = "bench";

/// Hosts with nothing on them, and where an environment is kept.
#[derive(Debug)]
pub struct Site {
    root: Utf8PathBuf,
    bundle: Bundle,
    targets: Vec<Target>,
    facts: BTreeMap<HostId, Facts>,
}

impl Site {
    /// At most 32,768 hosts.
    ///
    /// # Errors
    /// None for such a number.
    pub fn new(root: &Utf8Path, bundle: Bundle, hosts: usize) -> Result<Self, FlowError> {
        let mut login = TargetDefaults::default();
        login.auth.password = Some(Secret::new("x"));
        let (mut targets, mut facts) = (Vec::new(), BTreeMap::new());
        for n in 0..hosts {
            let address = format!("172.16.{}.{}", n / 256, n % 256);
            let target = Target::parse(&address, &login).map_err(|e| FlowError::request(e.to_string()))?;
            let ip = address.parse().ok();
            let told = Facts {
                hostname: format!("host{n}"),
                addresses: ip.into_iter().collect(),
                route_address: ip,
                route_interface: Some("eth0".to_owned()),
                selinux: "Disabled".to_owned(),
                cgroup_version: 2,
                ..Facts::default()
            };
            facts.insert(target.id(), told);
            targets.push(target);
        }
        Ok(Self { root: root.to_owned(), bundle, targets, facts })
    }

    /// The plan of a cluster with all roles: etcd members, control plane nodes, and every host a worker node. What it decides
    /// is kept.
    ///
    /// # Errors
    /// When it is refused.
    pub fn create(&self) -> Result<Plan, FlowError> {
        let first = |n: usize| self.targets.iter().take(n).cloned().collect::<Vec<_>>();
        let etcd = EtcdCreate { members: first(ETCD), rpms: Vec::new(), tls: true, wipe_data: Vec::new() };
        let cluster = ClusterCreate {
            control_plane: first(CONTROL_PLANE),
            workers: self.targets.clone(),
            etcd: Vec::new(),
            control_plane_rpms: Vec::new(),
            worker_rpms: Vec::new(),
            settings: ClusterSettings { pod_cidr: POD_CIDR.to_owned(), ..ClusterSettings::default() },
            described: false,
        };
        let (plan, flows) = self.plan(&[Operation::EtcdCreate(etcd), Operation::ClusterCreate(Box::new(cluster))])?;
        let environment = Environment::open(&self.root, ENVIRONMENT)?;
        for flow in &flows {
            flow.keep(&environment)?;
        }
        Ok(plan)
    }

    /// The plan that takes all worker nodes but the control plane's away again: what they had and are not to have.
    ///
    /// # Errors
    /// When it is refused.
    pub fn remove(&self) -> Result<Plan, FlowError> {
        let workers = self.targets.iter().skip(CONTROL_PLANE).cloned().collect();
        Ok(self.plan(&[Operation::ClusterRemove(ClusterRemove { workers, ..ClusterRemove::default() })])?.0)
    }

    fn plan(&self, operations: &[Operation]) -> Result<(Plan, Flows), FlowError> {
        let environment = Environment::look(&self.root, ENVIRONMENT)?;
        let options = RunOptions::default();
        let asked = Asked { environment: &environment, bundle: Some(&self.bundle), options: &options };
        let (mut flows, _) = checked_flows(operations, &asked)?;
        let facts = self.facts.iter().collect();
        let delivery = Delivery::new(None, RouteChoice::Auto);
        let mut seen = Seen::new(&environment, Some(&self.bundle), facts, InstallOptions::default(), delivery);
        seen.etcd_found = self.facts.keys().map(|host| (host.clone(), super::etcd::Found::default())).collect();
        "sunshine-bench".clone_into(&mut seen.fresh_token);
        let plan = make_plan(&mut flows, &mut seen)?;
        Ok((plan, flows))
    }
}
