//! The files of a node, for Kubernetes 1.10 and later: kubelet and kube-proxy.

use crate::resource::{FileSpec, Files};

use super::component::On;
use super::control_plane_files::{common, never_gives_up, options, variables};
use super::endpoint;
use super::keys::ClusterKeys;
use super::legacy;
use super::nameserver::RESOLV_CONF;
use super::state::{Cluster, Machine};

const PKI: &str = "/etc/kubernetes/pki";
pub(super) const KUBELET_KUBECONFIG: &str = "/etc/kubernetes/kubelet.kubeconfig";

/// What the kubelet reads.
pub(super) fn kubelet_files(on: &On<'_>, node: &Machine) -> Files {
    let (cluster, keys) = (on.cluster, on.keys);
    let (server, client) = keys.kubelet(node);
    let user = format!("system:node:{}", node.name);
    let config = keys.kubeconfig_with(client, &user, &endpoint::for_nodes(cluster));
    let mut args = vec![format!("--kubeconfig={KUBELET_KUBECONFIG}"), format!("--node-ip={}", node.address)];
    if cluster.is_legacy() {
        args.extend(legacy::kubelet(cluster, on.cgroup_driver(), &endpoint::for_nodes(cluster)));
    } else {
        args.push("--config=/etc/kubernetes/kubelet.yaml".to_owned());
    }
    if on.facts.without_nameserver {
        args.push(format!("--resolv-conf={RESOLV_CONF}"));
    }
    args.extend(on.runtime().kubelet_args(on));
    let hostname = format!("KUBELET_HOSTNAME=\"--hostname-override={}\"\n", node.name);
    let emptied = ["KUBELET_ADDRESS", "KUBELET_PORT", "KUBELET_API_SERVER"];
    let environment = variables(&emptied, "KUBELET_ARGS", &args) + &hostname;
    let mut files = vec![
        common(cluster),
        FileSpec::made(format!("{PKI}/ca.crt"), keys.ca.cert()),
        FileSpec::made(format!("{PKI}/kubelet.crt"), server.cert()),
        FileSpec::secret(format!("{PKI}/kubelet.key"), server.key(), "root"),
        FileSpec::secret(KUBELET_KUBECONFIG, config, "root"),
        never_gives_up("kubelet", ""),
        FileSpec::text("/etc/kubernetes/kubelet", environment),
    ];
    if !cluster.is_legacy() {
        files.push(FileSpec::text("/etc/kubernetes/kubelet.yaml", kubelet_config(cluster, on.cgroup_driver())));
    }
    Files(files)
}

/// The percentage of a full disk from which the kubelet removes images that no container uses: none. There is nowhere to
/// pull them from again.
pub(super) const IMAGES_STAY: u32 = 100;

/// Whether the kubelet's clean-up leaves alone the images that were pinned: from 1.26 on, where the runtime tells it which.
fn keeps_pinned_images(cluster: &Cluster) -> bool {
    cluster.containerd && cluster.minor >= 26
}

/// A KubeletConfiguration (kubelet.config.k8s.io/v1beta1), as JSON, which is YAML too.
fn kubelet_config(cluster: &Cluster, cgroup_driver: &str) -> String {
    let mut config = serde_json::json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": format!("{PKI}/ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": cgroup_driver,
        "tlsCertFile": format!("{PKI}/kubelet.crt"),
        "tlsPrivateKeyFile": format!("{PKI}/kubelet.key"),
        "healthzBindAddress": "127.0.0.1",
        "readOnlyPort": 0,
        "failSwapOn": true,
        // A node is looked at every 2 s, so that it is Ready as soon as it is, and reported when something changed.
        "nodeStatusUpdateFrequency": "2s",
        "nodeStatusReportFrequency": "5m",
    });
    if cluster.minor >= 17 {
        // All of them: `cluster status` says which are missing.
        config["nodeStatusMaxImages"] = (-1).into();
    }
    if !keeps_pinned_images(cluster) {
        config["imageGCHighThresholdPercent"] = IMAGES_STAY.into();
    }
    if let Some(dns) = cluster.dns {
        config["clusterDNS"] = serde_json::json!([dns]);
        config["clusterDomain"] = cluster.settings.cluster_domain.clone().into();
    }
    format!("{config:#}\n")
}

/// What kube-proxy reads.
pub(super) fn proxy_files(cluster: &Cluster, keys: &ClusterKeys, node: &Machine) -> Files {
    let path = "/etc/kubernetes/kube-proxy.kubeconfig";
    let config = keys.kubeconfig("kube-proxy", "system:kube-proxy", &[], &endpoint::for_nodes(cluster));
    let args = [
        format!("--kubeconfig={path}"),
        format!("--hostname-override={}", node.name),
        "--proxy-mode=iptables".to_owned(),
        format!("--cluster-cidr={}", cluster.settings.pod_cidr),
    ];
    Files(vec![
        common(cluster),
        FileSpec::secret(path, config, "root"),
        never_gives_up("kube-proxy", ""),
        options("/etc/kubernetes/proxy", &[], "KUBE_PROXY_ARGS", &args),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(minor: u32, dns: Option<&str>) -> String {
        let cluster: Cluster = serde_json::from_value(serde_json::json!({
            "settings": {"cluster_domain": "corp.example"}, "network": "direct", "minor": minor, "dns": dns,
            "etcd": {"endpoints": [], "tls": false}, "control_plane": {}, "workers": {},
        }))
        .unwrap();
        if cluster.is_legacy() {
            return legacy::kubelet(&cluster, "systemd", "https://127.0.0.1:8443").join("\n");
        }
        kubelet_config(&cluster, "systemd")
    }

    #[test]
    fn the_kubelet_gets_a_domain_with_a_dns_server_or_neither() {
        for minor in [5, 20] {
            let (without, with) = (config(minor, None), config(minor, Some("10.254.0.10")));
            assert!(!without.contains("corp.example") && !without.to_lowercase().contains("dns"), "{without}");
            assert!(with.contains("corp.example") && with.contains("10.254.0.10"), "{with}");
        }
    }

    #[test]
    fn a_kubelet_that_cannot_tell_pinned_images_removes_none() {
        assert!(config(5, None).contains("--image-gc-high-threshold=100"));
        assert!(config(20, None).contains("\"imageGCHighThresholdPercent\": 100"));
        assert!(config(29, None).contains("imageGCHighThresholdPercent"), "Docker pins none");
    }
}
