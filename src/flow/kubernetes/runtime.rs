//! What runs containers on a node: Docker, or containerd by itself.

use crate::host::{Command, Facts};
use crate::plan::work::{FileSpec, Files};
use crate::plan::{Check, Cx, StepError, Work};

use super::node::cgroup_driver;
use super::state::Cluster;

/// The unit that runs containers.
pub(super) fn unit(cluster: &Cluster) -> &'static str {
    if cluster.containerd { "containerd" } else { "docker" }
}

/// What that unit reads.
pub(super) fn files(cluster: &Cluster, facts: &Facts, pause: Option<&str>) -> Files {
    if cluster.containerd {
        Files(vec![FileSpec::text("/etc/containerd/config.toml", containerd(cluster, facts, pause))])
    } else {
        Files(vec![FileSpec::text("/etc/docker/daemon.json", docker(cluster, facts))])
    }
}

/// The kubelet's options for it. Docker is what it looks for by itself, until 1.23.
pub(super) fn kubelet_args(cluster: &Cluster) -> Vec<String> {
    let mut args = Vec::new();
    if cluster.containerd {
        args.push("--container-runtime-endpoint=unix:///run/containerd/containerd.sock".to_owned());
        if cluster.minor < 27 {
            args.push("--container-runtime=remote".to_owned());
        }
    }
    args
}

/// Docker's own configuration (dockerd manual, "daemon configuration file").
fn docker(cluster: &Cluster, facts: &Facts) -> String {
    let mut config = serde_json::json!({
        "exec-opts": [format!("native.cgroupdriver={}", cgroup_driver(facts))],
        "log-driver": "json-file",
        "log-opts": {"max-size": "10m", "max-file": "3"},
        "live-restore": true,
    });
    let settings = &cluster.settings;
    if let Some(root) = &settings.data_root {
        config["data-root"] = root.clone().into();
    }
    if !settings.registry_mirrors.is_empty() {
        config["registry-mirrors"] = settings.registry_mirrors.clone().into();
    }
    if !settings.insecure_registries.is_empty() {
        config["insecure-registries"] = settings.insecure_registries.clone().into();
    }
    format!("{config:#}\n")
}

/// containerd's (containerd documentation, "CRI plugin config guide", version 2).
fn containerd(cluster: &Cluster, facts: &Facts, pause: Option<&str>) -> String {
    let settings = &cluster.settings;
    // A JSON string is a basic string of TOML too.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let mut text = "# Written by sunshine-installer.\nversion = 2\n".to_owned();
    if let Some(root) = &settings.data_root {
        text.push_str(&format!("root = {}\n", quoted(root)));
    }
    let cri = "plugins.\"io.containerd.grpc.v1.cri\"";
    text.push_str(&format!("[{cri}]\n"));
    if let Some(image) = pause {
        text.push_str(&format!("sandbox_image = {}\n", quoted(image)));
    }
    let systemd = cgroup_driver(facts) == "systemd";
    text.push_str(&format!(
        "[{cri}.cni]\nbin_dir = \"/opt/cni/bin\"\nconf_dir = \"/etc/cni/net.d\"\n\
         [{cri}.containerd.runtimes.runc]\nruntime_type = \"io.containerd.runc.v2\"\n\
         [{cri}.containerd.runtimes.runc.options]\nSystemdCgroup = {systemd}\n"
    ));
    let mut mirror = |of: &str, endpoints: Vec<String>| {
        let list = endpoints.iter().map(|e| quoted(e)).collect::<Vec<_>>().join(", ");
        text.push_str(&format!("[{cri}.registry.mirrors.{}]\nendpoint = [{list}]\n", quoted(of)));
    };
    if !settings.registry_mirrors.is_empty() {
        mirror("docker.io", settings.registry_mirrors.clone());
    }
    for registry in &settings.insecure_registries {
        mirror(registry, vec![format!("http://{registry}")]);
    }
    text
}

/// The CNI plugins lie where containerd looks: it knows one folder, upstream's; Fedora's and CentOS's package has another.
#[derive(Debug)]
pub(super) struct CniFolder;

const CNI_THERE: &str = r#"[ -e /opt/cni/bin/bridge ] || [ ! -e /usr/libexec/cni/bridge ]"#;
const CNI_LINK: &str = r#"set -eu
mkdir -p /opt/cni
note file /opt/cni/bin -
chmod 755 /opt/cni
ln -s /usr/libexec/cni /opt/cni/bin"#;

impl Work for CniFolder {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let there = cx.host()?.run(&Command::script(CNI_THERE).label("look for CNI plugins"))?.ok();
        Ok(if there { Check::Satisfied } else { Check::Needed(vec!["link /opt/cni/bin".to_owned()]) })
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        cx.host()?.run_ok(&cx.owner()?.script(CNI_LINK).label("link /opt/cni/bin"))?;
        Ok(())
    }
}
