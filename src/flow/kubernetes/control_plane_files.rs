//! The files of a control plane node.
//!
//! Each component's options go into one variable of its EnvironmentFile; the others, which the packages fill with their
//! own defaults, are emptied, so that no default of a package contradicts us.

use crate::flow::pki::Material;
use crate::resource::{FileSpec, Files};

use super::endpoint;
use super::keys::ClusterKeys;
use super::options::{self, since};
use super::state::{Cluster, Machine};

pub(super) const PKI: &str = "/etc/kubernetes/pki";
/// Who may do what, before there are roles.
pub(super) const POLICY: &str = "/etc/kubernetes/abac-policy.jsonl";
/// The user that the packages' units run the components as.
const USER: &str = "kube";

/// What one control plane node reads, by the service that reads it.
#[derive(Debug)]
pub(super) struct ControlPlaneFiles {
    pub api_server: Files,
    pub controller_manager: Files,
    pub scheduler: Files,
    /// root's kubectl.
    pub admin: Files,
}

impl ControlPlaneFiles {
    pub(super) fn all(&self) -> Files {
        let parts = [&self.api_server, &self.controller_manager, &self.scheduler, &self.admin];
        let mut all: Vec<FileSpec> = Vec::new();
        for file in parts.into_iter().flat_map(|p| &p.0) {
            if all.iter().all(|f| f.path != file.path) {
                all.push(file.clone());
            }
        }
        Files(all)
    }

    pub(super) fn new(cluster: &Cluster, keys: &ClusterKeys, host: &str, machine: &Machine) -> Self {
        let admin = keys.admin(&endpoint::for_root(cluster, host));
        Self {
            api_server: api_server(cluster, keys, machine),
            controller_manager: controller_manager(cluster, keys, machine),
            scheduler: scheduler(cluster, keys, machine),
            admin: Files(vec![FileSpec::secret("/root/.kube/config", admin, "root")]),
        }
    }
}

/// `/etc/kubernetes/config`, read by every component.
pub(super) fn common(cluster: &Cluster) -> FileSpec {
    let to_stderr = options::logging(cluster.minor).concat();
    FileSpec::text(
        "/etc/kubernetes/config",
        format!(
            "# Written by sunshine-installer.\nKUBE_LOGTOSTDERR=\"{to_stderr}\"\nKUBE_LOG_LEVEL=\"--v=2\"\n\
             KUBE_ALLOW_PRIV=\"\"\nKUBE_MASTER=\"\"\n"
        ),
    )
}

/// An EnvironmentFile: these variables emptied, all options in the last one.
pub(super) fn environment(path: &str, emptied: &[&str], variable: &str, options: &[String]) -> FileSpec {
    FileSpec::text(path, variables(emptied, variable, options))
}

/// Its text.
pub(super) fn variables(emptied: &[&str], variable: &str, options: &[String]) -> String {
    let mut text = "# Written by sunshine-installer.\n".to_owned();
    for name in emptied {
        text.push_str(&format!("{name}=\"\"\n"));
    }
    text.push_str(&format!("{variable}=\"{}\"\n", options.join(" \\\n  ")));
    text
}

/// A drop-in that keeps systemd from giving a component up: whatever it waits for (etcd, the API, a certificate) may be
/// away for long, as after a power cut.
pub(super) fn never_gives_up(unit: &str, more: &str) -> FileSpec {
    FileSpec::text(
        format!("/etc/systemd/system/{unit}.service.d/sunshine.conf"),
        format!(
            "# Written by sunshine-installer.\n[Service]\nRestart=always\nRestartSec=2\nStartLimitInterval=0\n{more}"
        ),
    )
}

fn key(name: &str, keys: &Material) -> [FileSpec; 2] {
    [
        FileSpec::made(format!("{PKI}/{name}.crt"), keys.cert()),
        FileSpec::secret(format!("{PKI}/{name}.key"), keys.key(), USER),
    ]
}

fn service_accounts(keys: &ClusterKeys) -> [FileSpec; 2] {
    [
        FileSpec::made(format!("{PKI}/service-accounts.pub"), keys.service_accounts.cert()),
        FileSpec::secret(format!("{PKI}/service-accounts.key"), keys.service_accounts.key(), USER),
    ]
}

/// The certificates every component trusts.
fn ca(keys: &ClusterKeys) -> FileSpec {
    FileSpec::made(format!("{PKI}/ca.crt"), keys.ca.cert())
}

fn api_server(cluster: &Cluster, keys: &ClusterKeys, machine: &Machine) -> Files {
    let mut files = vec![common(cluster), ca(keys)];
    files.extend(key("apiserver", &keys.api_server(cluster, machine)));
    files.extend(key("apiserver-kubelet-client", &keys.kubelet_client()));
    files.extend(service_accounts(keys));
    files.extend(key("front-proxy-client", &keys.front_proxy));
    files.push(FileSpec::made(format!("{PKI}/front-proxy-ca.crt"), keys.front_proxy_ca.cert()));
    let args = options::api_server(cluster, machine, keys.etcd.is_some());
    if cluster.minor < since::ROLES {
        files.push(FileSpec::text(POLICY, options::policy()));
    }
    if let Some((etcd_ca, etcd_keys)) = &keys.etcd {
        files.push(FileSpec::made(format!("{PKI}/etcd-ca.crt"), etcd_ca.cert()));
        files.extend(key("etcd-client", etcd_keys));
    }
    let emptied = [
        "KUBE_API_ADDRESS",
        "KUBE_API_PORT",
        "KUBELET_PORT",
        "KUBE_ETCD_SERVERS",
        "KUBE_SERVICE_ADDRESSES",
        "KUBE_ADMISSION_CONTROL",
    ];
    files.push(environment("/etc/kubernetes/apiserver", &emptied, "KUBE_API_ARGS", &args));
    // Told to end, it waits a minute for clients that watch; they find another control plane node, or this one again, at once.
    files.push(never_gives_up("kube-apiserver", "TimeoutStopSec=5s\n"));
    Files(files)
}

// What runs beside an API server need not go through the balancer.
fn component_kubeconfig(keys: &ClusterKeys, name: &str, machine: &Machine) -> FileSpec {
    let config = keys.kubeconfig(name, &format!("system:{name}"), &[], &endpoint::of_machine(machine));
    FileSpec::secret(format!("/etc/kubernetes/{name}.kubeconfig"), config, USER)
}

fn controller_manager(cluster: &Cluster, keys: &ClusterKeys, machine: &Machine) -> Files {
    let name = "kube-controller-manager";
    let kubeconfig = component_kubeconfig(keys, name, machine);
    let mut files = vec![common(cluster), ca(keys)];
    files.extend(service_accounts(keys));
    let args = options::controller_manager(cluster, &kubeconfig.path);
    files.push(kubeconfig);
    files.push(never_gives_up(name, ""));
    files.push(environment("/etc/kubernetes/controller-manager", &[], "KUBE_CONTROLLER_MANAGER_ARGS", &args));
    Files(files)
}

fn scheduler(cluster: &Cluster, keys: &ClusterKeys, machine: &Machine) -> Files {
    let kubeconfig = component_kubeconfig(keys, "kube-scheduler", machine);
    let args = options::scheduler(cluster.minor, &kubeconfig.path);
    let file = environment("/etc/kubernetes/scheduler", &[], "KUBE_SCHEDULER_ARGS", &args);
    Files(vec![common(cluster), kubeconfig, never_gives_up("kube-scheduler", ""), file])
}
