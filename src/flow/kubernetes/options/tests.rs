use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::super::distro::Distribution;
use super::super::state::Cluster;
use super::rendered::{self, cluster, facts, files};
use super::upstream::OPTIONS;
use crate::host::{Facts, Interface};

/// All files of a version, one after the other.
fn all_files(minor: u32) -> String {
    let files = files(&cluster(minor, &json!({})), &facts(minor));
    files.iter().map(|(path, text)| format!("=== {path}\n{text}")).collect()
}

macro_rules! rendered {
    ($($name:ident: $minor:expr;)*) => {
        $(#[test]
        fn $name() {
            insta::assert_snapshot!(stringify!($name), all_files($minor));
        })*
    };
}

rendered! {
    files_of_1_5: 5;
    files_of_1_9: 9;
    files_of_1_13: 13;
    files_of_1_20: 20;
    files_of_1_25: 25;
    files_of_1_29: 29;
}

/// What is written for a version in every kind of cluster, by program: options of command lines, and fields.
fn written(minor: u32) -> BTreeSet<(String, String)> {
    let calico = json!({"manifest": "calico"});
    let kinds: [Value; 5] = [
        json!({}),
        json!({"containerd": false}),
        json!({"containerd": true}),
        json!({"network": "flannel", "dns": null}),
        json!({"network": calico, "etcd": {"endpoints": ["http://10.8.14.200:2379"], "tls": false}}),
    ];
    let mut written = BTreeSet::new();
    for (kind, without_nameserver) in kinds.iter().zip([true, false, true, false, true]) {
        let facts = Facts { without_nameserver, ..facts(minor) };
        for (path, text) in files(&cluster(minor, kind), &facts) {
            let program = path.rsplit('/').next().unwrap().to_owned();
            if program == "kubelet.yaml" {
                let fields: BTreeMap<String, Value> = serde_json::from_str(&text).unwrap();
                written.extend(fields.into_keys().map(|field| (program.clone(), field)));
            } else if path.contains("/etc/kubernetes/") {
                let options = text.split(['"', ' ', '\n']).filter(|word| word.starts_with("--"));
                let name = |option: &str| option.split('=').next().unwrap().to_owned();
                written.extend(options.map(|option| (program.clone(), name(option))));
            }
        }
    }
    written
}

#[test]
fn no_version_gets_an_option_that_it_does_not_know() {
    let mut ever: BTreeSet<(String, String)> = BTreeSet::new();
    for minor in 5..=36 {
        let written = written(minor);
        for (program, option) in &written {
            let listed = OPTIONS.iter().find(|(of, name, ..)| of == program && name == option);
            let Some((_, _, first, last)) = listed else { panic!("1.{minor}, {program}: {option} is not listed") };
            assert!((first..=last).contains(&&minor), "1.{minor}, {program}: {option} is of 1.{first} to 1.{last}");
        }
        ever.extend(written);
    }
    for (program, option, ..) in OPTIONS {
        assert!(ever.contains(&((*program).to_owned(), (*option).to_owned())), "{program} {option} is never written");
    }
}

#[test]
fn an_unknown_version_gets_what_the_nearest_older_one_gets_or_the_oldest() {
    assert_eq!(written(37), written(36));
    assert_eq!(written(4), written(5));
}

#[test]
fn a_version_without_rows_is_named() {
    let said =
        |version: Option<&str>| super::check_version("kubernetes-master", version, 20).map(|problem| problem.text);
    for known in ["1.5.2", "1.20.2", "1.36.3"] {
        assert_eq!(said(Some(known)), None);
    }
    for (version, named, of) in [
        (Some("1.4.0"), "kubernetes-master 1.4.0 is older", "Kubernetes 1.5"),
        (Some("1.37.0"), "kubernetes-master 1.37.0 is newer", "Kubernetes 1.36"),
        (Some("2.1.0"), "kubernetes-master 2.1.0: this is no version", "Kubernetes 1.20"),
        (None, "the version of kubernetes-master is not known", "Kubernetes 1.20"),
    ] {
        let said = said(version).unwrap();
        assert!(said.starts_with(named) && said.ends_with(of), "{said}");
    }
}

#[test]
fn a_runtime_that_a_version_does_not_know_is_refused() {
    let refused = |minor, containerd| Distribution::Systemd.rules().check_runtime(minor, containerd).is_some();
    for (minor, docker, containerd) in [(5, false, true), (10, false, false), (23, false, false), (24, true, false)] {
        assert_eq!((refused(minor, false), refused(minor, true)), (docker, containerd), "1.{minor}");
    }
}

/// The content of a worker node's file.
fn of_worker(cluster: &Cluster, facts: &Facts, path: &str) -> String {
    files(cluster, facts).remove(&format!("worker node: {path}")).unwrap()
}

