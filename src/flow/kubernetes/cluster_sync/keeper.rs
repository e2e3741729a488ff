//! The unit that keeps a host as the list says.

use std::sync::Arc;

use crate::plan::Step;
use crate::resource::{FileSpec, Files};

use super::super::component::{Component, On};
use super::SCRIPT;

/// Keeps routes and balancer as the list says.
const UNIT: &str = "sunshine-cluster";
const LIST: &str = "/etc/kubernetes/sunshine-cluster";

pub(in crate::flow::kubernetes) struct ClusterSync;

impl Component for ClusterSync {
    fn is_on(&self, on: &On<'_>) -> bool {
        on.cluster.keeps_list() && on.runs_pods()
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let mut steps = vec![on.step("cluster.list", "write the list of the cluster's hosts", list_file(on))];
        steps.extend(on.service(UNIT, "the cluster-sync service", keeper_files(on)));
        steps
    }
}

/// The list on a host. The unit itself keeps it up to date, so a change of it is no reason to restart the unit.
fn list_file(on: &On<'_>) -> Files {
    Files(vec![FileSpec::shared(LIST, Arc::clone(on.list))])
}

/// The unit that keeps the host as the list says.
fn keeper_files(on: &On<'_>) -> Files {
    let kubeconfig = on.cluster.distribution.rules().list_reader().kubeconfig;
    let unit = format!(
        "# Written by sunshine-installer.\n[Unit]\nDescription=This host's routes to pods, and the API's balancer\n\
         After=network-online.target docker.service containerd.service\nWants=network-online.target\n\n\
         [Service]\nExecStartPre={SCRIPT} apply\nExecStart={SCRIPT} watch {kubeconfig}\nRestart=always\nRestartSec=2\n\n\
         [Install]\nWantedBy=multi-user.target\n"
    );
    let mut script = FileSpec::text(SCRIPT, include_str!("sunshine-cluster.sh"));
    script.meta.mode = 0o755;
    Files(vec![script, FileSpec::text(format!("/etc/systemd/system/{UNIT}.service"), unit)])
}

#[cfg(test)]
mod tests {
    use super::super::list::list;
    use super::*;
    use crate::flow::kubernetes::state::Cluster;

    fn cluster(minor: u32, network: &str) -> Cluster {
        serde_json::from_value(serde_json::json!({
            "settings": {}, "network": network, "minor": minor, "balanced": true,
            "etcd": {"endpoints": [], "tls": false},
            "control_plane": {"h": {"name": "host0", "address": "10.8.14.200"}},
            "workers": {"h": {"name": "host0", "address": "10.8.14.200", "subnet": 3}},
        }))
        .unwrap()
    }

    #[test]
    fn the_list_names_every_host_and_what_the_keeper_must_know() {
        insta::assert_snapshot!(list(&cluster(20, "direct")));
        assert!(list(&cluster(20, "flannel")).contains("\nnetwork flannel\n"));
        assert!(list(&cluster(5, "direct")).contains("\nhealth connect\n"));
    }

    #[test]
    fn the_list_of_both_families_names_their_networks_and_the_second_addresses() {
        let mut cluster = cluster(36, "direct");
        cluster.settings.pod_cidr = "10.244.0.0/16,fd00:10:244::/56".to_owned();
        let second = "fd10:8:14::200".parse().ok();
        cluster.control_plane.values_mut().for_each(|machine| machine.second_address = second);
        cluster.workers.values_mut().for_each(|node| node.machine.second_address = second);
        let list = list(&cluster);
        assert!(list.contains("pods 10.244.0.0/16\npods fd00:10:244::/56\n"), "{list}");
        assert_eq!(list.matches("address fd10:8:14::200\n").count(), 1, "{list}");
    }

    /// The balancer's configuration, made by the script that hosts run, in a folder of this test.
    #[test]
    fn the_script_balances_over_all_masters_and_says_when_nothing_changed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        let script = include_str!("sunshine-cluster.sh")
            .replace(LIST, &at("list"))
            .replace("/run/sunshine-installer", &at("run"));
        std::fs::write(at("script"), script).unwrap();
        std::fs::write(at("list"), list(&cluster(20, "direct"))).unwrap();
        let run = || std::process::Command::new("sh").args([&at("script"), "balance"]).status().unwrap();
        assert!(run().success());
        let config = std::fs::read_to_string(at("run/haproxy.cfg")).unwrap();
        insta::assert_snapshot!(config);
        let of_six = list(&cluster(20, "direct")).replace(" 10.8.14.200", " fd10:8:14::200");
        std::fs::write(at("list"), of_six).unwrap();
        assert!(run().success());
        let six = std::fs::read_to_string(at("run/haproxy.cfg")).unwrap();
        assert!(six.contains("    server host0 [fd10:8:14::200]:6443 check"), "{six}");
        let made = std::fs::metadata(at("run/haproxy.cfg")).unwrap().modified().unwrap();
        assert!(run().success());
        assert_eq!(std::fs::metadata(at("run/haproxy.cfg")).unwrap().modified().unwrap(), made);
    }
}
