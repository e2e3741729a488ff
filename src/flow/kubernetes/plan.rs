//! The steps of a cluster. Masters first, side by side; nodes prepare meanwhile and then wait for an API that answers.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::flow::error::FlowError;
use crate::flow::scene::Scene;
use crate::plan::work::{Files, FirewallPorts, Packages, Unit};
use crate::plan::{Plan, Step, StepId};
use crate::repo::Wanted;

use super::images::Image;
use super::keys::ClusterKeys;
use super::manifest::{Apply, Manifest};
use super::master::MasterFiles;
use super::node_plan::OneNode;
use super::state::{API_PORT, Cluster, Machine};
use super::verify::{Leads, MasterAnswers};
use super::{endpoint, network, vip};

/// How long a service may take to start.
const START: Duration = Duration::from_secs(120);

/// What a plan is made from, beside the cluster itself.
#[derive(Debug)]
pub(super) struct Means<'a> {
    /// By host; only hosts of this run are worked on.
    pub packages: &'a BTreeMap<String, Vec<Wanted>>,
    pub images: &'a [Image],
    pub manifests: &'a [Manifest],
    pub chrony: bool,
    /// The cluster stands: masters are restarted, or join, one after another.
    pub standing: bool,
}

/// All steps, for the hosts of this run.
///
/// # Errors
/// When certificates cannot be made.
pub(super) fn make_plan(cluster: &Cluster, means: &Means<'_>, scene: &Scene<'_>) -> Result<Plan, FlowError> {
    let keys = ClusterKeys::open(scene.environment, cluster)?;
    let mut plan = Plan::default();
    for (host, wanted) in means.packages {
        let work = Packages { wanted: wanted.clone(), options: scene.install.clone() };
        plan.push(Step::on(host, "kubernetes.install", "install Kubernetes and what it needs", work).weight(15));
        if means.chrony {
            plan.push(Step::on(host, "chronyd.start", "keep the clock right", unit("chronyd", "package".to_owned())));
        }
    }
    let mut before = None;
    let masters = || cluster.masters.iter().filter(|(h, _)| means.packages.contains_key(*h));
    for (host, master) in masters() {
        let last = push_master(&mut plan, cluster, &keys, (host, master), before.as_ref(), scene)?;
        if means.standing {
            before = Some(last);
        }
    }
    let api: Vec<StepId> = masters().map(|(h, _)| StepId::on(h, "kubernetes.answers")).collect();
    // Whoever can ask the API tells the cluster of its hosts: a master when there is one in this run.
    let teller = masters().map(|(h, _)| h).next().or_else(|| means.packages.keys().next());
    if let Some(host) = teller.filter(|_| !api.is_empty()) {
        push_publish(&mut plan, cluster, &keys, host, &api)?;
        for manifest in means.manifests {
            let server = cluster.masters.get(host).map_or_else(String::new, endpoint::of_master);
            let title = format!("apply {} of the bundle", manifest.name);
            let apply = Apply { manifest: manifest.clone(), server };
            plan.push(Step::on(host, &format!("apply.{}", manifest.name), title, apply).weight(2));
        }
    }
    for (host, own) in cluster.nodes.iter().filter(|(h, _)| means.packages.contains_key(*h)) {
        if let Some(run_host) = scene.hosts.get(host) {
            let one = OneNode { cluster, keys: &keys, host, node: own, facts: &run_host.facts };
            one.push_steps(&mut plan, means.images, &api, scene)?;
        }
    }
    if let Some(host) = teller.filter(|_| api.is_empty()) {
        push_publish(&mut plan, cluster, &keys, host, &api)?;
    }
    Ok(plan)
}

fn push_publish(
    plan: &mut Plan,
    cluster: &Cluster,
    keys: &ClusterKeys,
    host: &str,
    api: &[StepId],
) -> Result<(), FlowError> {
    let url = cluster.masters.get(host).map_or_else(|| endpoint::for_nodes(cluster), endpoint::of_master);
    let publish =
        network::Publish { list: network::list(cluster), rbac: !cluster.is_legacy(), kubeconfig: keys.admin(&url)? };
    plan.push(
        Step::on(host, "cluster.publish", "publish the list of the cluster's hosts", publish).after(api.to_vec()),
    );
    Ok(())
}

pub(super) fn unit(name: &str, config: String) -> Unit {
    Unit { name: format!("{name}.service"), config, timeout: START, wait: true }
}

/// Files, then the unit that reads them.
pub(super) fn push_service(plan: &mut Plan, host: &str, name: &str, title: &str, files: Files, after: &[StepId]) {
    let service = unit(name, files.digest());
    plan.push(Step::on(host, &format!("{name}.configure"), format!("configure {title}"), files));
    plan.push(
        Step::on(host, &format!("{name}.start"), format!("start {title}"), service).after(after.to_vec()).weight(3),
    );
}

/// An etcd made or changed on the same line must answer first. Not every member has this step: it may be one that the
/// line does not touch, or the cluster is only left by others.
pub(super) fn etcd_answers(scene: &Scene<'_>) -> Vec<StepId> {
    let members = scene.etcd().map(|cluster| cluster.members).unwrap_or_default();
    members.keys().map(|h| StepId::on(h, "etcd.answers")).collect()
}

/// Adds a master's steps; the last of them.
fn push_master(
    plan: &mut Plan,
    cluster: &Cluster,
    keys: &ClusterKeys,
    (host, master): (&str, &Machine),
    before: Option<&StepId>,
    scene: &Scene<'_>,
) -> Result<StepId, FlowError> {
    let facts = scene.hosts.get(host).map(|h| &h.facts);
    if facts.is_some_and(crate::host::Facts::firewalld) {
        let ports = FirewallPorts(vec![format!("{API_PORT}/tcp")]);
        plan.push(Step::on(host, "master.firewall", "open the API's port in firewalld", ports));
    }
    let files = MasterFiles::new(cluster, keys, host, master)?;
    plan.push(Step::on(host, "master.configure", "write the master's configuration and certificates", files.all()));
    let etcd = etcd_answers(scene);
    let mut start = |name: &str, title: &str, read: &Files| {
        let step = Step::on(host, &format!("{name}.start"), format!("start {title}"), unit(name, read.digest()));
        plan.push(step.after_if_present(etcd.clone()).after(before.cloned()).weight(4));
    };
    start("kube-apiserver", "the API server", &files.api_server);
    let server = endpoint::of_master(master);
    let answers = Step::on(host, "kubernetes.answers", "wait for the API", MasterAnswers { server: server.clone() });
    plan.push(answers.weight(4));
    // Not before: the API gives them their leave (RBAC) in the last part of its own start.
    let mut start = |name: &str, title: &str, read: &Files| {
        let step = Step::on(host, &format!("{name}.start"), format!("start {title}"), unit(name, read.digest()));
        plan.push(step.weight(2));
    };
    start("kube-controller-manager", "the controller manager", &files.controller_manager);
    start("kube-scheduler", "the scheduler", &files.scheduler);
    let leads = Step::on(host, "kubernetes.leads", "wait for controller manager and scheduler", Leads { server });
    let id = leads.id.clone();
    plan.push(leads.weight(2));
    if let Some(vip) = &cluster.settings.api_vip {
        let files = vip::files(vip, facts);
        push_service(plan, host, "keepalived", "the API's virtual address", files, &[]);
    }
    Ok(id)
}
