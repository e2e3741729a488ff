//! The options of Kubernetes before 1.10, written for 1.5 (the version of CentOS 7's own packages): what it does not know
//! of today's is left away, what it knows under another name has that name.
//!
//! It has no Node authorizer and no roles for nodes, so whoever shows a certificate of the cluster's authority may do
//! everything; nobody else may do anything.

use super::state::{API_PORT, Cluster, Machine};

const PKI: &str = "/etc/kubernetes/pki";

/// kube-apiserver's.
pub(super) fn api_server(cluster: &Cluster, machine: &Machine, etcd_tls: bool) -> Vec<String> {
    let pki = |name: &str| format!("{PKI}/{name}");
    let mut args = vec![
        format!("--advertise-address={}", machine.address),
        "--bind-address=0.0.0.0".to_owned(),
        format!("--secure-port={API_PORT}"),
        "--insecure-bind-address=127.0.0.1".to_owned(),
        "--insecure-port=0".to_owned(),
        "--storage-backend=etcd3".to_owned(),
        format!("--etcd-servers={}", cluster.etcd.endpoints.join(",")),
        format!("--service-cluster-ip-range={}", cluster.settings.service_cidr),
        "--allow-privileged=true".to_owned(),
        "--anonymous-auth=false".to_owned(),
        "--authorization-mode=AlwaysAllow".to_owned(),
        "--admission-control=NamespaceLifecycle,LimitRanger,ServiceAccount,ResourceQuota".to_owned(),
        format!("--apiserver-count={}", cluster.control_plane.len()),
        format!("--client-ca-file={}", pki("ca.crt")),
        format!("--tls-cert-file={}", pki("apiserver.crt")),
        format!("--tls-private-key-file={}", pki("apiserver.key")),
        format!("--kubelet-certificate-authority={}", pki("ca.crt")),
        format!("--kubelet-client-certificate={}", pki("apiserver-kubelet-client.crt")),
        format!("--kubelet-client-key={}", pki("apiserver-kubelet-client.key")),
        // The public half; the private one signs.
        format!("--service-account-key-file={}", pki("service-accounts.key")),
    ];
    if etcd_tls {
        args.push(format!("--etcd-cafile={}", pki("etcd-ca.crt")));
        args.push(format!("--etcd-certfile={}", pki("etcd-client.crt")));
        args.push(format!("--etcd-keyfile={}", pki("etcd-client.key")));
    }
    args
}

/// kube-controller-manager's.
pub(super) fn controller_manager(cluster: &Cluster, kubeconfig: &str) -> Vec<String> {
    vec![
        format!("--kubeconfig={kubeconfig}"),
        "--address=127.0.0.1".to_owned(),
        "--leader-elect=true".to_owned(),
        format!("--root-ca-file={PKI}/ca.crt"),
        format!("--service-account-private-key-file={PKI}/service-accounts.key"),
        format!("--cluster-cidr={}", cluster.settings.pod_cidr),
        "--allocate-node-cidrs=false".to_owned(),
    ]
}

/// kube-scheduler's.
pub(super) fn scheduler(kubeconfig: &str) -> Vec<String> {
    vec![format!("--kubeconfig={kubeconfig}"), "--address=127.0.0.1".to_owned(), "--leader-elect=true".to_owned()]
}

/// The kubelet's, beside those that are the same in all versions: it has no configuration file yet.
pub(super) fn kubelet(cluster: &Cluster, cgroup_driver: &str, server: &str) -> Vec<String> {
    let mut args = vec![
        format!("--api-servers={server}"),
        "--require-kubeconfig=true".to_owned(),
        "--anonymous-auth=false".to_owned(),
        "--authorization-mode=AlwaysAllow".to_owned(),
        format!("--client-ca-file={PKI}/ca.crt"),
        format!("--tls-cert-file={PKI}/kubelet.crt"),
        format!("--tls-private-key-file={PKI}/kubelet.key"),
        format!("--cgroup-driver={cgroup_driver}"),
        "--healthz-bind-address=127.0.0.1".to_owned(),
        "--read-only-port=0".to_owned(),
        "--node-status-update-frequency=5s".to_owned(),
        format!("--image-gc-high-threshold={}", super::node::IMAGES_STAY),
    ];
    if let Some(dns) = cluster.dns {
        args.push(format!("--cluster-dns={dns}"));
        args.push(format!("--cluster-domain={}", cluster.settings.cluster_domain));
    }
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster() -> Cluster {
        let machine = |name: &str, address: &str| serde_json::json!({"name": name, "address": address});
        serde_json::from_value(serde_json::json!({
            "settings": {}, "network": "direct", "minor": 5, "balanced": true,
            "etcd": {"endpoints": ["https://10.8.14.200:2379"], "tls": true},
            "control_plane": {"10.8.14.200": machine("host0", "10.8.14.200"), "10.8.14.201": machine("host1", "10.8.14.201")},
            "workers": {},
        }))
        .unwrap()
    }

    /// Options that came after 1.5 and would stop its programs from starting.
    const LATER: [&str; 14] = [
        "--enable-admission-plugins",
        "--service-account-signing-key-file",
        "--service-account-issuer",
        "--requestheader-",
        "--proxy-client-",
        "--authentication-kubeconfig",
        "--authorization-kubeconfig",
        "--use-service-account-credentials",
        "--controllers",
        "--config=",
        "--fail-swap-on",
        "--allocate-node-cidrs=true",
        "Node,RBAC",
        "--bind-address=127",
    ];

    #[test]
    fn nothing_is_asked_of_1_5_that_came_later() {
        let cluster = cluster();
        assert!(cluster.is_legacy());
        let machine = cluster.control_plane.values().next().unwrap();
        let all = [
            api_server(&cluster, machine, true),
            controller_manager(&cluster, "/etc/kubernetes/kube-controller-manager.kubeconfig"),
            scheduler("/etc/kubernetes/kube-scheduler.kubeconfig"),
            kubelet(&cluster, "systemd", "https://127.0.0.1:8443"),
        ]
        .concat();
        for option in &all {
            assert!(LATER.iter().all(|later| !option.contains(later)), "{option}");
        }
        insta::assert_snapshot!(all.join("\n"));
    }
}
