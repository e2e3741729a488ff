//! A cluster file as a value: what is written in it, no more. Its fields are those of [`super::fields`].

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::flow::kubernetes::Distribution;
use crate::flow::request::Runtime;

use super::cluster::Role;

/// `cluster.yaml`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterFile {
    pub schema: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub defaults: Option<LoginFields>,
    pub hosts: Vec<HostFields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etcd: Option<EtcdFields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<KubernetesFields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry: Option<RegistryFields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site_registry: Option<SiteRegistryFields>,
}

/// A host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HostFields {
    pub address: String,
    pub roles: Vec<Role>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_address: Option<IpAddr>,
    #[serde(flatten)]
    pub login: LoginFields,
}

/// How a host is logged in to; secrets by reference only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LoginFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_env: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sudo_password_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sudo_password_env: Option<String>,
}

/// What the etcd cluster is made with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EtcdFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rpms: Vec<String>,
}

/// What the Kubernetes cluster is made with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KubernetesFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distribution: Option<Distribution>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    #[serde(rename = "podCIDR", skip_serializing_if = "Option::is_none")]
    pub pod_cidr: Option<String>,
    #[serde(rename = "serviceCIDR", skip_serializing_if = "Option::is_none")]
    pub service_cidr: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_domain: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_endpoint: Option<String>,
    #[serde(rename = "apiVIP", skip_serializing_if = "Option::is_none")]
    pub api_vip: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<Runtime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_root: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub registry_mirrors: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub insecure_registries: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_registry: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flannel: Option<FlannelFields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns: Option<DnsFields>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub control_plane_rpms: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub worker_rpms: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub external_etcd: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_server: Option<ProgramFields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub controller_manager: Option<ProgramFields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<ProgramFields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubelet: Option<ConfigFields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kube_proxy: Option<ConfigFields>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub patches: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit_policy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encrypt_secrets: Option<bool>,
}

/// Images of flannel's built-in manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FlannelFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cni_plugin_image: Option<String>,
}

/// What the site sets on the cluster's DNS.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DnsFields {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub stub_domains: BTreeMap<String, Vec<IpAddr>>,
}

/// What the site sets on a program that reads options.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProgramFields {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extra_args: BTreeMap<String, String>,
}

/// What the site sets on a program that reads a configuration file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigFields {
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub config: Map<String, Value>,
}

/// What the registry is made with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RegistryFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<RegistryUserFields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
}

/// A registry that the site runs itself; the password by reference only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SiteRegistryFields {
    pub address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_env: Option<String>,
}

/// A user of the registry; the password by reference only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RegistryUserFields {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_env: Option<String>,
}
