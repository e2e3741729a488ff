//! The certificates of a cluster: who is who to its API (Kubernetes documentation, "PKI certificates and requirements").
//! Named here, made by a step.

use std::net::IpAddr;
use std::sync::Arc;

use crate::flow::etcd;
use crate::flow::pki::{Ask, CertRequest, KeyKind, Kubeconfig, Material, Pki, Purpose, Usage};

use super::options::since;
use super::state::{Cluster, Machine};

/// The certificates of a cluster.
#[derive(Debug)]
pub(super) struct ClusterKeys {
    pki: Pki,
    pub ca: Material,
    pub front_proxy_ca: Material,
    /// Signs the tokens of service accounts; the same on all control plane nodes, for good.
    pub service_accounts: Material,
    pub front_proxy: Material,
    /// The authority of etcd and the API servers' certificate to it.
    pub etcd: Option<(Material, Material)>,
}

impl ClusterKeys {
    pub(super) fn new(pki: Pki, cluster: &Cluster) -> Self {
        let etcd = cluster.etcd.tls.then(|| (etcd::authority(&pki), etcd::client_keys(&pki, "kube-apiserver")));
        let front_proxy = client("front-proxy-client", "front-proxy-client", &[]);
        let service_accounts = match cluster.minor {
            since::ELLIPTIC_KEYS.. => Ask::LastingKey("service-accounts", KeyKind::Elliptic),
            _ => Ask::LastingKey("service-accounts-rsa", KeyKind::Rsa),
        };
        Self {
            ca: pki.material(Purpose::Kubernetes, Ask::Authority),
            front_proxy_ca: pki.material(Purpose::FrontProxy, Ask::Authority),
            service_accounts: pki.material(Purpose::Kubernetes, service_accounts),
            front_proxy: pki.material(Purpose::FrontProxy, Ask::Certificate(front_proxy)),
            etcd,
            pki,
        }
    }

    /// What makes them.
    pub(super) fn pki(&self) -> &Pki {
        &self.pki
    }

    fn issued(&self, request: CertRequest) -> Material {
        self.pki.material(Purpose::Kubernetes, Ask::Certificate(request))
    }

    /// The API server of this control plane node: every name and address by which it may be called.
    pub(super) fn api_server(&self, cluster: &Cluster, machine: &Machine) -> Material {
        let domain = &cluster.settings.cluster_domain;
        let mut dns: Vec<String> =
            ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"].map(str::to_owned).to_vec();
        dns.push(format!("kubernetes.default.svc.{domain}"));
        dns.push(machine.name.clone());
        let mut ips = vec![machine.address, cluster.service_ip(), IpAddr::from([127, 0, 0, 1])];
        for given in
            [cluster.settings.api_endpoint.as_deref(), cluster.settings.api_vip.as_deref()].into_iter().flatten()
        {
            let name = given.rsplit_once(':').map_or(given, |(name, _)| name);
            match name.trim_matches(['[', ']']).parse() {
                Ok(ip) => ips.push(ip),
                Err(_) => dns.push(name.to_owned()),
            }
        }
        dns.sort();
        dns.dedup();
        ips.dedup();
        self.issued(CertRequest {
            name: format!("apiserver-{}", machine.name),
            common_name: "kube-apiserver".to_owned(),
            organizations: Vec::new(),
            dns,
            ips,
            usage: Usage::Server,
        })
    }

    /// The API servers to the kubelets.
    pub(super) fn kubelet_client(&self) -> Material {
        self.issued(client("apiserver-kubelet-client", "kube-apiserver-kubelet-client", &["system:masters"]))
    }

    /// A node's kubelet, as server and (`system:node:NAME`) as client.
    pub(super) fn kubelet(&self, node: &Machine) -> (Material, Material) {
        let server = CertRequest {
            name: format!("kubelet-{}", node.name),
            common_name: node.name.clone(),
            organizations: Vec::new(),
            dns: vec![node.name.clone()],
            ips: node.addresses().collect(),
            usage: Usage::Server,
        };
        let user = format!("system:node:{}", node.name);
        (self.issued(server), self.issued(client(&format!("node-{}", node.name), &user, &["system:nodes"])))
    }

    /// flannel of all nodes to etcd, with etcd's authority: of its own, so that no worker node has the API servers' key.
    pub(super) fn flannel(&self) -> Option<(Material, Material)> {
        let (authority, _) = self.etcd.as_ref()?;
        Some((authority.clone(), etcd::client_keys(&self.pki, "flannel")))
    }

    /// A kubeconfig for `user` (file name `name`) of these groups.
    pub(super) fn kubeconfig(&self, name: &str, user: &str, groups: &[&str], server: &str) -> Arc<Kubeconfig> {
        self.kubeconfig_with(self.issued(client(name, user, groups)), user, server)
    }

    /// A kubeconfig for `user`, who has this certificate.
    pub(super) fn kubeconfig_with(&self, client: Material, user: &str, server: &str) -> Arc<Kubeconfig> {
        let (user, server) = (user.to_owned(), server.to_owned());
        Arc::new(Kubeconfig { ca: self.ca.clone(), client, user, server })
    }

    /// The administrator's certificate.
    pub(super) fn admin_keys(&self) -> Material {
        self.issued(client("admin", "kubernetes-admin", &["system:masters"]))
    }

    /// The administrator's kubeconfig for the API at `server`.
    pub(super) fn admin(&self, server: &str) -> Arc<Kubeconfig> {
        self.kubeconfig_with(self.admin_keys(), "kubernetes-admin", server)
    }
}

fn client(name: &str, user: &str, groups: &[&str]) -> CertRequest {
    CertRequest {
        name: name.to_owned(),
        common_name: user.to_owned(),
        organizations: groups.iter().map(|g| (*g).to_owned()).collect(),
        dns: Vec::new(),
        ips: Vec::new(),
        usage: Usage::Client,
    }
}
