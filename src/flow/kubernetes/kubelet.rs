//! The kubelet and kube-proxy of a node.

use crate::host::Probe;
use crate::plan::Step;
use crate::resource::FirewallPorts;

use super::component::{Component, On};
use super::node;
use super::verify::NodeReady;

/// The ports by which API servers reach a kubelet and anybody the services of a node.
const PORTS: [&str; 3] = ["10250/tcp", "30000-32767/tcp", "30000-32767/udp"];

pub(super) struct NodePorts;

impl Component for NodePorts {
    fn is_on(&self, on: &On<'_>) -> bool {
        on.runs_pods() && on.facts.firewalld()
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let open = FirewallPorts(PORTS.map(str::to_owned).to_vec());
        vec![on.step("node.firewall", "open the node's ports in firewalld", open)]
    }
}

pub(super) struct Kubelet;

impl Component for Kubelet {
    fn is_on(&self, on: &On<'_>) -> bool {
        on.node().is_some()
    }

    fn probe(&self) -> Probe {
        Probe { units: &["kubelet.service"], ..Probe::default() }
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let Some(own) = on.node() else { return Vec::new() };
        let [configure, start] = on.service("kubelet", "the kubelet", node::kubelet_files(on, &own.machine));
        vec![configure, start.after(on.waits.api.iter().cloned())]
    }
}

pub(super) struct KubeProxy;

impl Component for KubeProxy {
    fn is_on(&self, on: &On<'_>) -> bool {
        on.node().is_some()
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let Some(own) = on.node() else { return Vec::new() };
        on.service("kube-proxy", "kube-proxy", node::proxy_files(on.cluster, on.keys, &own.machine)).into()
    }
}

/// The proof of a node: the cluster calls it Ready.
pub(super) struct Ready;

impl Component for Ready {
    fn is_on(&self, on: &On<'_>) -> bool {
        on.node().is_some()
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let Some(own) = on.node() else { return Vec::new() };
        let ready = NodeReady { node: own.machine.name.clone(), kubeconfig: node::KUBELET_KUBECONFIG };
        vec![on.step("node.ready", "wait until the node is Ready", ready).weight(5)]
    }
}
