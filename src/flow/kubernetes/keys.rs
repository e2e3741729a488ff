//! The certificates of a cluster: who is who to its API (Kubernetes documentation, "PKI certificates and requirements").

use std::net::IpAddr;

use crate::flow::etcd;
use crate::flow::pki::{Authority, CertRequest, KeyPairPem, PkiError, Usage};
use crate::flow::state::Environment;
use crate::host::Secret;

use super::state::{Cluster, Machine};

/// The authorities of a cluster and what every master shares.
#[derive(Debug)]
pub(super) struct ClusterKeys {
    pub ca: Authority,
    front_proxy_ca: Authority,
    /// Signs the tokens of service accounts; the same on all masters, for good.
    pub service_accounts: KeyPairPem,
    pub front_proxy: KeyPairPem,
    /// The authority of etcd and the API servers' certificate to it.
    pub etcd: Option<(String, KeyPairPem)>,
}

impl ClusterKeys {
    /// Opens what is there and makes what is missing.
    pub(super) fn open(environment: &Environment, cluster: &Cluster) -> Result<Self, PkiError> {
        let ca = Authority::open_or_create(&environment.pki("kubernetes"), "sunshine kubernetes CA")?;
        let front_proxy_ca = Authority::open_or_create(&environment.pki("front-proxy"), "sunshine front-proxy CA")?;
        let etcd = if cluster.etcd.tls {
            let authority = Authority::open_or_create(&environment.pki("etcd"), "sunshine etcd CA")?;
            let keys = etcd::client_keys(&authority, "kube-apiserver")?;
            Some((authority.cert, keys))
        } else {
            None
        };
        Ok(Self {
            service_accounts: ca.lasting_key("service-accounts")?,
            front_proxy: front_proxy_ca.issue(&client("front-proxy-client", "front-proxy-client", &[]))?,
            ca,
            front_proxy_ca,
            etcd,
        })
    }

    pub(super) fn front_proxy_ca(&self) -> &str {
        &self.front_proxy_ca.cert
    }

    /// The API server of this master: every name and address by which it may be called.
    pub(super) fn api_server(&self, cluster: &Cluster, master: &Machine) -> Result<KeyPairPem, PkiError> {
        let domain = &cluster.settings.cluster_domain;
        let mut dns: Vec<String> =
            ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"].map(str::to_owned).to_vec();
        dns.push(format!("kubernetes.default.svc.{domain}"));
        dns.push(master.name.clone());
        let mut ips = vec![master.address, cluster.service_ip(), IpAddr::from([127, 0, 0, 1])];
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
        self.ca.issue(&CertRequest {
            name: format!("apiserver-{}", master.name),
            common_name: "kube-apiserver".to_owned(),
            organizations: Vec::new(),
            dns,
            ips,
            usage: Usage::Server,
        })
    }

    /// The API servers to the kubelets.
    pub(super) fn kubelet_client(&self) -> Result<KeyPairPem, PkiError> {
        self.ca.issue(&client("apiserver-kubelet-client", "kube-apiserver-kubelet-client", &["system:masters"]))
    }

    /// A node's kubelet, as server and (`system:node:NAME`) as client.
    pub(super) fn kubelet(&self, node: &Machine) -> Result<(KeyPairPem, KeyPairPem), PkiError> {
        let server = self.ca.issue(&CertRequest {
            name: format!("kubelet-{}", node.name),
            common_name: node.name.clone(),
            organizations: Vec::new(),
            dns: vec![node.name.clone()],
            ips: vec![node.address],
            usage: Usage::Server,
        })?;
        let user = format!("system:node:{}", node.name);
        let client = self.ca.issue(&client(&format!("node-{}", node.name), &user, &["system:nodes"]))?;
        Ok((server, client))
    }

    /// A kubeconfig for `user` (file name `name`) of these groups.
    pub(super) fn kubeconfig(&self, name: &str, user: &str, groups: &[&str], server: &str) -> Result<Secret, PkiError> {
        let keys = self.ca.issue(&client(name, user, groups))?;
        Ok(kubeconfig(&self.ca.cert, &keys, user, server))
    }

    /// The administrator's certificate.
    pub(super) fn admin_keys(&self) -> Result<KeyPairPem, PkiError> {
        self.ca.issue(&client("admin", "kubernetes-admin", &["system:masters"]))
    }

    /// The administrator's kubeconfig for the API at `server`.
    pub(super) fn admin(&self, server: &str) -> Result<Secret, PkiError> {
        self.kubeconfig("admin", "kubernetes-admin", &["system:masters"], server)
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

/// A kubeconfig with everything inside (JSON, which is YAML too).
pub(super) fn kubeconfig(ca: &str, keys: &KeyPairPem, user: &str, server: &str) -> Secret {
    use base64::Engine;
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let value = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "kubernetes", "cluster": {"server": server, "certificate-authority-data": encode(ca)}}],
        "users": [{"name": user, "user": {
            "client-certificate-data": encode(&keys.cert),
            "client-key-data": encode(keys.key.expose()),
        }}],
        "contexts": [{"name": "kubernetes", "context": {"cluster": "kubernetes", "user": user}}],
        "current-context": "kubernetes",
    });
    Secret::new(format!("{value:#}\n"))
}
