//! What runs containers on a node, Docker or containerd by itself: chosen here, once.

use payload::Bundle;

use crate::flow::rpms;
use crate::host::Probe;
use crate::plan::Step;
use crate::resource::{self, FileSpec, Files, Link, Store};

use super::component::{Component, On};
use super::docker_bridge;
use super::options;
use super::registries;
use super::state::Cluster;

/// A program that runs containers.
pub(super) trait ContainerRuntime: Sync {
    /// As an operator reads it.
    fn title(&self) -> &'static str;

    /// Packages that bring it.
    fn packages(&self) -> &'static [&'static str];

    /// Its unit.
    fn unit(&self) -> &'static str;

    /// What it reads.
    fn files(&self, on: &On<'_>) -> Files;

    /// What must be there before it starts.
    fn before(&self, _: &On<'_>) -> Option<Step> {
        None
    }

    /// What sets up the cgroups of its containers, and so must those of the kubelet: on cgroup v2 systemd has to be the only
    /// writer.
    fn cgroup_driver(&self, on: &On<'_>) -> &'static str {
        if on.facts.cgroup_version == 2 { "systemd" } else { "cgroupfs" }
    }

    /// The kubelet's options for it.
    fn kubelet_args(&self, on: &On<'_>) -> Vec<String>;

    /// Whether it pins the bundle's images and tells the kubelet so, whose clean-up then leaves them alone.
    fn pins_images(&self, _: &On<'_>) -> bool {
        false
    }

    /// Its images.
    fn images(&self) -> &'static Store;
}

/// The runtime of a cluster.
pub(super) fn of(cluster: &Cluster) -> &'static dyn ContainerRuntime {
    if cluster.containerd { &Containerd } else { &Docker }
}

/// Docker's own rpm of containerd, which also brings runc.
const CONTAINERD_IO: &str = "containerd.io";

/// The package of the runtime; containerd comes as `containerd.io` where the bundle has that.
pub(super) fn package(containerd: bool, bundle: Option<&Bundle>) -> &'static str {
    match containerd {
        true if rpms::in_bundle(bundle, CONTAINERD_IO) => CONTAINERD_IO,
        true => "containerd",
        false => "docker",
    }
}

/// The component: the runtime of a node.
pub(super) struct NodeRuntime;

impl Component for NodeRuntime {
    fn is_on(&self, on: &On<'_>) -> bool {
        on.runs_pods()
    }

    fn probe(&self) -> Probe {
        Probe { folders: &["/var/lib/docker", "/var/lib/containerd"], ..Probe::default() }
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let runtime = on.runtime();
        let mut steps: Vec<Step> = runtime.before(on).into_iter().collect();
        steps.extend(on.service(runtime.unit(), runtime.title(), runtime.files(on)));
        steps
    }
}

/// Docker. It is what the kubelet looks for by itself, until 1.23.
struct Docker;

impl ContainerRuntime for Docker {
    fn title(&self) -> &'static str {
        "Docker"
    }

    fn packages(&self) -> &'static [&'static str] {
        &["docker", "docker-ce", "moby-engine"]
    }

    fn unit(&self) -> &'static str {
        "docker"
    }

    fn files(&self, on: &On<'_>) -> Files {
        let config = if is_docker_1(on) { docker_1(on) } else { docker(on) };
        Files(vec![FileSpec::text("/etc/docker/daemon.json", config)])
    }

    fn cgroup_driver(&self, on: &On<'_>) -> &'static str {
        if is_docker_1(on) || on.facts.cgroup_version == 2 { "systemd" } else { "cgroupfs" }
    }

    fn kubelet_args(&self, on: &On<'_>) -> Vec<String> {
        options::with_docker(on)
    }

    fn images(&self) -> &'static Store {
        &resource::DOCKER
    }
}

/// containerd by itself.
struct Containerd;

impl ContainerRuntime for Containerd {
    fn title(&self) -> &'static str {
        "containerd"
    }

    fn packages(&self) -> &'static [&'static str] {
        &[CONTAINERD_IO, "containerd"]
    }

    fn unit(&self) -> &'static str {
        "containerd"
    }

    fn files(&self, on: &On<'_>) -> Files {
        let config = match self.packages().iter().find_map(|package| major(package, on)) {
            Some(2..) => containerd_2(on),
            _ => containerd(on),
        };
        Files(vec![FileSpec::text("/etc/containerd/config.toml", config)])
    }

    fn before(&self, on: &On<'_>) -> Option<Step> {
        // It knows one folder, upstream's; Fedora's and CentOS's package of the plugins has another.
        let link = Link { path: "/opt/cni/bin", to: "/usr/libexec/cni", file: "bridge" };
        Some(on.step("cni.folder", "let containerd find the CNI plugins", link))
    }

    fn kubelet_args(&self, on: &On<'_>) -> Vec<String> {
        options::with_containerd(on)
    }

    /// From 2.0 on surely; some of 1.7 do.
    fn pins_images(&self, on: &On<'_>) -> bool {
        self.packages().iter().find_map(|package| major(package, on)) >= Some(2)
    }

    fn images(&self) -> &'static Store {
        &resource::CONTAINERD
    }
}

