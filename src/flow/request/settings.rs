//! What a cluster is made with.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::flow::kubernetes::Distribution;
use crate::flow::networks::Networks;

use super::ComponentSettings;

/// What a cluster is made with; kept with the environment, so that a node added later gets the same.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClusterSettings {
    pub network: Network,
    /// A network, or one of each family with a comma in between: [`Networks`].
    pub pod_cidr: String,
    pub service_cidr: String,
    pub cluster_domain: String,
    /// `HOST:PORT` of a load balancer that the site runs.
    pub api_endpoint: Option<String>,
    /// A free address of the control plane nodes' network, held by keepalived.
    pub api_vip: Option<String>,
    /// What runs containers.
    pub runtime: Runtime,
    /// Where it keeps its data, when not in `/var/lib/docker` or `/var/lib/containerd`.
    pub data_root: Option<String>,
    pub registry_mirrors: Vec<String>,
    pub insecure_registries: Vec<String>,
    /// Control plane nodes serve the cluster's images, read-only. Not written when off, so that earlier versions read it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub keep_registry: bool,
    /// Whose packages; nothing: those that the bundle has. This and the version are asked for; what the cluster has got is
    /// kept with it.
    #[serde(skip)]
    pub distribution: Option<Distribution>,
    /// `1.36.3`; nothing: the newest of the bundle.
    #[serde(skip)]
    pub version: Option<String>,
    /// Domains that the site's own name servers answer for, each with these. Not written when there are none, likewise.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub stub_domains: BTreeMap<String, Vec<IpAddr>>,
    /// Images of flannel's built-in manifest. Not written when none is named, likewise.
    #[serde(skip_serializing_if = "FlannelImages::is_empty")]
    pub flannel: FlannelImages,
    /// What the site sets on the components themselves. Not written when nothing is set, likewise.
    #[serde(skip_serializing_if = "ComponentSettings::is_empty")]
    pub components: ComponentSettings,
}

impl ClusterSettings {
    /// The networks of pods: those that are written, or the usual one where they cannot be read, which is refused.
    pub fn pods(&self) -> Networks {
        Networks::parse(&self.pod_cidr).unwrap_or(Networks::USUAL_PODS)
    }

    /// Those of services, likewise.
    pub fn services(&self) -> Networks {
        Networks::parse(&self.service_cidr).unwrap_or(Networks::USUAL_SERVICES)
    }
}

impl Default for ClusterSettings {
    fn default() -> Self {
        Self {
            network: Network::Auto,
            pod_cidr: Networks::USUAL_PODS.to_string(),
            service_cidr: Networks::USUAL_SERVICES.to_string(),
            cluster_domain: "cluster.local".to_owned(),
            api_endpoint: None,
            api_vip: None,
            runtime: Runtime::Auto,
            data_root: None,
            registry_mirrors: Vec::new(),
            insecure_registries: Vec::new(),
            keep_registry: false,
            distribution: None,
            version: None,
            stub_domains: BTreeMap::new(),
            flannel: FlannelImages::default(),
            components: ComponentSettings::default(),
        }
    }
}

/// Images for flannel's built-in manifest; without a name, that of the bundle.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FlannelImages {
    /// flanneld's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cni_plugin_image: Option<String>,
}

impl FlannelImages {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What runs containers on the nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Runtime {
    /// Docker; containerd from Kubernetes 1.24 on, which knows no Docker.
    #[default]
    Auto,
    Docker,
    Containerd,
}

/// How pods reach each other.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// flannel when its package is at hand, else direct.
    #[default]
    Auto,
    Flannel,
    /// The bridge CNI plugin and routes between the nodes, for hosts on one segment.
    Direct,
    /// A network manifest in the bundle, by name (`calico`).
    Manifest(String),
}

impl Network {
    /// Reads `-cni`'s word.
    pub fn parse(word: &str) -> Self {
        match word {
            "auto" => Self::Auto,
            "flannel" => Self::Flannel,
            "direct" => Self::Direct,
            other => Self::Manifest(other.to_owned()),
        }
    }
}
