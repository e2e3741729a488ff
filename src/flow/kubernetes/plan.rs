//! The steps of a cluster. Masters first, side by side; nodes prepare meanwhile and then wait for an API that answers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::flow::error::FlowError;
use crate::flow::job::Scene;
use crate::flow::request::Network;
use crate::host::Facts;
use crate::plan::work::{Files, FirewallPorts, Packages, Unit};
use crate::plan::{Plan, Step, StepId};
use crate::repo::Wanted;

use super::images::{self, Image, LoadImages};
use super::keys::ClusterKeys;
use super::master::MasterFiles;
use super::prepare::{self, Kernel};
use super::state::{API_PORT, Cluster, Machine, Node};
use super::verify::{MasterAnswers, NodeReady};
use super::{endpoint, network, node};

/// How long a service may take to start.
const START: Duration = Duration::from_secs(120);

/// All steps, for the hosts of this run.
///
/// # Errors
/// When certificates cannot be made.
pub(super) fn make_plan(
    cluster: &Cluster,
    packages: &BTreeMap<String, Vec<Wanted>>,
    images: &[Image],
    scene: &Scene<'_>,
) -> Result<Plan, FlowError> {
    let keys = ClusterKeys::open(scene.environment, cluster)?;
    let mut plan = Plan::default();
    for (host, wanted) in packages {
        let work = Packages { wanted: wanted.clone(), options: scene.install.clone() };
        plan.push(Step::on(host, "kubernetes.install", "install Kubernetes and Docker", work).weight(15));
        if endpoint::is_balanced(cluster) {
            let files = endpoint::haproxy_files(cluster);
            push_service(&mut plan, host, "haproxy", "the API's balancer", files, &[]);
        }
    }
    for (host, master) in cluster.masters.iter().filter(|(h, _)| packages.contains_key(*h)) {
        push_master(&mut plan, cluster, &keys, (host, master), scene)?;
    }
    let api: Vec<StepId> = cluster.masters.keys().map(|h| StepId::on(h, "kubernetes.answers")).collect();
    for (host, own) in cluster.nodes.iter().filter(|(h, _)| packages.contains_key(*h)) {
        if let Some(run_host) = scene.hosts.get(host) {
            let one = OneNode { cluster, keys: &keys, host, node: own, facts: &run_host.facts };
            one.push_steps(&mut plan, images, &api, scene)?;
        }
    }
    Ok(plan)
}

/// Files, then the unit that reads them.
fn push_service(plan: &mut Plan, host: &str, unit: &str, title: &str, files: Files, after: &[StepId]) {
    let service = Unit { name: format!("{unit}.service"), config: files.digest(), timeout: START, wait: true };
    plan.push(Step::on(host, &format!("{unit}.configure"), format!("configure {title}"), files));
    plan.push(
        Step::on(host, &format!("{unit}.start"), format!("start {title}"), service).after(after.to_vec()).weight(3),
    );
}

fn push_master(
    plan: &mut Plan,
    cluster: &Cluster,
    keys: &ClusterKeys,
    (host, master): (&str, &Machine),
    scene: &Scene<'_>,
) -> Result<(), FlowError> {
    if scene.hosts.get(host).is_some_and(|h| h.facts.firewalld()) {
        let ports = FirewallPorts(vec![format!("{API_PORT}/tcp")]);
        plan.push(Step::on(host, "master.firewall", "open the API's port in firewalld", ports));
    }
    let files = MasterFiles::new(cluster, keys, master)?;
    plan.push(Step::on(host, "master.configure", "write the master's configuration and certificates", files.all()));
    // An etcd made on the same line must answer first; steps that are not in the plan are not waited for.
    let etcd: Vec<StepId> = scene.hosts.keys().map(|h| StepId::on(h, "etcd.answers")).collect();
    let units = [
        ("kube-apiserver", "the API server", &files.api_server),
        ("kube-controller-manager", "the controller manager", &files.controller_manager),
        ("kube-scheduler", "the scheduler", &files.scheduler),
    ];
    for (unit, title, read) in units {
        let work = Unit { name: format!("{unit}.service"), config: read.digest(), timeout: START, wait: true };
        plan.push(
            Step::on(host, &format!("{unit}.start"), format!("start {title}"), work).after(etcd.clone()).weight(4),
        );
    }
    let server = format!("https://{}", SocketAddr::new(master.address, API_PORT));
    plan.push(Step::on(host, "kubernetes.answers", "wait for the API", MasterAnswers { server }).weight(4));
    Ok(())
}

struct OneNode<'a> {
    cluster: &'a Cluster,
    keys: &'a ClusterKeys,
    host: &'a str,
    node: &'a Node,
    facts: &'a Facts,
}

impl OneNode<'_> {
    fn push_steps(
        &self,
        plan: &mut Plan,
        images: &[Image],
        api: &[StepId],
        scene: &Scene<'_>,
    ) -> Result<(), FlowError> {
        let (host, cluster, machine) = (self.host, self.cluster, &self.node.machine);
        plan.push(Step::on(
            host,
            "kernel.configure",
            "keep kernel modules and sysctls over a restart",
            prepare::files(),
        ));
        plan.push(Step::on(host, "kernel.set", "set kernel modules and sysctls, switch swap off", Kernel));
        if self.facts.firewalld() {
            let ports = ["10250/tcp", "30000-32767/tcp", "30000-32767/udp"].map(str::to_owned).to_vec();
            plan.push(Step::on(host, "node.firewall", "open the node's ports in firewalld", FirewallPorts(ports)));
        }
        push_service(plan, host, "docker", "Docker", node::docker_files(cluster, self.facts), &[]);
        if let Some(bundle) = scene.bundle.filter(|_| !images.is_empty()) {
            let load = LoadImages { bundle: bundle.clone(), images: images.to_vec() };
            plan.push(Step::on(host, "images.load", "load the bundle's container images", load).weight(4));
        }
        if cluster.network == Network::Direct {
            plan.push(Step::on(
                host,
                "cni.configure",
                "configure the pods' bridge",
                network::cni_files(cluster, self.node),
            ));
            push_service(
                plan,
                host,
                "sunshine-network",
                "the routes to other nodes' pods",
                network::route_files(cluster, self.node),
                &[],
            );
        }
        let pause = images::pause(images);
        let kubelet = node::kubelet_files(cluster, self.keys, machine, self.facts, pause.as_deref())?;
        push_service(plan, host, "kubelet", "the kubelet", kubelet, api);
        push_service(plan, host, "kube-proxy", "kube-proxy", node::proxy_files(cluster, self.keys, machine)?, &[]);
        let ready = NodeReady { node: machine.name.clone() };
        plan.push(Step::on(host, "node.ready", "wait until the node is Ready", ready).weight(5));
        Ok(())
    }
}
