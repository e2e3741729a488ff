//! The plans of all operations, as a function of request, stored state and facts: no host is there, and nothing is written.

use payload::MemberKind;
use serde_json::{Value, json};

use crate::host::{Secret, Target};

use super::request::{
    ClusterChange, ClusterCreate, ClusterRemove, ClusterReset, ClusterSettings, ComponentSettings, EtcdChange,
    EtcdCreate, Network, Operation, RegistryCollect, RegistryCreate, RegistryRemove, RegistrySettings, RegistryUser,
    Runtime, SiteFile,
};

mod builtin_flannel;
mod site;

use site::{DNS, Site, address, firewalld, has_distribution, logins, network_manager, with_ipv6};

fn targets(hosts: impl IntoIterator<Item = u8>) -> Vec<Target> {
    hosts.into_iter().map(|n| Target::parse(&address(n), &logins()).unwrap()).collect()
}

fn etcd(hosts: impl IntoIterator<Item = u8>) -> Operation {
    etcd_with(hosts, true, &[])
}

fn etcd_with(hosts: impl IntoIterator<Item = u8>, tls: bool, wipe: &[u8]) -> Operation {
    let wipe_data = wipe.iter().map(|n| address(*n)).collect();
    Operation::EtcdCreate(EtcdCreate { members: targets(hosts), rpms: Vec::new(), tls, wipe_data })
}

fn members(hosts: impl IntoIterator<Item = u8>) -> EtcdChange {
    EtcdChange { members: targets(hosts), rpms: Vec::new(), force: false }
}

fn cluster(control_plane: &[u8], workers: &[u8], settings: ClusterSettings) -> Operation {
    Operation::ClusterCreate(Box::new(ClusterCreate {
        control_plane: targets(control_plane.iter().copied()),
        workers: targets(workers.iter().copied()),
        etcd: Vec::new(),
        control_plane_rpms: Vec::new(),
        worker_rpms: Vec::new(),
        settings,
        described: false,
    }))
}

/// The same from a file, which says all that is set on components.
fn described(control_plane: &[u8], workers: &[u8], settings: ClusterSettings) -> Operation {
    match cluster(control_plane, workers, settings) {
        Operation::ClusterCreate(create) => {
            Operation::ClusterCreate(Box::new(ClusterCreate { described: true, ..*create }))
        }
        other => other,
    }
}

fn add(control_plane: &[u8], workers: &[u8], etcd: &[u8]) -> Operation {
    let of = |hosts: &[u8]| targets(hosts.iter().copied());
    let change = ClusterChange {
        control_plane: of(control_plane),
        workers: of(workers),
        etcd: of(etcd),
        ..ClusterChange::default()
    };
    Operation::ClusterAdd(change)
}

fn remove(control_plane: &[u8], workers: &[u8], etcd: &[u8]) -> Operation {
    let of = |hosts: &[u8]| targets(hosts.iter().copied());
    let change = ClusterRemove {
        control_plane: of(control_plane),
        workers: of(workers),
        etcd: of(etcd),
        ..ClusterRemove::default()
    };
    Operation::ClusterRemove(change)
}

fn usual() -> ClusterSettings {
    ClusterSettings::default()
}

fn virtual_address(address: &str) -> ClusterSettings {
    ClusterSettings { api_vip: Some(address.to_owned()), ..usual() }
}

/// Networks of both families.
fn both_families() -> ClusterSettings {
    let (pods, services) = ("10.244.0.0/16,fd00:10:244::/56", "10.254.0.0/16,fd00:10:254::/112");
    ClusterSettings { pod_cidr: pods.to_owned(), service_cidr: services.to_owned(), ..usual() }
}

/// With a domain of the site.
fn stub_domains() -> ClusterSettings {
    let servers = vec!["10.1.0.53".parse().unwrap()];
    ClusterSettings { stub_domains: [("corp.example".to_owned(), servers)].into(), ..usual() }
}

/// Something of everything that the site may set.
fn components() -> ComponentSettings {
    let file = |path: &str| SiteFile { path: path.into(), text: "x\n".to_owned() };
    ComponentSettings {
        api_server_args: [("profiling", "false"), ("etcd-servers", "http://x")]
            .map(|(n, v)| (n.into(), v.into()))
            .into(),
        patches: vec![file("/p/kube-apiserver.yaml")],
        audit_policy: Some(file("/p/policy.yaml")),
        encrypt_secrets: true,
        ..ComponentSettings::default()
    }
}

