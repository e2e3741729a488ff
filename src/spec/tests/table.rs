//! The table of fields, the types and the schema, held against each other.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::fields::{self, Kind, ROOT};
use super::super::*;
use crate::flow::request::Runtime;

/// A file in which every field is written.
fn full() -> ClusterFile {
    let text = || Some("x".to_owned());
    let login = LoginFields {
        user: text(),
        port: Some(23),
        key_file: text(),
        password_file: text(),
        password_env: text(),
        sudo_password_file: text(),
        sudo_password_env: text(),
    };
    let list = || vec!["a".to_owned()];
    let options = || Some(ProgramFields { extra_args: [("v".to_owned(), "4".to_owned())].into() });
    let config = || Some(ConfigFields { config: json!({"maxPods": 50}).as_object().cloned().unwrap() });
    ClusterFile {
        schema: 1,
        environment: text(),
        defaults: Some(login.clone()),
        hosts: vec![HostFields {
            address: "h".to_owned(),
            roles: Role::ALL.to_vec(),
            node_address: "10.0.0.9".parse().ok(),
            login,
        }],
        etcd: Some(EtcdFields { tls: Some(false), rpms: list() }),
        kubernetes: Some(KubernetesFields {
            distribution: Some(crate::flow::kubernetes::Distribution::Kubeadm),
            version: text(),
            network: text(),
            pod_cidr: text(),
            service_cidr: text(),
            cluster_domain: text(),
            api_endpoint: text(),
            api_vip: text(),
            runtime: Some(Runtime::Containerd),
            data_root: text(),
            registry_mirrors: list(),
            insecure_registries: list(),
            keep_registry: Some(true),
            flannel: Some(FlannelFields { image: text(), cni_plugin_image: text() }),
            dns: Some(DnsFields {
                stub_domains: [("a.example".to_owned(), vec!["10.0.0.53".parse().unwrap()])].into(),
            }),
            control_plane_rpms: list(),
            worker_rpms: list(),
            external_etcd: list(),
            api_server: options(),
            controller_manager: options(),
            scheduler: options(),
            kubelet: config(),
            kube_proxy: config(),
            patches: list(),
            audit_policy: text(),
            encrypt_secrets: Some(true),
        }),
        registry: Some(RegistryFields {
            port: Some(1),
            storage: text(),
            users: vec![RegistryUserFields { name: "u".to_owned(), password_file: text(), password_env: text() }],
            certificate_file: text(),
            key_file: text(),
            ca_file: text(),
        }),
        site_registry: Some(SiteRegistryFields {
            address: "r.example/k8s".to_owned(),
            ca_file: text(),
            user: text(),
            password_file: text(),
            password_env: text(),
        }),
    }
}

#[test]
fn the_table_has_the_fields_of_the_types_and_no_other() {
    fn agree(json: &Value, kind: &'static Kind, path: &str) {
        match kind {
            Kind::Map(groups) => {
                let keys: BTreeSet<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
                let names: BTreeSet<&str> = fields::all(groups).map(|f| f.name).collect();
                assert_eq!(keys, names, "{path}");
                fields::all(groups).for_each(|f| agree(&json[f.name], &f.kind, f.name));
            }
            Kind::List { of, .. } => agree(&json[0], of, path),
            Kind::Choice(choices) => assert!(choices.iter().any(|c| json == c.word), "{path}: {json}"),
            Kind::Text(_) => assert!(json.is_string(), "{path}"),
            Kind::Integer { .. } => assert!(json.is_u64(), "{path}"),
            Kind::Switch => assert!(json.is_boolean(), "{path}"),
            Kind::Entries { of, .. } => json.as_object().unwrap().values().for_each(|value| agree(value, of, path)),
            Kind::Options | Kind::Free => assert!(json.is_object(), "{path}"),
            Kind::Paths => assert!(json.is_array(), "{path}"),
        }
    }
    let json = serde_json::to_value(full()).unwrap();
    agree(&json, &ROOT, "");
    assert_eq!(serde_json::from_value::<ClusterFile>(json).unwrap(), full());
}

#[test]
fn defaults_in_the_schema_are_those_of_the_code() {
    let settings = crate::flow::request::ClusterSettings::default();
    let schema = schema();
    let of = |field: &str| schema["properties"]["kubernetes"]["properties"][field]["default"].clone();
    assert_eq!(of("podCIDR"), json!(settings.pod_cidr));
    assert_eq!(of("serviceCIDR"), json!(settings.service_cidr));
    assert_eq!(of("clusterDomain"), json!(settings.cluster_domain));
    assert_eq!(of("keepRegistry"), json!(settings.keep_registry));
}
