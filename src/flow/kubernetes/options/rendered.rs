//! All files of a cluster of systemd services, as they are for a version of Kubernetes: what the tests look at.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::super::component::{On, Supply, Waits};
use super::super::control_plane_files::ControlPlaneFiles;
use super::super::keys::ClusterKeys;
use super::super::state::Cluster;
use super::super::{direct, flannel, node};
use crate::deliver::{Delivery, RouteChoice};
use crate::flow::pki::Pki;
use crate::flow::request::Network;
use crate::host::{Evr, Facts};
use crate::resource::{Content, Contents, Files, Image};

const PAUSE: &str = "registry.access.redhat.com/rhel7/pod-infrastructure:latest";

/// A cluster of two control plane nodes and one worker node, its etcd with TLS; `more` changes it.
pub(in crate::flow::kubernetes) fn cluster(minor: u32, more: &Value) -> Cluster {
    let machine = |name: &str, address: &str| json!({"name": name, "address": address});
    let mut cluster = json!({
        "settings": {}, "network": "direct", "minor": minor, "balanced": true, "dns": "10.254.0.10",
        "containerd": minor >= 24, "etcd": {"endpoints": ["https://10.8.14.200:2379"], "tls": true},
        "control_plane": {
            "10.8.14.200": machine("host0", "10.8.14.200"), "10.8.14.201": machine("host1", "10.8.14.201"),
        },
        "workers": {"10.8.14.202": {"name": "host2", "address": "10.8.14.202", "subnet": 3}},
    });
    cluster.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(cluster).unwrap()
}

/// What a host of that time has: the cgroup version, and the package of what runs containers.
pub(in crate::flow::kubernetes) fn facts(minor: u32) -> Facts {
    let (package, version) = match minor {
        ..=9 => ("docker", "1.13.1"),
        10..=23 => ("docker", "20.10.24"),
        24.. => ("containerd", "1.6.22"),
    };
    let mut facts = Facts { cgroup_version: if minor < 19 { 1 } else { 2 }, ..Facts::default() };
    let evr = Evr { epoch: 0, version: version.into(), release: "1".into() };
    facts.packages.insert(package.into(), evr);
    facts
}

/// The files of the first control plane node and of the worker node whose content follows from the version, by path; where
/// keys and the like are to be, what is made for them.
pub(super) fn files(cluster: &Cluster, facts: &Facts) -> BTreeMap<String, String> {
    let keys = &ClusterKeys::new(Pki::new("".into(), true), cluster);
    let (delivery, images) = (Delivery::new(None, RouteChoice::Auto), [pause()]);
    let supply =
        &Supply { bundle: None, images: &images, manifests: &[], delivery: &delivery, registries: &[], former: None };
    let (waits, list): (Waits, Arc<[u8]>) = (Waits::default(), Arc::new([]));
    let (master, machine) = cluster.control_plane.first_key_value().unwrap();
    let (host, node) = cluster.workers.first_key_value().unwrap();
    let on = On { cluster, host, facts, keys, supply, waits: &waits, list: &list, publishes: false };
    let network = match cluster.network {
        Network::Flannel => flannel::files(cluster, keys, None),
        Network::Direct => direct::files(cluster, node, None),
        _ => Files(Vec::new()),
    };
    let mut all = BTreeMap::new();
    for (role, files) in [
        ("control plane node", ControlPlaneFiles::new(cluster, keys, master, machine).all()),
        ("worker node", node::kubelet_files(&on, &node.machine)),
        ("worker node", node::proxy_files(cluster, keys, &node.machine)),
        ("worker node", on.runtime().files(&on)),
        ("worker node", network),
    ] {
        for file in files.0 {
            let text = match &file.content {
                Content::Bytes(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
                Content::Made(made) => format!("<{}>\n", made.name()),
                Content::Program => panic!("no node gets the program"),
            };
            all.insert(format!("{role}: {}", file.path), text);
        }
    }
    all
}

/// The pause image, in an archive that is never read.
fn pause() -> Image {
    let member = json!({"name": "images/pause.tar", "kind": "image", "size": 0, "sha256": "0".repeat(64), "offset": 0});
    Image { names: vec![PAUSE.into()], contents: Contents::Archive(serde_json::from_value(member).unwrap()) }
}
