//! What clusters and bundles say. See [`crate::fuzz`].

use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Value, json};

use super::corefile::{self, StubDomains};
use super::state::Cluster;
use super::{api, dns, drift, fitted, kubeadm, manifest_check, status, version};
use crate::flow::networks::Networks;
use crate::flow::rpms;

pub(in crate::flow) fn output(text: &str) {
    for answered in [200, 404, 500] {
        let answer = api::read("GET", "/", answered, text);
        assert_eq!(answer.is_ok(), answered == 200);
        let Ok(answer) = answer else { continue };
        let nodes = answer["items"].as_array().map_or(&[][..], Vec::as_slice);
        let Some(cluster) = cluster() else { unreachable!("the cluster above is one") };
        let drifting = drift::of_nodes(nodes, &cluster);
        for node in nodes {
            let (name, status) = status::node_status(node, &cluster);
            assert!(drifting.len() <= nodes.len() && status.images.present <= status.images.wanted, "{name}");
        }
    }
    assert_eq!(rpms::numbers(text).len(), text.split('.').count());
    let _ = version::minor(text);
    kubeadm::fuzz::output(text);
}

pub(in crate::flow) fn yaml(text: &str) {
    let domains = StubDomains::from([("corp.example".to_owned(), vec![IpAddr::from([10, 1, 0, 53])])]);
    for with in [corefile::with_stub_domains, corefile::in_manifest] {
        // What was written is found again and replaced by the same.
        if let Ok(written) = with(text, &domains) {
            assert_eq!(with(&written, &domains).as_ref(), Ok(&written));
        }
    }
    for pods in ["10.244.0.0/16", "fd00::/56,10.244.0.0/16"].iter().filter_map(|text| Networks::parse(text)) {
        if let Some(fitted) = fitted::fitted(text, pods) {
            assert_eq!(fitted::fitted(&fitted, pods), None, "{fitted}");
        }
    }
    let _ = (manifest_check::networks(text), dns::service_address(text).is_some_and(|ip| ip == Ipv4Addr::UNSPECIFIED));
    kubeadm::fuzz::yaml(text);
}

/// A cluster of two hosts.
fn cluster() -> Option<Cluster> {
    let machine = |n: u8| json!({"name": format!("host{n}"), "address": format!("10.0.0.{n}")});
    let worker: Value = json!({"name": "host2", "address": "10.0.0.2", "subnet": 0});
    serde_json::from_value(json!({
        "settings": {}, "network": {"manifest": "flannel"}, "minor": 36, "version": "1.36.3", "distribution": "kubeadm",
        "containerd": true, "etcd": {"endpoints": [], "tls": true}, "images": ["registry.k8s.io/pause:3.10.2"],
        "control_plane": {"10.0.0.1": machine(1)}, "workers": {"10.0.0.2": worker},
    }))
    .ok()
}
