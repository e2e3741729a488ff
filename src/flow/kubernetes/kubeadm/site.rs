//! What the site sets on Kubernetes' components, merged into kubeadm's configuration. The site decides, but for what would
//! keep the cluster from working: that stays this product's or kubeadm's own, and is said before any host is touched.

use std::collections::BTreeMap;

use ipnet::IpNet;
use serde_json::{Map, Value, json};

use crate::flow::networks::{Family, Networks, node_prefix};
use crate::flow::problem::Problem;
use crate::flow::request::{ClusterSettings, ComponentSettings};

use super::ours::{API_SERVER, CONTROLLER_MANAGER, KUBE_PROXY, KUBELET, Ours, SCHEDULER};

/// The cluster's authority on control plane nodes, which kubeadm shows to API servers.
const CA: &str = "/etc/kubernetes/pki/ca.crt";
/// Where the site's files lie on hosts. `kubeadm reset` leaves this folder alone.
pub(super) const PATCHES: &str = "/etc/kubernetes/sunshine/patches";
pub(super) const AUDIT_POLICY: &str = "/etc/kubernetes/sunshine/audit-policy.yaml";
pub(super) const ENCRYPTION: &str = "/etc/kubernetes/sunshine/encryption.yaml";
pub(super) const AUDIT_LOGS: &str = "/var/log/kubernetes/audit";

/// How much of the audit log is kept where the site says nothing: 30 days, at most eleven files of 100 MB.
const ROTATION: [(&str, &str); 3] =
    [("audit-log-maxage", "30"), ("audit-log-maxbackup", "10"), ("audit-log-maxsize", "100")];

/// Options in the form of kubeadm's API: a map, from v1beta4 on a list.
pub(super) fn args(minor: u32, args: &BTreeMap<String, String>) -> Value {
    match minor {
        0..31 => json!(args),
        _ => args.iter().map(|(name, value)| json!({"name": name, "value": value})).collect(),
    }
}

/// The site's options without those that stay ours.
fn allowed(args: &BTreeMap<String, String>, ours: &[Ours]) -> BTreeMap<String, String> {
    let keep = |name: &str, value: &str| !ours.iter().any(|o| o.path == name && o.overrules(&value.into()));
    args.iter().filter(|(name, value)| keep(name, value)).map(|(n, v)| (n.clone(), v.clone())).collect()
}

/// `apiServer`, `controllerManager` and `scheduler` of a `ClusterConfiguration`, as far as something is to be said of them.
pub(super) fn control_plane(settings: &ClusterSettings, minor: u32) -> Map<String, Value> {
    let mut parts = ours_of_cluster(settings);
    overlay(&mut parts, of_cluster(&settings.components));
    let Value::Object(mut parts) = parts else { return Map::new() };
    for part in parts.values_mut() {
        if let Some(Value::Object(options)) = part.get("extraArgs") {
            let options = options.iter().filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
            part["extraArgs"] = args(minor, &options.collect());
        }
        if let Some(Value::Object(volumes)) = part.get("extraVolumes") {
            part["extraVolumes"] = volumes.values().cloned().collect();
        }
    }
    parts
}

/// What is set where the site says nothing, in the form of [`of_cluster`].
pub(super) fn ours_of_cluster(settings: &ClusterSettings) -> Value {
    // kubeadm leaves it out, and API servers would speak to whoever answers for a kubelet.
    let mut ours = json!({"apiServer": {"extraArgs": {"kubelet-certificate-authority": CA}}});
    for (name, prefix) in node_prefixes(settings.pods()) {
        ours["controllerManager"]["extraArgs"][name] = prefix.to_string().into();
    }
    ours
}

/// What the site sets of a `ClusterConfiguration`: options and volumes by their names.
pub(super) fn of_cluster(site: &ComponentSettings) -> Value {
    let mut api_server = allowed(&site.api_server_args, API_SERVER);
    let mut volumes = Map::new();
    let mut mount = |name: &str, path: &str, kind: &str, read_only: bool| {
        volumes.insert(name.to_owned(), volume(name, path, kind, read_only));
    };
    if site.audit_policy.is_some() {
        for (name, value) in ROTATION {
            api_server.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        }
        api_server.insert("audit-policy-file".to_owned(), AUDIT_POLICY.to_owned());
        api_server.insert("audit-log-path".to_owned(), format!("{AUDIT_LOGS}/audit.log"));
        mount("sunshine-audit-policy", AUDIT_POLICY, "File", true);
        mount("sunshine-audit-logs", AUDIT_LOGS, "DirectoryOrCreate", false);
    }
    if site.encrypt_secrets {
        api_server.insert("encryption-provider-config".to_owned(), ENCRYPTION.to_owned());
        mount("sunshine-encryption", ENCRYPTION, "File", true);
    }
    let mut parts = Map::new();
    for (part, options) in [
        ("apiServer", api_server),
        ("controllerManager", allowed(&site.controller_manager_args, CONTROLLER_MANAGER)),
        ("scheduler", allowed(&site.scheduler_args, SCHEDULER)),
    ] {
        if !options.is_empty() {
            parts.insert(part.to_owned(), json!({"extraArgs": options}));
        }
    }
    if !volumes.is_empty() {
        parts["apiServer"]["extraVolumes"] = volumes.into();
    }
    parts.into()
}

