//! kubeadm's configuration, in the version of its API that its own version reads, with what the site sets.
//! JSON is YAML too.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde_json::{Value, json};

use crate::flow::request::ClusterSettings;
use crate::host::HostId;

use super::super::component::On;
use super::super::nameserver::RESOLV_CONF;
use super::super::options::IMAGES_STAY;
use super::super::state::{API_PORT, Cluster, Machine};
use super::super::{endpoint, proxy_mode, version};
use super::files::{ETCD_CA, ETCD_CERT, ETCD_KEY, KUBELET_CERT, KUBELET_KEY};
use super::{SOCKET, site};

/// The version of kubeadm's API: v1beta3 from 1.22, v1beta4 from 1.31 on.
fn api_version(minor: u32) -> String {
    let version = match minor {
        0..22 => "v1beta2",
        22..31 => "v1beta3",
        _ => "v1beta4",
    };
    format!("kubeadm.k8s.io/{version}")
}

/// Checks of kubeadm's preflight that are not what decides here.
///
/// `SystemVerification` refuses cgroup v1, on which the kubelet runs when it is told so; memory and processors are an advice.
fn ignored(on: &On<'_>) -> Value {
    let mut ignored = vec!["NumCPU", "Mem"];
    if on.facts.cgroup_version < 2 {
        ignored.push("SystemVerification");
    }
    json!(ignored)
}

fn registration(on: &On<'_>, machine: &Machine) -> Value {
    let addresses: Vec<String> = machine.addresses().map(|ip| ip.to_string()).collect();
    let mut args = BTreeMap::from([("node-ip".to_owned(), addresses.join(","))]);
    if on.facts.without_nameserver {
        args.insert("resolv-conf".to_owned(), RESOLV_CONF.to_owned());
    }
    let args = site::args(on.cluster.minor, &args);
    let mut registration = json!({
        "name": machine.name, "criSocket": SOCKET, "ignorePreflightErrors": ignored(on), "kubeletExtraArgs": args,
    });
    // A control plane node that is also named as a node runs pods.
    if on.node().is_some() {
        registration["taints"] = json!([]);
    }
    registration
}

/// Several documents as one.
pub(super) fn documents(all: &[Value]) -> String {
    all.iter().map(|document| format!("{document:#}\n")).collect::<Vec<_>>().join("---\n")
}

/// For `kubeadm init`.
pub(super) fn init(on: &On<'_>, machine: &Machine) -> String {
    let api = api_version(on.cluster.minor);
    let components = &on.cluster.settings.components;
    let mut init = json!({
        "apiVersion": api, "kind": "InitConfiguration",
        "localAPIEndpoint": {"advertiseAddress": machine.address, "bindPort": API_PORT},
        "nodeRegistration": registration(on, machine),
        // kubeadm makes a token of its own, for a day when nothing is said. Hosts join by tokens that are made for them.
        "bootstrapTokens": [{"ttl": "1m0s"}],
    });
    site::patch(&mut init, components);
    documents(&[
        init,
        cluster_configuration(on.cluster),
        site::kubelet(kubelet(on), components),
        site::kube_proxy(kube_proxy(on.cluster), components),
    ])
}

/// The kubelets' configuration where the site sets nothing.
pub(super) fn kubelet(on: &On<'_>) -> Value {
    let mut kubelet = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "cgroupDriver": on.cgroup_driver(),
        // The kubelet of 1.35 and later starts on cgroup v1 only when it is told so.
        "failCgroupV1": false,
        // All of them: `cluster status` says which are missing.
        "nodeStatusMaxImages": -1,
        "tlsCertFile": KUBELET_CERT, "tlsPrivateKeyFile": KUBELET_KEY,
    });
    if !on.keeps_pinned_images() {
        kubelet["imageGCHighThresholdPercent"] = IMAGES_STAY.into();
    }
    kubelet
}

/// kube-proxy's configuration likewise.
pub(super) fn kube_proxy(cluster: &Cluster) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
        "mode": cluster.kube_proxy_mode.as_deref().unwrap_or_else(|| proxy_mode::of_earlier(cluster.minor)),
        // The host's own limit stays: kube-proxy cannot set it everywhere, and ends when it cannot.
        "conntrack": {"maxPerCore": 0, "min": 0},
    })
}