/// The first number of a package's version: of the bundle's, else of that on the host.
fn major(package: &str, on: &On<'_>) -> Option<u32> {
    let there = || on.facts.packages.get(package)?.version.split('.').next()?.parse().ok();
    on.supply.major(package, on.facts).or_else(there)
}

/// Whether it is Docker 1.x, which is the package of CentOS 7.
fn is_docker_1(on: &On<'_>) -> bool {
    major("docker", on) == Some(1)
}

/// The configuration of CentOS 7's Docker. Its unit names the cgroup driver systemd and its `/etc/sysconfig/docker` where
/// containers log to; dockerd does not start when a file says so again. It knows `data-root` as `graph`.
fn docker_1(on: &On<'_>) -> String {
    let mut config = serde_json::json!({"live-restore": true});
    add_site(&mut config, "graph", on);
    format!("{config:#}\n")
}

/// Docker's own configuration (dockerd manual, "daemon configuration file").
fn docker(on: &On<'_>) -> String {
    let mut config = serde_json::json!({
        "exec-opts": [format!("native.cgroupdriver={}", on.cgroup_driver())],
        "log-driver": "json-file",
        "log-opts": {"max-size": "10m", "max-file": "3"},
        "live-restore": true,
    });
    add_site(&mut config, "data-root", on);
    format!("{config:#}\n")
}

/// What the site sets, or has. `root`: under which name Docker knows the folder for its data.
fn add_site(config: &mut serde_json::Value, root: &str, on: &On<'_>) {
    let settings = &on.cluster.settings;
    if let Some(address) = docker_bridge::address(on) {
        config["bip"] = address.into();
    }
    if let Some(folder) = &settings.data_root {
        config[root] = folder.clone().into();
    }
    if !settings.registry_mirrors.is_empty() {
        config["registry-mirrors"] = settings.registry_mirrors.clone().into();
    }
    if !settings.insecure_registries.is_empty() {
        config["insecure-registries"] = settings.insecure_registries.clone().into();
    }
}

/// containerd's (containerd documentation, "CRI plugin config guide", version 2).
fn containerd(on: &On<'_>) -> String {
    let settings = &on.cluster.settings;
    // A JSON string is a basic string of TOML too.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let mut text = "# Written by sunshine-installer.\nversion = 2\n".to_owned();
    if let Some(root) = &settings.data_root {
        text.push_str(&format!("root = {}\n", quoted(root)));
    }
    let cri = "plugins.\"io.containerd.grpc.v1.cri\"";
    text.push_str(&format!("[{cri}]\n"));
    if let Some(image) = on.pause() {
        text.push_str(&format!("sandbox_image = {}\n", quoted(image)));
    }
    let systemd = on.cgroup_driver() == "systemd";
    text.push_str(&format!(
        "[{cri}.cni]\nbin_dir = \"/opt/cni/bin\"\nconf_dir = \"/etc/cni/net.d\"\n\
         [{cri}.containerd.runtimes.runc]\nruntime_type = \"io.containerd.runc.v2\"\n\
         [{cri}.containerd.runtimes.runc.options]\nSystemdCgroup = {systemd}\n\
         [{cri}.registry]\nconfig_path = \"{}\"\n",
        registries::CONTAINERD
    ));
    text
}

/// containerd's from 2.0 on (containerd documentation, "CRI plugin config guide", version 3).
fn containerd_2(on: &On<'_>) -> String {
    // A JSON string is a basic string of TOML too.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let mut text = "# Written by sunshine-installer.\nversion = 3\n".to_owned();
    if let Some(root) = &on.cluster.settings.data_root {
        text.push_str(&format!("root = {}\n", quoted(root)));
    }
    if let Some(image) = on.pause() {
        text.push_str(&format!(
            "[plugins.\"io.containerd.cri.v1.images\".pinned_images]\nsandbox = {}\n",
            quoted(image)
        ));
    }
    let runc = "plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes.runc";
    let systemd = on.cgroup_driver() == "systemd";
    text.push_str(&format!(
        "[{runc}]\nruntime_type = \"io.containerd.runc.v2\"\n[{runc}.options]\nSystemdCgroup = {systemd}\n\
         [plugins.\"io.containerd.cri.v1.images\".registry]\nconfig_path = \"{}\"\n",
        registries::CONTAINERD
    ));
    text
}
