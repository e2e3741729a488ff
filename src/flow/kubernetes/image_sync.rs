//! `cluster images sync`: what hosts lack of the bundle's images is brought back.

use std::sync::Arc;

use crate::flow::error::FlowError;
use crate::flow::problem::Problem;
use crate::flow::scene::{Asked, Flow, Scene, Seen};
use crate::flow::state::Environment;
use crate::host::Target;
use crate::plan::{Plan, RunReport};
use crate::resource::Image;

use super::component::{Component, On, Supply, Waits};
use super::converge::no_cluster;
use super::images::{self, NodeImages};
use super::kept_registry;
use super::keys::ClusterKeys;
use super::state::Cluster;

/// Brings the images to hosts of the environment's cluster that run pods.
#[derive(Debug)]
pub struct ImageSync {
    cluster: Cluster,
    hosts: Vec<Target>,
    images: Vec<Image>,
}

impl ImageSync {
    /// To the hosts that are named, or to all.
    ///
    /// # Errors
    /// When there is no cluster, no image in the bundle, a host runs no pods, or its credentials are not at hand.
    pub(in crate::flow) fn new(asked: &Asked<'_>, named: &[Target]) -> Result<Self, FlowError> {
        let mut cluster = Cluster::load(asked.environment)?.ok_or_else(|| no_cluster(asked.environment))?;
        let images = images::in_bundle(asked.bundle)?;
        if images.is_empty() {
            return Err(FlowError::request_with_help(
                "there is no image to bring: no bundle is at hand, or it holds none",
                "run this with the bundle that the cluster was made with, or name it with --bundle",
            ));
        }
        cluster.images = images::names(&images);
        let all = cluster.pod_hosts();
        let others: Vec<String> = named.iter().map(Target::id).filter(|h| !all.contains(h)).map(String::from).collect();
        if !others.is_empty() {
            return Err(FlowError::request(format!("{}: runs no pods of this cluster", others.join(", "))));
        }
        let hosts = match named {
            [] => asked.logins(all, &[], "what they lack of the bundle's images is to be brought there")?,
            named => named.to_vec(),
        };
        Ok(Self { cluster, hosts, images })
    }
}

impl Flow for ImageSync {
    fn title(&self) -> String {
        format!("bring {} image(s) of the bundle to {} host(s)", self.images.len(), self.hosts.len())
    }

    fn check_request(&mut self, _: &Asked<'_>) -> Result<Vec<Problem>, FlowError> {
        Ok(Vec::new())
    }

    fn targets(&self) -> Vec<Target> {
        self.hosts.clone()
    }

    fn plan(&mut self, seen: &mut Seen<'_>) -> Result<Plan, FlowError> {
        let keys = ClusterKeys::new(seen.pki.clone(), &self.cluster);
        let (delivery, waits, list) = (seen.delivery.clone(), Waits::default(), Arc::new([]) as Arc<[u8]>);
        let supply = Supply {
            bundle: seen.bundle,
            images: &self.images,
            manifests: &[],
            delivery: &delivery,
            registries: &[],
            former: None,
        };
        let mut plan = Plan::default();
        for host in self.hosts.iter().map(Target::id) {
            let Some(facts) = seen.facts.get(&host).copied() else { continue };
            let on = On {
                cluster: &self.cluster,
                host: &host,
                facts,
                keys: &keys,
                supply: &supply,
                waits: &waits,
                list: &list,
                publishes: false,
            };
            plan.steps.extend(NodeImages.steps(&on));
            // What it serves are these images then.
            plan.steps.extend(kept_registry::copy(&on));
        }
        Ok(plan)
    }

    fn keep(&self, environment: &Environment) -> Result<(), FlowError> {
        self.cluster.save(environment)
    }

    fn finish(&mut self, _: &Scene<'_>, report: &RunReport) -> Result<Vec<String>, FlowError> {
        if report.any_failed() {
            return Ok(Vec::new());
        }
        let (images, hosts) = (self.cluster.images.len(), self.hosts.len());
        Ok(vec![format!("Kubernetes: {images} image(s) of the bundle on {hosts} host(s)")])
    }
}