/// Which part of pods' networks a node gets, where one of them is of IPv6: its own choice does not fit all sizes.
fn node_prefixes(pods: Networks) -> Vec<(&'static str, u8)> {
    if !pods.has(Family::V6) {
        return Vec::new();
    }
    let option = |net: IpNet| match Family::of(net.addr()) {
        Family::V4 => ("node-cidr-mask-size-ipv4", node_prefix(net)),
        Family::V6 => ("node-cidr-mask-size-ipv6", node_prefix(net)),
    };
    pods.iter().map(option).collect()
}

/// A file or folder of the host in a pod of the control plane, under its own path.
fn volume(name: &str, path: &str, kind: &str, read_only: bool) -> Value {
    json!({"name": name, "hostPath": path, "mountPath": path, "pathType": kind, "readOnly": read_only})
}

/// The kubelets' configuration.
pub(super) fn kubelet(base: Value, site: &ComponentSettings) -> Value {
    merged(base, &site.kubelet, KUBELET)
}

/// kube-proxy's configuration.
pub(super) fn kube_proxy(base: Value, site: &ComponentSettings) -> Value {
    merged(base, &site.kube_proxy, KUBE_PROXY)
}

/// `patches` of an `InitConfiguration` or a `JoinConfiguration`.
pub(super) fn patch(config: &mut Value, site: &ComponentSettings) {
    if !site.patches.is_empty() {
        config["patches"] = json!({"directory": PATCHES});
    }
}

fn merged(mut base: Value, site: &Map<String, Value>, ours: &[Ours]) -> Value {
    let mut site = Value::Object(site.clone());
    for one in ours {
        if site.pointer(&one.pointer()).is_some_and(|value| one.overrules(value)) {
            remove(&mut site, one.path);
        }
    }
    overlay(&mut base, site);
    base
}

fn remove(value: &mut Value, path: &str) {
    match path.split_once('.') {
        Some((first, rest)) => {
            if let Some(inner) = value.get_mut(first) {
                remove(inner, rest);
            }
        }
        None => {
            if let Some(map) = value.as_object_mut() {
                map.remove(path);
            }
        }
    }
}

/// The fields of `over` in `base`, those of inner maps too.
fn overlay(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (name, value) in over {
                overlay(base.entry(name).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}

/// Each setting of the site that is not followed, with the reason.
pub(in crate::flow::kubernetes) fn overruled(site: &ComponentSettings) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut note = |field: &str, one: &Ours| {
        let text = format!("{field}.{} is ignored: {}", one.path, one.why);
        problems.push(Problem::warning(None, text, Some(format!("leave it out of {field}"))));
    };
    for (field, options, ours) in [
        ("kubernetes.apiServer.extraArgs", &site.api_server_args, API_SERVER),
        ("kubernetes.controllerManager.extraArgs", &site.controller_manager_args, CONTROLLER_MANAGER),
        ("kubernetes.scheduler.extraArgs", &site.scheduler_args, SCHEDULER),
    ] {
        let overrules = |one: &&Ours| options.get(one.path).is_some_and(|value| one.overrules(&value.as_str().into()));
        ours.iter().filter(overrules).for_each(|one| note(field, one));
    }
    for (field, config, ours) in [
        ("kubernetes.kubelet.config", &site.kubelet, KUBELET),
        ("kubernetes.kubeProxy.config", &site.kube_proxy, KUBE_PROXY),
    ] {
        let config = Value::Object(config.clone());
        let overrules = |one: &&Ours| config.pointer(&one.pointer()).is_some_and(|value| one.overrules(value));
        ours.iter().filter(overrules).for_each(|one| note(field, one));
    }
    let mut made = |field: &str, name: &str, by: &str| {
        if site.api_server_args.contains_key(name) {
            let text = format!("kubernetes.apiServer.extraArgs.{name} is ignored: {field} sets it");
            problems.push(Problem::warning(None, text, Some(by.to_owned())));
        }
    };
    if site.audit_policy.is_some() {
        for name in ["audit-policy-file", "audit-log-path"] {
            made("kubernetes.auditPolicy", name, "leave one of both out");
        }
    }
    if site.encrypt_secrets {
        made("kubernetes.encryptSecrets", "encryption-provider-config", "leave one of both out");
    }
    problems
}
