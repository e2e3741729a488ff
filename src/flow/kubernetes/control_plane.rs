//! The control plane of one host: API server, controller manager and scheduler, and root's kubectl.

use crate::host::HostId;
use crate::plan::{Step, StepId};
use crate::resource::{Files, FirewallPorts, Reads};

use super::component::{Component, On, unit};
use super::control_plane_files::ControlPlaneFiles;
use super::endpoint;
use super::state::API_PORT;
use super::verify::{Leads, MasterAnswers};

pub(super) struct ControlPlane;

/// The step after which this host's API server answers.
pub(super) fn answers(host: &HostId) -> StepId {
    StepId::on(host, "kubernetes.answers")
}

/// The last step of a host's control plane: it works.
pub(super) fn works(host: &HostId) -> StepId {
    StepId::on(host, "kubernetes.leads")
}

impl Component for ControlPlane {
    fn is_on(&self, on: &On<'_>) -> bool {
        on.control_plane().is_some()
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let Some(machine) = on.control_plane() else { return Vec::new() };
        let mut steps = Vec::new();
        if on.facts.firewalld() {
            let ports = FirewallPorts { ports: vec![format!("{API_PORT}/tcp")], at: machine.address };
            steps.push(on.step("control-plane.firewall", "open the API's port in firewalld", ports));
        }
        let files = ControlPlaneFiles::new(on.cluster, on.keys, on.host, machine);
        let configure = "write the control plane's configuration and certificates";
        steps.push(on.step("control-plane.configure", configure, files.all()));
        let start = |name: &str, title: &str, read: &Files, weight| {
            let unit = unit(name, Reads::Files(read.clone()));
            on.step(&format!("{name}.start"), format!("start {title}"), unit).weight(weight)
        };
        let api = start("kube-apiserver", "the API server", &files.api_server, 4);
        steps.push(api.after_if_present(on.waits.etcd.iter().cloned()).after(on.waits.before.clone()));
        let server = endpoint::of_machine(machine);
        let wait = MasterAnswers { server: server.clone() };
        steps.push(on.step("kubernetes.answers", "wait for the API", wait).weight(4));
        // Not before: the API gives them their permissions (RBAC) in the last part of its own start.
        steps.push(start("kube-controller-manager", "the controller manager", &files.controller_manager, 2));
        steps.push(start("kube-scheduler", "the scheduler", &files.scheduler, 2));
        let leads = on.step("kubernetes.leads", "wait for controller manager and scheduler", Leads { server });
        steps.push(leads.weight(2));
        steps
    }
}