#[test]
fn docker_of_centos_7_is_told_nothing_that_its_unit_says_and_the_kubelet_has_its_cgroup_driver() {
    let settings =
        json!({"data_root": "/data", "registry_mirrors": ["https://m.example"], "insecure_registries": ["r:5000"]});
    let cluster = cluster(5, &json!({"settings": settings}));
    let daemon = |facts: &Facts| -> BTreeMap<String, Value> {
        serde_json::from_str(&of_worker(&cluster, facts, "/etc/docker/daemon.json")).unwrap()
    };
    let old = facts(5);
    assert_eq!(
        daemon(&old).keys().collect::<Vec<_>>(),
        ["graph", "insecure-registries", "live-restore", "registry-mirrors"]
    );
    assert!(of_worker(&cluster, &old, "/etc/kubernetes/kubelet").contains("--cgroup-driver=systemd"));
    let new = Facts { cgroup_version: 1, ..facts(20) };
    assert!(daemon(&new).contains_key("data-root") && daemon(&new).contains_key("exec-opts"));
    assert!(of_worker(&cluster, &new, "/etc/kubernetes/kubelet").contains("--cgroup-driver=cgroupfs"));
}

#[test]
fn docker_s_bridge_carries_the_pods_of_flannel_s_package() {
    let address = "10.8.14.202".parse().unwrap();
    let (addresses, lasting) = (vec![address], vec![address]);
    let eth0 = Interface { name: "eth0".into(), mtu: Some(9000), addresses: addresses.clone(), lasting };
    let daemon = |minor: u32, network: &str| -> Value {
        let facts = Facts { addresses: addresses.clone(), interfaces: vec![eth0.clone()], ..facts(minor) };
        let cluster = cluster(minor, &json!({"network": network}));
        serde_json::from_str(&of_worker(&cluster, &facts, "/etc/docker/daemon.json")).unwrap()
    };
    let with = daemon(20, "flannel");
    assert_eq!((&with["ip-masq"], &with["mtu"]), (&json!(false), &json!(8950)));
    // CentOS 7's unit says it itself, and no other network wants it.
    for without in [daemon(5, "flannel"), daemon(20, "direct")] {
        assert!(without.get("ip-masq").is_none() && without.get("mtu").is_none(), "{without}");
    }
}

#[test]
fn no_worker_node_has_the_api_servers_key_to_etcd() {
    let files = files(&cluster(20, &json!({"network": "flannel"})), &facts(20));
    let of_worker = |(path, text): &(&String, &String)| path.starts_with("worker") && text.contains("<etcd/");
    let keys: Vec<&str> = files.iter().filter(of_worker).map(|(_, text)| text.trim()).collect();
    assert_eq!(keys, ["<etcd/ca.crt>", "<etcd/client-flannel.crt>", "<etcd/client-flannel.key>"]);
}

/// An option's value in a file of this version.
fn value(minor: u32, file: &str, option: &str) -> Option<String> {
    let files = files(&cluster(minor, &json!({})), &facts(minor));
    let (_, text) = files.iter().find(|(path, _)| path.ends_with(file))?;
    let mut words = text.split(['"', ' ', '\n']);
    words.find_map(|word| Some(word.strip_prefix(option)?.strip_prefix('=')?.to_owned()))
}

#[test]
fn what_was_open_by_default_is_closed() {
    for minor in 5..=36 {
        let value = |file: &str, option: &str| value(minor, &format!("/etc/kubernetes/{file}"), option);
        if minor < 20 {
            assert_eq!(value("apiserver", "--insecure-port").as_deref(), Some("0"), "1.{minor}");
            assert_eq!(value("controller-manager", "--address").as_deref(), Some("127.0.0.1"), "1.{minor}");
            assert_eq!(value("scheduler", "--address").as_deref(), Some("127.0.0.1"), "1.{minor}");
        }
        assert_ne!(value("apiserver", "--authorization-mode").as_deref(), Some("AlwaysAllow"), "1.{minor}");
    }
}

#[test]
fn a_policy_names_the_clusters_own_users_and_no_service_account() {
    let policy = super::policy();
    let rules: Vec<Value> = policy.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let subjects: BTreeSet<&str> =
        rules.iter().map(|rule| rule["spec"]["user"].as_str().or(rule["spec"]["group"].as_str()).unwrap()).collect();
    let own = [
        "system:kube-controller-manager",
        "system:kube-proxy",
        "system:kube-scheduler",
        "system:masters",
        "system:nodes",
    ];
    assert_eq!(subjects.into_iter().collect::<Vec<_>>(), own);
    let admission = value(5, "/etc/kubernetes/apiserver", "--admission-control").unwrap();
    assert!(!admission.contains("ServiceAccount"), "every pod would get a token: {admission}");
    for minor in [5, 9, 10] {
        let is_written = files(&cluster(minor, &json!({})), &facts(minor)).keys().any(|path| path.ends_with(".jsonl"));
        assert_eq!(is_written, minor < 10, "1.{minor}");
    }
}

