//! The tables of API server, controller manager and scheduler.

use crate::flow::request::Network;

use super::super::control_plane_files::{PKI, POLICY};
use super::super::state::{API_PORT, Cluster, Machine};
use super::{of, option};

/// kube-apiserver's.
pub(in super::super) fn api_server(cluster: &Cluster, machine: &Machine, etcd_tls: bool) -> Vec<String> {
    let pki = |name: &str| format!("{PKI}/{name}");
    let mut table = vec![
        option(5.., format!("--advertise-address={}", machine.address)),
        option(5.., "--bind-address=0.0.0.0"),
        option(5.., format!("--secure-port={API_PORT}")),
        // Open on 127.0.0.1:8080 otherwise, with every right; without effect from 1.20 on, removed in 1.24.
        option(5..=19, "--insecure-port=0"),
        // The default is etcd2.
        option(5..=5, "--storage-backend=etcd3"),
        option(5.., format!("--etcd-servers={}", cluster.etcd.endpoints.join(","))),
        option(5.., format!("--service-cluster-ip-range={}", cluster.settings.service_cidr)),
        option(5.., "--allow-privileged=true"),
        option(5..=9, "--anonymous-auth=false"),
        option(5..=9, "--authorization-mode=ABAC"),
        option(5..=9, format!("--authorization-policy-file={POLICY}")),
        option(10.., "--authorization-mode=Node,RBAC"),
        // Without ServiceAccount, which gives every pod a token.
        option(5..=9, "--admission-control=NamespaceLifecycle,LimitRanger,ResourceQuota"),
        option(10.., "--enable-admission-plugins=NodeRestriction"),
        // Servers find each other by leases from 1.11 on.
        option(5..=10, format!("--apiserver-count={}", cluster.control_plane.len())),
        option(5.., format!("--client-ca-file={}", pki("ca.crt"))),
        // By which it trusts itself: with the insecure port closed 1.5 does not start without.
        option(5..=5, format!("--tls-ca-file={}", pki("ca.crt"))),
        option(5.., format!("--tls-cert-file={}", pki("apiserver.crt"))),
        option(5.., format!("--tls-private-key-file={}", pki("apiserver.key"))),
        option(5.., format!("--kubelet-certificate-authority={}", pki("ca.crt"))),
        option(5.., format!("--kubelet-client-certificate={}", pki("apiserver-kubelet-client.crt"))),
        option(5.., format!("--kubelet-client-key={}", pki("apiserver-kubelet-client.key"))),
        option(5.., "--kubelet-preferred-address-types=InternalIP,Hostname"),
        // The public half: the private one signs.
        option(5.., format!("--service-account-key-file={}", pki("service-accounts.pub"))),
        // Before, an alpha feature that is off (1.10, 1.11), or only together with audiences (1.12): it would not start.
        option(13.., format!("--service-account-signing-key-file={}", pki("service-accounts.key"))),
        option(
            13..,
            format!("--service-account-issuer=https://kubernetes.default.svc.{}", cluster.settings.cluster_domain),
        ),
        option(10.., format!("--requestheader-client-ca-file={}", pki("front-proxy-ca.crt"))),
        option(10.., "--requestheader-allowed-names=front-proxy-client"),
        option(10.., "--requestheader-extra-headers-prefix=X-Remote-Extra-"),
        option(10.., "--requestheader-group-headers=X-Remote-Group"),
        option(10.., "--requestheader-username-headers=X-Remote-User"),
        option(10.., format!("--proxy-client-cert-file={}", pki("front-proxy-client.crt"))),
        option(10.., format!("--proxy-client-key-file={}", pki("front-proxy-client.key"))),
    ];
    if etcd_tls {
        table.push(option(5.., format!("--etcd-cafile={}", pki("etcd-ca.crt"))));
        table.push(option(5.., format!("--etcd-certfile={}", pki("etcd-client.crt"))));
        table.push(option(5.., format!("--etcd-keyfile={}", pki("etcd-client.key"))));
    }
    of(cluster.minor, table)
}

/// kube-controller-manager's.
pub(in super::super) fn controller_manager(cluster: &Cluster, kubeconfig: &str) -> Vec<String> {
    // A network of a manifest takes each node's subnet from the cluster.
    let allocate = matches!(cluster.network, Network::Manifest(_));
    let table = vec![
        option(5.., format!("--kubeconfig={kubeconfig}")),
        // It has a port with TLS from 1.12 on, and a role that lets it read who may ask there.
        option(12.., format!("--authentication-kubeconfig={kubeconfig}")),
        option(12.., format!("--authorization-kubeconfig={kubeconfig}")),
        option(5..=22, "--address=127.0.0.1"),
        option(12.., "--bind-address=127.0.0.1"),
        option(5.., "--leader-elect=true"),
        // Each controller with rights of its own: where there are roles.
        option(10.., "--use-service-account-credentials=true"),
        option(5.., format!("--root-ca-file={PKI}/ca.crt")),
        option(5.., format!("--service-account-private-key-file={PKI}/service-accounts.key")),
        option(5.., format!("--cluster-cidr={}", cluster.settings.pod_cidr)),
        option(5.., format!("--allocate-node-cidrs={allocate}")),
        option(10.., "--controllers=*,tokencleaner"),
    ];
    of(cluster.minor, table)
}

/// kube-scheduler's.
pub(in super::super) fn scheduler(minor: u32, kubeconfig: &str) -> Vec<String> {
    let table = vec![
        option(5.., format!("--kubeconfig={kubeconfig}")),
        // It has a port with TLS from 1.13 on.
        option(13.., format!("--authentication-kubeconfig={kubeconfig}")),
        option(13.., format!("--authorization-kubeconfig={kubeconfig}")),
        option(5..=22, "--address=127.0.0.1"),
        option(13.., "--bind-address=127.0.0.1"),
        option(5.., "--leader-elect=true"),
    ];
    of(minor, table)
}