/// The host's own part of the configuration, for a phase of `kubeadm init` on a control plane node that stands.
pub(super) fn phase(on: &On<'_>, machine: &Machine) -> Value {
    let mut init = json!({
        "apiVersion": api_version(on.cluster.minor), "kind": "InitConfiguration",
        "localAPIEndpoint": {"advertiseAddress": machine.address, "bindPort": API_PORT},
        "nodeRegistration": registration(on, machine),
    });
    site::patch(&mut init, &on.cluster.settings.components);
    init
}

fn cluster_configuration(cluster: &Cluster) -> Value {
    let settings = &cluster.settings;
    let mut config = json!({
        "apiVersion": api_version(cluster.minor), "kind": "ClusterConfiguration",
        "kubernetesVersion": format!("v{}", cluster.version),
        "controlPlaneEndpoint": endpoint::for_nodes(cluster).trim_start_matches("https://"),
        "networking": {
            "podSubnet": settings.pod_cidr, "serviceSubnet": settings.service_cidr, "dnsDomain": settings.cluster_domain,
        },
        "etcd": {"external": etcd(cluster)},
    });
    for (name, part) in site::control_plane(settings, cluster.minor) {
        config[name] = part;
    }
    let names = other_names(cluster);
    if !names.is_empty() {
        config["apiServer"]["certSANs"] = json!(names);
    }
    config
}

/// How an API server may be called beside what kubeadm knows of it: by its address of the other family, and by the one where the site
/// reaches the host, where that is another than its node's.
fn other_names(cluster: &Cluster) -> BTreeSet<String> {
    let of_host = |(host, machine): (&HostId, &Machine)| {
        let named = host.address().parse::<IpAddr>().ok().filter(|ip| *ip != machine.address);
        named.into_iter().chain(machine.second_address).map(|ip| ip.to_string()).collect::<Vec<_>>()
    };
    cluster.control_plane.iter().flat_map(of_host).collect()
}

fn etcd(cluster: &Cluster) -> Value {
    let mut external = json!({"endpoints": cluster.etcd.endpoints});
    if cluster.etcd.tls {
        external["caFile"] = ETCD_CA.into();
        external["certFile"] = ETCD_CERT.into();
        external["keyFile"] = ETCD_KEY.into();
    }
    external
}

/// For `kubeadm join`. What stands for the token and the digest of the authority's key is put in where it
/// runs: [`super::join`].
pub(super) fn join(on: &On<'_>, machine: &Machine) -> Value {
    let mut config = json!({
        "apiVersion": api_version(on.cluster.minor), "kind": "JoinConfiguration",
        "discovery": {"bootstrapToken": {
            "apiServerEndpoint": endpoint::for_nodes(on.cluster).trim_start_matches("https://"),
        }},
        "nodeRegistration": registration(on, machine),
    });
    if on.control_plane().is_some() {
        config["controlPlane"] =
            json!({"localAPIEndpoint": {"advertiseAddress": machine.address, "bindPort": API_PORT}});
    }
    site::patch(&mut config, &on.cluster.settings.components);
    config
}

/// Where no runtime listens: it is not there before this run brings it, and one that is there is not asked to pull images.
const NO_SOCKET: &str = "unix:///run/sunshine-installer/none.sock";

/// For the checks of `kubeadm init` on a host of this name, before anything is done.
pub(super) fn for_preflight_of_init(version: &str, name: &str, address: IpAddr, settings: &ClusterSettings) -> String {
    let api = api_version(version::minor(version).unwrap_or_default());
    documents(&[
        json!({
            "apiVersion": api, "kind": "InitConfiguration",
            "localAPIEndpoint": {"advertiseAddress": address, "bindPort": API_PORT},
            "nodeRegistration": {"name": name, "criSocket": NO_SOCKET},
        }),
        json!({
            "apiVersion": api, "kind": "ClusterConfiguration", "kubernetesVersion": format!("v{version}"),
            "networking": {
                "podSubnet": settings.pod_cidr, "serviceSubnet": settings.service_cidr,
                "dnsDomain": settings.cluster_domain,
            },
        }),
    ])
}