#[test]
fn the_kubelet_gets_a_domain_with_a_dns_server_or_neither() {
    for minor in [5, 20] {
        let of = |dns: Value| {
            let cluster = cluster(minor, &json!({"dns": dns, "settings": {"cluster_domain": "corp.example"}}));
            let files = files(&cluster, &facts(minor));
            files.into_iter().filter(|(path, _)| path.contains("/kubelet")).map(|(_, text)| text).collect::<String>()
        };
        let (without, with) = (of(Value::Null), of("10.254.0.10".into()));
        assert!(!without.contains("corp.example") && !without.to_lowercase().contains("dns"), "{without}");
        assert!(with.contains("corp.example") && with.contains("10.254.0.10"), "{with}");
    }
}

#[test]
fn a_kubelet_that_cannot_tell_pinned_images_removes_none() {
    let files = |minor: u32, containerd: bool| {
        files(&cluster(minor, &json!({"containerd": containerd})), &facts(minor)).into_values().collect::<String>()
    };
    assert!(files(5, false).contains("--image-gc-high-threshold=100"));
    let field = "\"imageGCHighThresholdPercent\": 100";
    assert!(files(20, false).contains(field) && files(25, true).contains(field));
    assert!(files(29, false).contains(field), "Docker pins none");
    assert!(files(29, true).contains(field), "containerd 1.6 does not tell the kubelet");
    let mut newer = facts(29);
    newer.packages.values_mut().for_each(|evr| "2.1.4".clone_into(&mut evr.version));
    let files = rendered::files(&cluster(29, &json!({"containerd": true})), &newer);
    assert!(!files.into_values().collect::<String>().contains(field));
}

/// What Docker is told of its bridge on a host with these routes and interfaces, reached from this address.
fn bridge(routes: &[(&str, &str)], from: &str, more: &Value) -> Option<String> {
    use crate::host::Route;
    let route = |(to, interface): &(&str, &str)| {
        let protocol = "kernel".to_owned();
        Route { to: to.parse().unwrap(), interface: (*interface).to_owned(), protocol }
    };
    let routes = routes.iter().map(route).collect();
    let facts = Facts { routes, reached_from: from.parse().ok(), ..facts(20) };
    let files = files(&cluster(20, more), &facts);
    let config: Value = serde_json::from_str(&files["worker node: /etc/docker/daemon.json"]).unwrap();
    config["bip"].as_str().map(str::to_owned)
}

#[test]
fn docker_s_bridge_leaves_the_site_s_network_alone() {
    let eth0 = [("10.8.14.0/24", "eth0"), ("0.0.0.0/0", "eth0")];
    assert_eq!(bridge(&eth0, "10.8.14.1", &json!({})), None, "Docker's own choice does no harm");
    let other = Some("192.168.254.1/24".to_owned());
    assert_eq!(bridge(&[("172.17.5.0/24", "eth0")], "10.8.14.1", &json!({})), other);
    assert_eq!(bridge(&[("172.16.0.0/12", "eth1")], "10.8.14.1", &json!({})), other, "wider");
    assert_eq!(bridge(&eth0, "172.17.9.9", &json!({})), other, "the control host, by the default route");
    let node = json!({"172.17.0.9": {"name": "host2", "address": "172.17.0.9", "subnet": 3}, "10.8.14.202": {"name": "host3", "address": "10.8.14.202", "subnet": 4}});
    assert_eq!(bridge(&eth0, "10.8.14.1", &json!({"workers": node})), other, "another node");
    let both = [("172.17.0.0/16", "eth0"), ("192.168.0.0/16", "eth0")];
    assert_eq!(bridge(&both, "10.8.14.1", &json!({})).as_deref(), Some("172.31.254.1/24"));
    // What Docker itself has made says nothing: the next run finds the same.
    assert_eq!(bridge(&[("172.17.0.0/16", "docker0")], "10.8.14.1", &json!({})), None);
    assert_eq!(bridge(&[("172.17.5.0/24", "eth0"), ("192.168.254.0/24", "docker0")], "10.8.14.1", &json!({})), other);
    assert_eq!(
        bridge(&[("172.17.5.0/24", "eth0")], "10.8.14.1", &json!({"network": "flannel"})),
        None,
        "flannel tells it"
    );
}
