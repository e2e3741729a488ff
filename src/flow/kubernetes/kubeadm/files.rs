//! What kubeadm finds on a host: the cluster's authorities and the certificate for etcd; and the units around it.

use crate::host::Probe;
use crate::plan::Step;
use crate::resource::{FileSpec, Files, FirewallPorts, Reads, Unit};

use super::super::component::{Component, On, unit};
use super::super::endpoint;
use super::super::state::API_PORT;
use super::super::verify;
use super::KUBELET_CONF;

const PKI: &str = "/etc/kubernetes/pki";
pub(super) const ETCD_CA: &str = "/etc/kubernetes/pki/etcd-ca.crt";
pub(super) const ETCD_CERT: &str = "/etc/kubernetes/pki/apiserver-etcd-client.crt";
pub(super) const ETCD_KEY: &str = "/etc/kubernetes/pki/apiserver-etcd-client.key";

/// The API's port in firewalld.
pub(in crate::flow::kubernetes) struct ApiPort;

impl Component for ApiPort {
    fn is_on(&self, on: &On<'_>) -> bool {
        on.control_plane().is_some() && on.facts.firewalld()
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let Some(machine) = on.control_plane() else { return Vec::new() };
        let ports = FirewallPorts { ports: vec![format!("{API_PORT}/tcp")], at: machine.address };
        vec![on.step("control-plane.firewall", "open the API's port in firewalld", ports)]
    }
}

/// The authorities of the cluster on a control plane node, by SSH: kubeadm uses those that it finds.
pub(in crate::flow::kubernetes) struct Authorities;

impl Component for Authorities {
    fn is_on(&self, on: &On<'_>) -> bool {
        on.control_plane().is_some()
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let keys = on.keys;
        let path = |name: &str| format!("{PKI}/{name}");
        let secret = |path: String, made| FileSpec::secret(path, made, "root");
        let admin = keys.admin(&endpoint::for_root(on.cluster, on.host));
        let mut files = vec![
            FileSpec::made(path("ca.crt"), keys.ca.cert()),
            secret(path("ca.key"), keys.ca.key()),
            FileSpec::made(path("front-proxy-ca.crt"), keys.front_proxy_ca.cert()),
            secret(path("front-proxy-ca.key"), keys.front_proxy_ca.key()),
            FileSpec::made(path("sa.pub"), keys.service_accounts.cert()),
            secret(path("sa.key"), keys.service_accounts.key()),
            secret("/root/.kube/config".to_owned(), admin),
        ];
        if let Some((ca, client)) = &keys.etcd {
            files.push(FileSpec::made(ETCD_CA, ca.cert()));
            files.push(FileSpec::made(ETCD_CERT, client.cert()));
            files.push(secret(ETCD_KEY.to_owned(), client.key()));
        }
        vec![on.step("kubeadm.authorities", "write the cluster's authorities", Files(files))]
    }
}

/// What the kubelet serves logs and shells of pods with, as the kubelets' configuration names it. `kubeadm reset`, by which a join that
/// was interrupted begins again, leaves this folder alone.
pub(super) const KUBELET_CERT: &str = "/etc/kubernetes/sunshine/kubelet.crt";
pub(super) const KUBELET_KEY: &str = "/etc/kubernetes/sunshine/kubelet.key";

/// The kubelet starts with its host. Until kubeadm has written its configuration it ends and is started again, as upstream's
/// package has it; here, so that what it was before is recorded before kubeadm starts it.
pub(in crate::flow::kubernetes) struct KubeletUnit;

impl Component for KubeletUnit {
    fn is_on(&self, on: &On<'_>) -> bool {
        on.machine().is_some()
    }

    fn probe(&self) -> Probe {
        Probe { units: &["kubelet.service"], ..Probe::default() }
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let Some(machine) = on.machine() else { return Vec::new() };
        let (server, _) = on.keys.kubelet(machine);
        let files = Files(vec![
            FileSpec::made(KUBELET_CERT, server.cert()),
            FileSpec::secret(KUBELET_KEY, server.key(), "root"),
        ]);
        let kubelet = Unit { wait: false, ..unit("kubelet", Reads::Files(files.clone())) };
        vec![
            on.step("kubelet.certificate", "write the kubelet's serving certificate", files),
            on.step("kubelet.start", "enable the kubelet", kubelet),
        ]
    }
}

/// The proof: the cluster calls the host Ready.
pub(in crate::flow::kubernetes) struct NodeReady;

impl Component for NodeReady {
    fn is_on(&self, _: &On<'_>) -> bool {
        true
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let Some(machine) = on.machine() else { return Vec::new() };
        let ready = verify::NodeReady::new(on.cluster, &machine.name, KUBELET_CONF);
        vec![on.step("node.ready", "wait until the node is Ready", ready).weight(10)]
    }
}
