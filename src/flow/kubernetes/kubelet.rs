//! The kubelet and kube-proxy of a node.

use crate::host::Probe;
use crate::plan::Step;
use crate::resource::{FirewallPorts, Reads};

use super::component::{Component, On, unit};
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
        let Some(machine) = on.machine() else { return Vec::new() };
        let open = FirewallPorts { ports: PORTS.map(str::to_owned).to_vec(), at: machine.address };
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
        let files = node::kubelet_files(on, &own.machine);
        // It reads its logins every five minutes: until then pods would be refused a registry that has just got users.
        let mut reads = files.clone();
        reads.0.extend(on.registry_login());
        let start = on.step("kubelet.start", "start the kubelet", unit("kubelet", Reads::Files(reads))).weight(3);
        vec![on.step("kubelet.configure", "configure the kubelet", files), start.after(on.waits.api.iter().cloned())]
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
        let ready = NodeReady::new(on.cluster, &own.machine.name, node::KUBELET_KUBECONFIG);
        vec![on.step("node.ready", "wait until the node is Ready", ready).weight(5)]
    }
}
