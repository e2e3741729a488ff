//! The tables of a node: the kubelet's options and its configuration, and kube-proxy's.

use serde_json::{Map, Value, json};

use super::super::component::On;
use super::super::control_plane_files::PKI;
use super::super::nameserver::RESOLV_CONF;
use super::super::node::{CONFIGURATION, KUBELET_KUBECONFIG};
use super::super::state::{Cluster, Machine};
use super::{Row, of, option, row, since};

/// The percentage of a full disk from which the kubelet removes images that no container uses: none. There is nowhere to
/// pull them from again.
pub(in super::super) const IMAGES_STAY: u32 = 100;

/// The kubelet's, beside those for what runs its containers.
pub(in super::super) fn kubelet(on: &On<'_>, node: &Machine) -> Vec<String> {
    let (cluster, driver) = (on.cluster, on.cgroup_driver());
    let mut table = vec![
        option(5.., format!("--kubeconfig={KUBELET_KUBECONFIG}")),
        // Without, it asks for --api-servers, or runs alone; it is implied from 1.8 on and removed in 1.10.
        option(5..=7, "--require-kubeconfig=true"),
        option(5.., format!("--node-ip={}", node.address)),
        option(10.., format!("--config={CONFIGURATION}")),
        // As `configuration` has it for later versions.
        option(5..=9, "--anonymous-auth=false"),
        option(5..=9, "--authorization-mode=AlwaysAllow"),
        option(5..=9, format!("--client-ca-file={PKI}/ca.crt")),
        option(5..=9, format!("--tls-cert-file={PKI}/kubelet.crt")),
        option(5..=9, format!("--tls-private-key-file={PKI}/kubelet.key")),
        option(5..=9, format!("--cgroup-driver={driver}")),
        option(5..=9, "--healthz-bind-address=127.0.0.1"),
        option(5..=9, "--read-only-port=0"),
        option(5..=9, "--node-status-update-frequency=5s"),
        option(5..=9, format!("--image-gc-high-threshold={IMAGES_STAY}")),
        // The default from 1.11 on.
        option(5..=10, "--allow-privileged=true"),
        option(11..=18, "--node-status-max-images=-1"),
    ];
    if let Some(dns) = cluster.dns {
        table.push(option(5..=9, format!("--cluster-dns={dns}")));
        table.push(option(5..=9, format!("--cluster-domain={}", cluster.settings.cluster_domain)));
    }
    if on.facts.without_nameserver {
        table.push(option(5.., format!("--resolv-conf={RESOLV_CONF}")));
    }
    of(cluster.minor, table)
}

/// The kubelet's for Docker, which it looks for by itself.
pub(in super::super) fn with_docker(on: &On<'_>) -> Vec<String> {
    let mut table = Vec::new();
    if on.network().uses_cni() {
        table.push(option(5..=23, "--network-plugin=cni"));
        table.push(option(5..=23, "--cni-conf-dir=/etc/cni/net.d"));
        // The place of Fedora's and CentOS's packages, and upstream's; it takes one folder only before 1.11.
        table.push(option(5..=10, "--cni-bin-dir=/usr/libexec/cni"));
        table.push(option(11..=23, "--cni-bin-dir=/opt/cni/bin,/usr/libexec/cni"));
    }
    table.extend(on.pause().map(|image| option(5..=23, format!("--pod-infra-container-image={image}"))));
    of(on.cluster.minor, table)
}

/// The kubelet's for containerd, which knows of CNI and of the pause image by its own configuration.
pub(in super::super) fn with_containerd(on: &On<'_>) -> Vec<String> {
    let table = vec![
        option(10.., "--container-runtime-endpoint=unix:///run/containerd/containerd.sock"),
        // There is no other from 1.24 on; removed in 1.27.
        option(10..=26, "--container-runtime=remote"),
    ];
    of(on.cluster.minor, table)
}

/// A KubeletConfiguration (kubelet.config.k8s.io/v1beta1), as JSON, which is YAML too; from 1.10 on.
pub(in super::super) fn configuration(on: &On<'_>) -> Option<String> {
    let minor = on.cluster.minor;
    (minor >= since::KUBELET_CONFIGURATION).then(|| {
        let fields: Map<String, Value> = of(minor, fields(on)).into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
        format!("{:#}\n", Value::Object(fields))
    })
}

/// The fields of a KubeletConfiguration.
fn fields(on: &On<'_>) -> Vec<Row<(&'static str, Value)>> {
    let cluster = on.cluster;
    let authentication = json!({
        "anonymous": {"enabled": false},
        "webhook": {"enabled": true},
        "x509": {"clientCAFile": format!("{PKI}/ca.crt")},
    });
    let mut table = vec![
        row(10.., ("apiVersion", "kubelet.config.k8s.io/v1beta1".into())),
        row(10.., ("kind", "KubeletConfiguration".into())),
        row(10.., ("authentication", authentication)),
        row(10.., ("authorization", json!({"mode": "Webhook"}))),
        row(10.., ("cgroupDriver", on.cgroup_driver().into())),
        row(10.., ("tlsCertFile", format!("{PKI}/kubelet.crt").into())),
        row(10.., ("tlsPrivateKeyFile", format!("{PKI}/kubelet.key").into())),
        row(10.., ("healthzBindAddress", "127.0.0.1".into())),
        row(10.., ("readOnlyPort", 0.into())),
        row(10.., ("failSwapOn", true.into())),
        // A node is looked at every 2 s, so that it is Ready as soon as it is, and reported when something changed; before there
        // were leases every look was a report.
        row(10..=13, ("nodeStatusUpdateFrequency", "5s".into())),
        row(14.., ("nodeStatusUpdateFrequency", "2s".into())),
        row(14.., ("nodeStatusReportFrequency", "5m".into())),
        // All of them: `cluster status` says which are missing.
        row(19.., ("nodeStatusMaxImages", (-1).into())),
    ];
    if !on.keeps_pinned_images() {
        table.push(row(10.., ("imageGCHighThresholdPercent", IMAGES_STAY.into())));
    }
    if let Some(dns) = cluster.dns {
        table.push(row(10.., ("clusterDNS", json!([dns]))));
        table.push(row(10.., ("clusterDomain", cluster.settings.cluster_domain.clone().into())));
    }
    table
}

/// kube-proxy's.
pub(in super::super) fn kube_proxy(cluster: &Cluster, node: &Machine, kubeconfig: &str) -> Vec<String> {
    let table = vec![
        option(5.., format!("--kubeconfig={kubeconfig}")),
        option(5.., format!("--hostname-override={}", node.name)),
        option(5.., "--proxy-mode=iptables"),
        option(5.., format!("--cluster-cidr={}", cluster.settings.pod_cidr)),
    ];
    of(cluster.minor, table)
}
