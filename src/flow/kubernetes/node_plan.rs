//! The steps of one node: kernel, network, runtime, the way to the API and to other nodes, kubelet and kube-proxy.

use crate::flow::error::FlowError;
use crate::flow::request::Network;
use crate::flow::scene::Scene;
use crate::host::Facts;
use crate::plan::work::{Files, FirewallPorts};
use crate::plan::{Plan, Step, StepId};

use super::images::{self, Image, LoadImages};
use super::keys::ClusterKeys;
use super::plan::{etcd_answers, push_service, unit};
use super::prepare::{self, Kernel, SeBool};
use super::runtime::{self, CniFolder};
use super::state::{Cluster, Node};
use super::verify::NodeReady;
use super::{flannel, network, node};

/// A node of this run.
#[derive(Debug)]
pub(super) struct OneNode<'a> {
    pub cluster: &'a Cluster,
    pub keys: &'a ClusterKeys,
    pub host: &'a str,
    pub node: &'a Node,
    pub facts: &'a Facts,
}

impl OneNode<'_> {
    /// Adds its steps; the kubelet waits for `api`.
    ///
    /// # Errors
    /// When a certificate cannot be made.
    pub(super) fn push_steps(
        &self,
        plan: &mut Plan,
        images: &[Image],
        api: &[StepId],
        scene: &Scene<'_>,
    ) -> Result<(), FlowError> {
        let pause = images::pause(images);
        self.push_host(plan);
        // Before the runtime: containerd makes the CNI folder on its own, and only what we make is recorded.
        self.push_network(plan, scene);
        self.push_runtime(plan, images, pause.as_deref(), scene);
        self.push_ways(plan);
        self.push_kubelet(plan, pause.as_deref(), api)
    }

    fn push_host(&self, plan: &mut Plan) {
        let keep = "keep kernel modules and sysctls over a restart";
        plan.push(Step::on(self.host, "kernel.configure", keep, prepare::files()));
        plan.push(Step::on(self.host, "kernel.set", "set kernel modules and sysctls, switch swap off", Kernel));
        if self.facts.firewalld() {
            let ports = ["10250/tcp", "30000-32767/tcp", "30000-32767/udp"].map(str::to_owned).to_vec();
            let open = FirewallPorts(ports);
            plan.push(Step::on(self.host, "node.firewall", "open the node's ports in firewalld", open));
        }
    }

    fn push_network(&self, plan: &mut Plan, scene: &Scene<'_>) {
        let (host, cluster) = (self.host, self.cluster);
        match cluster.network {
            Network::Flannel => {
                let files = flannel::files(cluster, self.keys, self.facts.route_interface.as_deref());
                let service = unit(flannel::UNIT, files.digest());
                plan.push(Step::on(host, "flannel.configure", "configure flannel", files));
                let endpoints = cluster.etcd.endpoints.join(",");
                let (tls, pod_cidr) = (cluster.etcd.tls, cluster.settings.pod_cidr.clone());
                let key = flannel::Configure { endpoints, tls, pod_cidr };
                let key = Step::on(host, "flannel.key", "set flannel's key in etcd", key);
                plan.push(key.after_if_present(etcd_answers(scene)));
                plan.push(Step::on(host, "flannel.start", "start flannel", service).weight(2));
            }
            Network::Direct => {
                let files = network::cni_files(cluster, self.node);
                plan.push(Step::on(host, "cni.configure", "configure the pods' bridge", files));
            }
            Network::Auto | Network::Manifest(_) => {}
        }
    }

    fn push_runtime(&self, plan: &mut Plan, images: &[Image], pause: Option<&str>, scene: &Scene<'_>) {
        let (host, cluster) = (self.host, self.cluster);
        if cluster.containerd {
            plan.push(Step::on(host, "cni.folder", "let containerd find the CNI plugins", CniFolder));
        }
        let title = if cluster.containerd { "containerd" } else { "Docker" };
        let files: Files = runtime::files(cluster, self.facts, pause);
        push_service(plan, host, runtime::unit(cluster), title, files, &[]);
        if let Some(bundle) = scene.bundle.filter(|_| !images.is_empty()) {
            let load = LoadImages { bundle: bundle.clone(), images: images.to_vec(), containerd: cluster.containerd };
            plan.push(Step::on(host, "images.load", "load the bundle's container images", load).weight(4));
        }
    }

    /// The ways to other nodes' pods and to the API.
    fn push_ways(&self, plan: &mut Plan) {
        let (host, cluster) = (self.host, self.cluster);
        plan.push(Step::on(host, "cluster.list", "write the list of the cluster's hosts", network::list_file(cluster)));
        push_service(plan, host, network::UNIT, "the cluster-sync service", network::keeper_files(), &[]);
        if cluster.balanced {
            if self.facts.selinux != "Disabled" {
                let leave = SeBool("haproxy_connect_any");
                plan.push(Step::on(host, "balancer.selinux", "let haproxy reach the masters through SELinux", leave));
            }
            push_service(plan, host, network::BALANCER_UNIT, "the API's balancer", network::balancer_files(), &[]);
        }
    }

    fn push_kubelet(&self, plan: &mut Plan, pause: Option<&str>, api: &[StepId]) -> Result<(), FlowError> {
        let (host, cluster, machine) = (self.host, self.cluster, &self.node.machine);
        let kubelet = node::kubelet_files(cluster, self.keys, machine, self.facts, pause)?;
        push_service(plan, host, "kubelet", "the kubelet", kubelet, api);
        push_service(plan, host, "kube-proxy", "kube-proxy", node::proxy_files(cluster, self.keys, machine)?, &[]);
        let ready = NodeReady { node: machine.name.clone() };
        plan.push(Step::on(host, "node.ready", "wait until the node is Ready", ready).weight(5));
        Ok(())
    }
}