/// For those of `kubeadm join`. Behind them kubeadm asks the cluster, which may not be there yet: this one is never there.
pub(super) fn for_preflight_of_join(version: &str, name: &str) -> String {
    let minor = version::minor(version).unwrap_or_default();
    let mut config = json!({
        "apiVersion": api_version(minor), "kind": "JoinConfiguration",
        "nodeRegistration": {"name": name, "criSocket": NO_SOCKET},
        "discovery": {"bootstrapToken": {
            "apiServerEndpoint": "127.0.0.1:1", "token": "abcdef.0123456789abcdef",
            "unsafeSkipCAVerification": true,
        }},
    });
    match minor {
        0..31 => config["discovery"]["timeout"] = "1s".into(),
        _ => config["timeouts"] = json!({"discovery": "1s"}),
    }
    documents(&[config])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::flow::kubernetes::component::{Supply, Waits};
    use crate::flow::kubernetes::keys::ClusterKeys;
    use crate::flow::pki::Pki;
    use crate::host::{Evr, Facts};

    use super::*;

    fn with(minor: u32, cgroup_version: u8, work: impl Fn(&On<'_>) -> String) -> String {
        with_settings(minor, cgroup_version, &json!({}), work)
    }

    fn with_settings(minor: u32, cgroup_version: u8, settings: &Value, work: impl Fn(&On<'_>) -> String) -> String {
        let machine = |address: &str| serde_json::json!({"name": "host0", "address": address});
        let cluster: Cluster = serde_json::from_value(serde_json::json!({
            "settings": settings, "network": {"manifest": "flannel"}, "minor": minor, "version": format!("1.{minor}.3"),
            "distribution": "kubeadm", "containerd": true,
            "etcd": {"endpoints": ["https://10.8.14.200:2379"], "tls": true},
            "control_plane": {"10.8.14.200": machine("10.8.14.200")},
            "workers": {"10.8.14.201": {"name": "host1", "address": "10.8.14.201", "subnet": 0}},
        }))
        .unwrap();
        let keys = ClusterKeys::new(Pki::new("".into(), true), &cluster);
        let delivery = crate::deliver::Delivery::new(None, crate::deliver::RouteChoice::Auto);
        let supply =
            Supply { bundle: None, images: &[], manifests: &[], delivery: &delivery, registries: &[], former: None };
        let mut facts = Facts { cgroup_version, ..Facts::default() };
        // One that surely tells the kubelet of pinned images.
        facts.packages.insert("containerd.io".into(), Evr { epoch: 0, version: "2.1.4".into(), release: "1".into() });
        let waits = Waits::default();
        let (host, list): (HostId, Arc<[u8]>) = ("10.8.14.200".into(), Arc::new([]));
        let (host, facts) = (&host, &facts);
        work(&On {
            cluster: &cluster,
            host,
            facts,
            keys: &keys,
            supply: &supply,
            waits: &waits,
            list: &list,
            publishes: true,
        })
    }

    #[test]
    fn what_kubeadm_is_told() {
        let of = |on: &On<'_>| init(on, on.control_plane().unwrap());
        insta::assert_snapshot!("kubeadm_init_36", with(36, 2, of));
        let old = with(20, 1, of);
        assert!(old.contains("kubeadm.k8s.io/v1beta2") && old.contains("SystemVerification"), "{old}");
        assert!(with(28, 2, of).contains("kubeadm.k8s.io/v1beta3"));
        let join = |on: &On<'_>| format!("{:#}", join(on, &on.cluster.workers.values().next().unwrap().machine));
        insta::assert_snapshot!("kubeadm_join_36", with(36, 2, join));
    }

    /// Both families: the one that is named first is the primary one.
    #[test]
    fn a_cluster_of_both_families_and_one_of_ipv6() {
        let six = |minor, settings: &Value| {
            with_settings(minor, 2, settings, |on| {
                let mut cluster = on.cluster.clone();
                let both = cluster.settings.pods().secondary.is_some();
                for (number, machine) in cluster.control_plane.values_mut().enumerate() {
                    let ip: IpAddr = format!("fd10:8:14::20{number}").parse().unwrap();
                    if both { machine.second_address = Some(ip) } else { machine.address = ip }
                }
                cluster.etcd.endpoints = vec!["https://[fd10:8:14::200]:2379".to_owned()];
                init(&On { cluster: &cluster, ..*on }, cluster.control_plane.values().next().unwrap())
            })
        };
        let both = json!({
            "pod_cidr": "10.244.0.0/16,fd00:10:244::/48", "service_cidr": "10.254.0.0/16,fd00:10:254::/112",
        });
        insta::assert_snapshot!("kubeadm_init_36_dual_stack", six(36, &both));
        let alone = json!({"pod_cidr": "fd00:10:244::/64", "service_cidr": "fd00:10:254::/112"});
        insta::assert_snapshot!("kubeadm_init_28_ipv6", six(28, &alone));
    }

    #[test]
    fn images_that_are_not_surely_pinned_are_never_cleaned_up() {
        let of = |on: &On<'_>| init(on, on.control_plane().unwrap());
        let field = r#""imageGCHighThresholdPercent": 100"#;
        assert!(with(25, 2, of).contains(field) && !with(28, 2, of).contains(field));
        let with_containerd = |version: &str| {
            with(28, 2, |on| {
                let mut facts = on.facts.clone();
                facts.packages.values_mut().for_each(|evr| version.clone_into(&mut evr.version));
                of(&On { facts: &facts, ..*on })
            })
        };
        assert!(with_containerd("1.6.33").contains(field) && !with_containerd("2.0.0").contains(field));
        let own = json!({"components": {"kubelet": {"imageGCHighThresholdPercent": 80}}});
        assert!(with_settings(25, 2, &own, of).contains(r#""imageGCHighThresholdPercent": 80"#), "the site's is taken");
    }

    #[test]
    fn kube_proxy_works_as_it_was_chosen_for_the_cluster() {
        let of = |on: &On<'_>| {
            let cluster = Cluster { kube_proxy_mode: Some("iptables".to_owned()), ..on.cluster.clone() };
            init(&On { cluster: &cluster, ..*on }, on.control_plane().unwrap())
        };
        assert!(with(36, 2, of).contains(r#""mode": "iptables""#));
        let ipvs = json!({"components": {"kube_proxy": {"mode": "ipvs"}}});
        assert!(with_settings(36, 2, &ipvs, of).contains(r#""mode": "ipvs""#));
    }

    #[test]
    fn what_the_site_sets_is_merged_and_what_would_do_harm_is_not() {
        let of = |on: &On<'_>| init(on, on.control_plane().unwrap());
        let file = |path: &str| json!({"path": path, "text": "x"});
        let set = json!({"components": {
            "api_server_args": {
                "profiling": "false", "etcd-servers": "http://10.0.0.9:2379", "audit-log-maxage": "7",
                "audit-log-path": "-",
            },
            "controller_manager_args": {"bind-address": "0.0.0.0", "leader-elect": "false"},
            "scheduler_args": {"v": "4"},
            "kubelet": {
                "maxPods": 50, "cgroupDriver": "cgroupfs", "nodeStatusMaxImages": 10,
                "authentication": {"anonymous": {"enabled": false}, "x509": {"clientCAFile": "/x"}},
            },
            "kube_proxy": {"mode": "ipvs", "conntrack": {"min": 9}, "hostnameOverride": "x"},
            "patches": [file("/p/kube-apiserver.yaml")], "audit_policy": file("/p/policy.yaml"), "encrypt_secrets": true,
        }});
        insta::assert_snapshot!("kubeadm_init_36_with_settings", with_settings(36, 2, &set, of));
        let old = with_settings(28, 2, &set, of);
        assert!(old.contains(r#""profiling": "false""#), "a map before v1beta4: {old}");
        let worker = |on: &On<'_>| format!("{:#}", join(on, &on.cluster.workers.values().next().unwrap().machine));
        assert!(with_settings(36, 2, &set, worker).contains("/etc/kubernetes/sunshine/patches"));
        let cluster: Cluster = serde_json::from_value(json!({
            "settings": set, "network": "direct", "etcd": {"endpoints": [], "tls": true},
            "control_plane": {}, "workers": {},
        }))
        .unwrap();
        let said = site::overruled(&cluster.settings.components);
        insta::assert_snapshot!(said.iter().map(|p| p.text.as_str()).collect::<Vec<_>>().join("\n"));
    }
}