fn encrypting() -> ClusterSettings {
    ClusterSettings {
        components: ComponentSettings { encrypt_secrets: true, ..ComponentSettings::default() },
        ..usual()
    }
}

macro_rules! plans {
    ($($name:ident: $site:expr, $operations:expr;)*) => {
        $(#[test]
        fn $name() {
            insta::assert_snapshot!(stringify!($name), $site.plan(&$operations));
        })*
    };
}

const KUBEADM: [&str; 6] = [
    "kubeadm-1.36.3",
    "kubelet-1.36.3",
    "kubectl-1.36.3",
    "cri-tools-1.37.0",
    "kubernetes-cni-1.10.0",
    "containerd.io-2.4.2",
];

/// The packages of kubeadm and another.
fn with(package: &str) -> Vec<&str> {
    KUBEADM.iter().copied().chain([package]).collect()
}

const FLANNEL: [(&str, MemberKind, &str); 1] = [("flannel.yaml", MemberKind::NetworkManifest, "kind: DaemonSet\n")];

/// A cluster that kubeadm made, with these settings, or with a balancer on every node.
fn kubeadm_made(settings: &Value, balanced: bool) -> Value {
    json!({
        "distribution": "kubeadm", "version": "1.36.3", "minor": 36, "containerd": true, "balanced": balanced,
        "network": {"manifest": "flannel"}, "settings": settings,
    })
}

/// The same behind a load balancer of the site.
fn of_kubeadm() -> Value {
    kubeadm_made(&json!({"api_endpoint": "lb.example:6443"}), false)
}

/// The same, and a run that was to set this has not come to its end.
fn begun(components: &Value) -> Value {
    let mut cluster = of_kubeadm();
    cluster["unfinished"] = components.clone();
    cluster
}

const KUBERNETES: [&str; 3] = ["kubernetes-master-1.20.2", "kubernetes-node-1.20.2", "kubernetes-client-1.20.2"];

/// A registry with a user.
fn registry(hosts: impl IntoIterator<Item = u8>) -> Operation {
    let users = vec![RegistryUser { name: "site".into(), password: Some(Secret::new("geheim")) }];
    let settings = RegistrySettings { users, storage: "/data/registry".into(), ..RegistrySettings::default() };
    Operation::RegistryCreate(RegistryCreate { hosts: targets(hosts), settings })
}

fn kept_registry() -> Value {
    let machine = json!({"name": "host3", "address": "10.0.0.3"});
    json!({"port": 5000, "storage": "/var/lib/registry", "users": {"site": "$2y$10$x"}, "hosts": {"10.0.0.3": machine}})
}

plans! {
    registry_alone: Site::new(1).hosts(|_, facts| firewalld(facts)).bundle(&["docker-distribution-2.8.3"], &[], &[]),
        [registry([1])];
    registry_beside_a_new_cluster: Site::new(3).etcd([1], true).bundle(&[&KUBEADM[..], &["docker-registry-2.8.1"]].concat(), &[], &FLANNEL),
        [registry([3]), cluster(&[1], &[2], usual())];
    registry_known_to_a_new_node: Site::new(3).etcd([1], true).cluster(&[1], &[1], &json!({})).keep("registry", &kept_registry()),
        [add(&[], &[2], &[])];
    registry_certificates_renewed: Site::new(3).keep("registry", &kept_registry()).bundle(&["docker-distribution-2.8.3"], &[], &[]),
        [Operation::CertsRenew(Vec::new())];
    registry_stays_when_the_worker_role_is_removed:
        Site::new(3).etcd([1], true).cluster(&[1], &[1, 3], &json!({})).keep("registry", &kept_registry()),
        [remove(&[], &[3], &[])];
    registry_stays_when_the_etcd_member_is_removed: Site::new(3).etcd(1..=3, true).keep("registry", &kept_registry()),
        [Operation::EtcdRemove(members([3]))];
    registry_removed: Site::new(3).etcd([1], true).cluster(&[1], &[1, 2], &json!({"containerd": true})).keep("registry", &kept_registry()),
        [Operation::RegistryRemove(RegistryRemove { hosts: targets([3]), ..RegistryRemove::default() })];
    registry_removed_from_an_etcd_member: Site::new(3).etcd(1..=3, true).keep("registry", &kept_registry())
        .hosts(|_, facts| { firewalld(facts); has_distribution(facts); }),
        [Operation::RegistryRemove(RegistryRemove { hosts: targets([3]), ..RegistryRemove::default() })];
    registry_cleaned_up: Site::new(3).keep("registry", &kept_registry())
        .hosts(|_, facts| has_distribution(facts)),
        [Operation::RegistryCollect(RegistryCollect::default())];
    registry_reset: Site::new(3).keep("registry", &kept_registry()), [Operation::ClusterReset(ClusterReset::default())];
    etcd_new: Site::new(3), [etcd(1..=3)];
    etcd_new_without_tls: Site::new(1), [etcd_with([1], false, &[])];
    etcd_new_on_its_own_holds_the_repository: Site { hold: true, ..Site::new(1) }, [etcd([1])];
    etcd_new_behind_firewalld: Site::new(1).hosts(|_, facts| firewalld(facts)), [etcd([1])];
    etcd_first_start_continued: Site::new(3).etcd(1..=3, false).with_data([2]), [etcd(1..=3)];
    etcd_first_start_with_other_members: Site::new(3).etcd(1..=2, false).with_data([2]), [etcd(2..=3)];
    etcd_again: Site::new(3).etcd(1..=3, true).with_data(1..=3), [etcd(1..=3)];
    etcd_grown_by_create: Site::new(3).etcd(1..=2, true).with_data(1..=2), [etcd(1..=3)];
    etcd_grown_by_add: Site::new(4).etcd(1..=3, true), [Operation::EtcdAdd(members([4]))];
    etcd_one_member_lost: Site::new(3).etcd(1..=3, true).with_data([1, 3]), [etcd(1..=3)];
    etcd_all_members_lost: Site::new(2).etcd(1..=2, true), [etcd(1..=2)];
    etcd_wiped: Site::new(2), [etcd_with(1..=2, true, &[2])];
    etcd_member_removed: Site::new(3).etcd(1..=3, true), [Operation::EtcdRemove(members([2]))];
    etcd_member_removed_from_a_node: Site::new(3).etcd(1..=3, true).cluster(&[1], &[1, 2], &json!({})),
        [Operation::EtcdRemove(members([2]))];
    etcd_dead_member_removed: Site::new(3).etcd(1..=3, true).without(2), [Operation::EtcdRemove(members([2]))];
    cluster_new_with_its_etcd: Site::new(3), [etcd(1..=3), cluster(&[1], &[1, 2, 3], usual())];
    cluster_new_with_several_control_planes: Site::new(4).etcd(1..=3, true), [cluster(&[1, 2, 3], &[4], usual())];
    cluster_new_with_virtual_address: Site::new(2).etcd([1], true),
        [cluster(&[1, 2], &[1, 2], virtual_address("10.0.0.100"))];
    cluster_new_with_endpoint: Site::new(2).etcd([1], true),
        [cluster(&[1], &[2], ClusterSettings { api_endpoint: Some("lb.example:6443".into()), ..usual() })];
    cluster_new_with_flannel: Site::new(2).etcd([1], true).with_data([1]).bundle(&[&KUBERNETES[..], &["flannel-0.5.5"]].concat(), &[], &[]),
        [cluster(&[1], &[1, 2], usual())];
    cluster_new_with_flannel_and_its_etcd: Site::new(2).bundle(&[&KUBERNETES[..], &["flannel-0.5.5"]].concat(), &[], &[]),
        [etcd([1, 2]), cluster(&[1], &[2], usual())];
    cluster_new_with_flannel_beside_etcd_3_6:
        Site::new(1).bundle(&[&KUBERNETES[..], &["flannel-0.5.5", "etcd-3.6.8"]].concat(), &[], &[]),
        [etcd([1]), cluster(&[1], &[1], usual())];
    cluster_new_with_containerd: Site::new(2).etcd([1], true),
        [cluster(&[1], &[2], ClusterSettings { runtime: Runtime::Containerd, ..usual() })];
    cluster_new_from_a_bundle_with_everything: Site::new(2).etcd([1], true).hosts(|_, facts| {
            firewalld(facts);
            facts.selinux = "Enforcing".into();
        }).bundle(
            &[&KUBERNETES[..], &["haproxy-2.4.0", "chrony-4.0"]].concat(),
            &["k8s.gcr.io/pause:3.2"],
            &[("calico.yaml", MemberKind::NetworkManifest, "kind: DaemonSet\n"), ("dns.yaml", MemberKind::Addon, DNS)],
        ), [cluster(&[1], &[1, 2], ClusterSettings { network: Network::Manifest("calico".into()), ..usual() })];
    cluster_new_of_1_5: Site::new(1).etcd([1], true).bundle(&["kubernetes-master-1.5.2", "kubernetes-node-1.5.2", "kubernetes-client-1.5.2"], &[], &[]),
        [cluster(&[1], &[1], usual())];
    cluster_new_of_kubeadm: Site::new(3).etcd([1], true).bundle(
            &KUBEADM,
            &["registry.k8s.io/pause:3.10.2"],
            &FLANNEL,
        ), [cluster(&[1], &[2, 3], usual())];
    cluster_new_of_kubeadm_with_settings: Site::new(2).etcd([1], true).bundle(&KUBEADM, &[], &FLANNEL),
        [cluster(&[1], &[2], ClusterSettings { components: components(), ..usual() })];
    cluster_of_kubeadm_with_stub_domains: Site::new(1).etcd([1], true).bundle(&KUBEADM, &[], &FLANNEL),
        [cluster(&[1], &[1], stub_domains())];
    cluster_of_kubeadm_given_stub_domains: Site::new(2).etcd([1], true).cluster(&[1], &[2], &of_kubeadm()).bundle(&KUBEADM, &[], &FLANNEL),
        [cluster(&[1], &[2], stub_domains())];
    cluster_of_kubeadm_without_its_stub_domains: Site::new(1).etcd([1], true).bundle(&KUBEADM, &[], &FLANNEL)
        .cluster(&[1], &[1], &kubeadm_made(&json!({"stub_domains": {"corp.example": ["10.1.0.53"]}}), false)),
        [cluster(&[1], &[1], usual())];
    cluster_of_units_without_dns_takes_no_stub_domains: Site::new(1).etcd([1], true),
        [cluster(&[1], &[1], stub_domains())];
    cluster_of_kubeadm_given_other_settings_by_a_file: Site::new(4).etcd([1], true).bundle(&KUBEADM, &[], &FLANNEL)
        .cluster(&[1, 2], &[3], &of_kubeadm()), [described(&[1, 2, 4], &[3], ClusterSettings { components: components(), ..usual() })];
    cluster_of_kubeadm_described_again_without_settings: Site::new(2).etcd([1], true).bundle(&KUBEADM, &[], &FLANNEL)
        .cluster(&[1], &[2], &of_kubeadm()), [described(&[1], &[2], usual())];
    cluster_of_kubeadm_whose_file_leaves_its_settings_out: Site::new(1).etcd([1], true).bundle(&KUBEADM, &[], &FLANNEL)
        .cluster(&[1], &[1], &kubeadm_made(&json!({"components": {"kube_proxy": {"mode": "ipvs"}}}), false)), [described(&[1], &[1], usual())];
    cluster_of_kubeadm_keeps_its_settings_with_a_line: Site::new(1).etcd([1], true).bundle(&KUBEADM, &[], &FLANNEL)
        .cluster(&[1], &[1], &kubeadm_made(&json!({"components": {"kube_proxy": {"mode": "ipvs"}}}), false)), [cluster(&[1], &[1], usual())];
    cluster_of_kubeadm_goes_on_encrypting: Site::new(1).etcd([1], true).bundle(&KUBEADM, &[], &FLANNEL)
        .cluster(&[1], &[1], &kubeadm_made(&json!({"components": {"encrypt_secrets": true}}), false)), [described(&[1], &[1], usual())];
    cluster_of_kubeadm_encrypts_on_all_control_plane_nodes: Site::new(2).etcd([1], true).bundle(&KUBEADM, &[], &FLANNEL)
        .cluster(&[1, 2], &[1], &of_kubeadm()), [described(&[1], &[1], ClusterSettings { components: components(), ..usual() })];
    cluster_of_kubeadm_of_two_control_planes_encrypts_in_two_passes: Site::new(2).etcd([1], true).bundle(&KUBEADM, &[], &FLANNEL)
        .cluster(&[1, 2], &[1], &of_kubeadm()), [described(&[1, 2], &[1], encrypting())];
    cluster_of_kubeadm_of_one_control_plane_encrypts_in_one_pass: Site::new(1).etcd([1], true).bundle(&KUBEADM, &[], &FLANNEL)
        .cluster(&[1], &[1], &of_kubeadm()), [described(&[1], &[1], encrypting())];
    cluster_of_kubeadm_that_begins_to_encrypt_gets_no_control_plane_otherwise: Site::new(3).etcd([1], true).bundle(&KUBEADM, &[], &FLANNEL)
        .cluster(&[1, 2], &[1], &begun(&json!({"encrypt_secrets": true}))), [add(&[3], &[], &[])];
    cluster_of_old_kubeadm_takes_no_patches: Site::new(1).etcd([1], true)
        .bundle(&["kubeadm-1.20.2", "kubelet-1.20.2", "kubectl-1.20.2", "cri-tools-1.20.0", "kubernetes-cni-0.8.7", "containerd.io-1.6.2"], &[], &FLANNEL),
        [cluster(&[1], &[1], ClusterSettings { components: components(), ..usual() })];
    cluster_of_units_takes_no_settings: Site::new(1).etcd([1], true),
        [cluster(&[1], &[1], ClusterSettings { components: components(), ..usual() })];
    cluster_new_of_kubeadm_with_kept_registry: Site::new(2).etcd([1], true).hosts(|_, facts| firewalld(facts)).bundle(
            &KUBEADM,
            &["registry.k8s.io/pause:3.10.2"],
            &FLANNEL,
        ), [cluster(&[1], &[2], ClusterSettings { keep_registry: true, ..usual() })];
    cluster_with_docker_keeps_no_registry: Site::new(1).etcd([1], true).bundle(&KUBERNETES, &["k8s.gcr.io/pause:3.2"], &[]),
        [cluster(&[1], &[1], ClusterSettings { keep_registry: true, ..usual() })];
    cluster_without_images_keeps_no_registry: Site::new(1).etcd([1], true).bundle(&KUBEADM, &[], &FLANNEL),
        [cluster(&[1], &[1], ClusterSettings { keep_registry: true, ..usual() })];
    cluster_of_control_planes_without_containers_keeps_no_registry: Site::new(2).etcd([1], true).bundle(&KUBERNETES, &["k8s.gcr.io/pause:3.2"], &[]),
        [cluster(&[1], &[2], ClusterSettings { keep_registry: true, runtime: Runtime::Containerd, ..usual() })];
    cluster_of_kubeadm_without_a_network: Site::new(1).etcd([1], true).bundle(&KUBEADM, &[], &[]),
        [cluster(&[1], &[1], usual())];
    cluster_of_kubeadm_with_flannel_by_name: Site::new(1).etcd([1], true).bundle(&KUBEADM, &[], &FLANNEL),
        [cluster(&[1], &[1], ClusterSettings { network: Network::Flannel, ..usual() })];
    cluster_of_kubeadm_with_two_control_planes: Site::new(2).etcd([1], true).bundle(&KUBEADM, &[], &FLANNEL),
        [cluster(&[1, 2], &[1], usual())];
    cluster_of_kubeadm_with_endpoint: Site::new(3).etcd([1], true).bundle(&KUBEADM, &["registry.k8s.io/pause:3.10.2"], &FLANNEL),
        [cluster(&[1, 2], &[1, 3], ClusterSettings { api_endpoint: Some("lb.example:6443".into()), ..usual() })];
    cluster_of_kubeadm_with_balancers: Site::new(3).etcd([1], true).bundle(&with("haproxy-2.4.0"), &[], &FLANNEL),
        [cluster(&[1, 2], &[1, 3], usual())];
    cluster_of_kubeadm_with_balancers_grown: Site::new(3).etcd([1], true).cluster(&[1], &[1], &kubeadm_made(&json!({}), true)),
        [add(&[2], &[3], &[])];
    cluster_of_kubeadm_with_balancers_and_a_new_worker:
        Site::new(2).etcd([1], true).cluster(&[1], &[1], &kubeadm_made(&json!({}), true)), [add(&[], &[2], &[])];
    cluster_of_kubeadm_with_balancers_control_plane_removed:
        Site::new(2).etcd(1..=2, true).cluster(&[1, 2], &[1], &kubeadm_made(&json!({}), true)), [remove(&[1], &[1], &[])];
    cluster_of_kubeadm_without_balancers_gets_no_second_control_plane:
        Site::new(2).etcd([1], true).cluster(&[1], &[1], &kubeadm_made(&json!({}), false)), [add(&[2], &[], &[])];
    cluster_of_kubeadm_with_virtual_address: Site::new(3).etcd([1], true).bundle(&with("keepalived-2.2.8"), &[], &FLANNEL),
        [cluster(&[1, 2], &[1, 3], virtual_address("10.0.0.100"))];
    cluster_of_kubeadm_with_virtual_address_without_keepalived:
        Site::new(1).etcd([1], true).bundle(&with("haproxy-2.4.0"), &[], &FLANNEL),
        [cluster(&[1], &[1], virtual_address("10.0.0.100"))];
    cluster_of_both_families: Site::new(2).etcd([1], true).bundle(&KUBEADM, &[], &FLANNEL).hosts(with_ipv6),
        [cluster(&[1], &[1, 2], both_families())];
    cluster_of_both_families_on_a_host_with_one: Site::new(2).etcd([1], true).bundle(&KUBEADM, &[], &FLANNEL),
        [cluster(&[1], &[1, 2], both_families())];
    cluster_of_both_families_of_services: Site::new(1).etcd([1], true).hosts(with_ipv6), [cluster(&[1], &[1], both_families())];
    cluster_of_both_families_of_old_kubeadm: Site::new(1).etcd([1], true)
        .bundle(&["kubeadm-1.20.2", "kubelet-1.20.2", "kubectl-1.20.2", "cri-tools-1.20.0", "kubernetes-cni-0.8.7", "containerd.io-1.6.2"], &[], &FLANNEL)
        .hosts(with_ipv6), [cluster(&[1], &[1], both_families())];
    cluster_of_ipv6_on_hosts_of_ipv4: Site::new(1).etcd([1], true).bundle(&KUBEADM, &[], &FLANNEL),
        [cluster(&[1], &[1], ClusterSettings { pod_cidr: "fd00:10:244::/56".into(), service_cidr: "fd00:10:254::/112".into(), ..usual() })];
    cluster_of_kubeadm_with_a_wrong_virtual_address: Site::new(1).etcd([1], true).bundle(&KUBEADM, &[], &FLANNEL),
        [cluster(&[1], &[1], virtual_address("10.0.0.300"))];
    cluster_of_kubeadm_with_virtual_address_grown: Site::new(3).etcd([1], true)
        .cluster(&[1], &[1], &kubeadm_made(&json!({"api_vip": "10.0.0.100"}), false)), [add(&[2, 3], &[], &[])];
    cluster_of_kubeadm_with_virtual_address_control_plane_removed: Site::new(2).etcd(1..=2, true)
        .cluster(&[1, 2], &[1], &kubeadm_made(&json!({"api_vip": "10.0.0.100"}), false)), [remove(&[1], &[1], &[])];
    cluster_of_kubeadm_grown: Site::new(4).etcd([1], true).cluster(&[1], &[3], &of_kubeadm()), [add(&[2], &[4], &[])];
    cluster_of_kubeadm_host_given_another_role: Site::new(2).etcd([1], true).cluster(&[1], &[2], &of_kubeadm()),
        [add(&[2], &[1], &[])];
    cluster_of_kubeadm_control_plane_removed: Site::new(3).etcd([3], true).cluster(&[1, 2], &[1, 3], &of_kubeadm()),
        [remove(&[1], &[1], &[])];
    cluster_of_kubeadm_one_role_removed: Site::new(2).etcd([1], true).cluster(&[1, 2], &[1], &of_kubeadm()),
        [remove(&[1], &[], &[])];
    cluster_again: Site::new(2).etcd([1], true).cluster(&[1], &[1, 2], &json!({})), [cluster(&[1], &[1, 2], usual())];
    cluster_without_etcd: Site::new(1), [cluster(&[1], &[1], usual())];
    cluster_node_added: Site::new(3).etcd([1], true).cluster(&[1], &[1, 2], &json!({})), [add(&[], &[3], &[])];
    cluster_control_plane_added: Site::new(3).etcd([1], true).cluster(&[1], &[1, 2], &json!({})), [add(&[2, 3], &[], &[])];
    cluster_etcd_member_added_with_a_node: Site::new(3).etcd(1..=2, true).cluster(&[1, 2], &[1, 2], &json!({})),
        [add(&[], &[3], &[3])];
    cluster_node_added_beside_network_manager: Site::new(3).etcd([1], true).cluster(&[1], &[1, 2], &json!({}))
        .hosts(|_, facts| network_manager(facts)), [add(&[], &[3], &[])];
    cluster_node_role_removed_beside_network_manager: Site::new(2).etcd([1], true).cluster(&[1, 2], &[1, 2], &json!({}))
        .hosts(|_, facts| network_manager(facts)), [remove(&[], &[1], &[])];
    cluster_node_removed: Site::new(3).etcd([1], true).cluster(&[1], &[1, 2, 3], &json!({})), [remove(&[], &[3], &[])];
    cluster_node_role_removed_from_a_control_plane:
        Site::new(2).etcd([1], true).cluster(&[1, 2], &[1, 2], &json!({"network": "flannel"})), [remove(&[], &[1], &[])];
    cluster_node_role_removed_behind_firewalld:
        Site::new(2).etcd([1], true).cluster(&[1, 2], &[1, 2], &json!({})).hosts(|_, facts| firewalld(facts)),
        [remove(&[], &[1], &[])];
    cluster_control_plane_role_removed_from_a_node:
        Site::new(2).etcd([1], true).cluster(&[1, 2], &[1, 2], &json!({"containerd": true})), [remove(&[1], &[], &[])];
    cluster_host_with_all_roles_removed: Site::new(3).etcd(1..=3, true).cluster(&[1, 2, 3], &[1, 2, 3], &json!({})),
        [remove(&[1], &[1], &[1])];
    cluster_last_control_plane_is_not_removed: Site::new(1).etcd([1], true).cluster(&[1], &[1], &json!({})),
        [remove(&[1], &[], &[])];
    certificates_renewed: Site::new(3).etcd(1..=2, true).with_data(1..=2).cluster(&[1, 2], &[1, 3], &json!({})),
        [Operation::CertsRenew(Vec::new())];
    reset_of_all: Site::new(2).etcd([1], true).cluster(&[1], &[1, 2], &json!({})),
        [Operation::ClusterReset(ClusterReset::default())];
    reset_of_all_with_data: Site::new(2).etcd([1], true).cluster(&[1], &[1, 2], &json!({})),
        [Operation::ClusterReset(ClusterReset { wipe_all: true, ..ClusterReset::default() })];
}

#[test]
fn a_manifest_s_images_must_be_in_the_bundle_or_a_registry_of_the_job() {
    let manifest = [("flannel.yaml", MemberKind::NetworkManifest, "spec: {image: 'quay.io/x/y:1'}\n")];
    let packages = with("docker-distribution-2.8.3");
    let site = Site::new(2).etcd([1], true).bundle(&packages, &[], &manifest);
    let cluster = || cluster(&[1], &[1], usual());
    assert_eq!(site.plan(&[cluster()]), "error: the bundle has no image quay.io/x/y:1 (flannel.yaml)\n");
    assert!(site.plan(&[registry([2]), cluster()]).contains("10.0.0.1/kubeadm.init"));
    let other = [("flannel.yaml", MemberKind::NetworkManifest, "net-conf.json: '{\"Network\": \"10.7.0.0/16\"}'\n")];
    let refused = Site::new(1).etcd([1], true).bundle(&packages, &[], &other).plan(&[cluster()]);
    assert!(refused.contains("Network in net-conf.json is 10.7.0.0/16"), "{refused}");
}

#[test]
fn the_corefile_of_an_addon_gets_the_site_s_domains() {
    let dns = format!("data:\n  Corefile: |\n    .:53 {{\n    }}\n---\n{DNS}");
    let site = Site::new(1).etcd([1], true).bundle(&KUBERNETES, &[], &[("dns.yaml", MemberKind::Addon, &dns)]);
    let applied = |settings: ClusterSettings| {
        let plan = site.try_plan(&[cluster(&[1], &[1], settings)]).unwrap();
        let step = plan.steps.into_iter().find(|step| step.id.as_str().ends_with("/apply.dns.yaml")).unwrap();
        format!("{:?}", step.work)
    };
    let domain = format!("{:?}", b"corp.example:53 {");
    assert!(applied(stub_domains()).contains(domain.trim_matches(['[', ']'])));
    assert!(!applied(usual()).contains(domain.trim_matches(['[', ']'])));
}
