//! Cluster files from text to description and back, and against what an environment keeps.

use camino::{Utf8Path, Utf8PathBuf};
use proptest::prelude::*;
use serde_json::json;

use super::fields::ROOT;
use super::*;
use crate::flow::{Environment, FlowError, Logins};
use crate::host::{HostId, Secret, Target, TargetDefaults};

mod components;
mod dns;
mod flannel;
mod table;

/// Reads a file beside which nothing lies, where PW and SUDO are environment variables.
fn read(text: &str) -> Result<Described, FlowError> {
    read_in(text, Utf8Path::new("/nowhere"), &TargetDefaults::default())
}

fn read_in(text: &str, folder: &Utf8Path, given: &TargetDefaults) -> Result<Described, FlowError> {
    let variable = |name: &str| match name {
        "PW" => Some("geheim".to_owned()),
        "SUDO" => Some("auch geheim".to_owned()),
        _ => None,
    };
    describe("cluster.yaml", text, Surroundings { folder, given, variable: &variable })
}

fn problems(text: &str) -> Vec<String> {
    let error = read(text).unwrap_err();
    assert!(matches!(error, FlowError::Request { .. }), "{error}");
    let text = error.to_string();
    assert!(!text.contains("geheim"), "{text}");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_file_that_is_no_map_is_said_to_be_none() {
    for text in ["- schema: 1\n", "schema 1\n", "5\n"] {
        let all = problems(text);
        assert!(
            all.len() == 1 && all[0].starts_with("cluster.yaml:1: ") && all[0].contains("none of the fields"),
            "{all:?}"
        );
    }
}

const WHOLE: &str = "\
schema: 1
hosts:
  - {address: 10.8.14.200, roles: [etcd, control-plane]}
  - {address: 10.8.14.201, roles: [worker], port: 2222, user: maint, sudoPasswordEnv: SUDO}
defaults:
  passwordEnv: PW
";

#[test]
fn a_hosts_own_login_counts_before_the_defaults_and_those_before_the_line() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Utf8Path::from_path(dir.path()).unwrap();
    std::fs::write(folder.join("pw"), "from file\nsecond line\n").unwrap();
    let mut given = TargetDefaults { user: Some("admin".to_owned()), port: Some(23), ..TargetDefaults::default() };
    given.auth.sudo_password = Some(Secret::new("of the line"));
    let text = format!("{WHOLE}  user: ops\n")
        .replace("roles: [etcd, control-plane]", "roles: [etcd, control-plane], passwordFile: pw");
    let described = read_in(&text, folder, &given).unwrap();
    let hosts: Vec<&Target> = described.spec.all().collect();
    let secret = |s: &Option<Secret>| s.as_ref().map(|s| s.expose().to_owned()).unwrap_or_default();
    assert_eq!(hosts[0].to_string(), "ops@10.8.14.200:23");
    assert_eq!(secret(&hosts[0].auth.password), "from file");
    assert_eq!(secret(&hosts[0].auth.sudo_password), "of the line");
    assert_eq!(hosts[1].to_string(), "maint@10.8.14.201:2222");
    assert_eq!(secret(&hosts[1].auth.password), "geheim");
    assert_eq!(secret(&hosts[1].auth.sudo_password), "auch geheim");
    assert_eq!(secret(&described.login.auth.password), "geheim");
}

#[test]
fn references_that_lead_nowhere_are_named_by_line() {
    let text = "\
schema: 1
defaults: {passwordFile: pw, passwordEnv: PW}
hosts:
  - address: 10.8.14.200
    roles: [etcd]
    keyFile: id_ed25519
    passwordEnv: NO_SUCH
  - address: 10.8.14.201
    roles: [etcd]
    sudoPasswordFile: secrets/sudo
";
    let found = problems(text);
    for wanted in [
        "cluster.yaml:2: defaults.passwordEnv: passwordFile and passwordEnv are both given",
        "cluster.yaml:6: hosts[0].keyFile: /nowhere/id_ed25519: no such file",
        "cluster.yaml:7: hosts[0].passwordEnv: the environment variable NO_SUCH is not set",
        "cluster.yaml:10: hosts[1].sudoPasswordFile: /nowhere/secrets/sudo: ",
    ] {
        assert!(found.iter().any(|f| f.starts_with(wanted)), "{wanted}: {found:#?}");
    }
    assert_eq!(found.len(), 4, "{found:#?}");
}

#[test]
fn contradictions_are_named_by_line() {
    let host = |roles: &str| format!("schema: 1\nhosts:\n  - {{address: h, roles: [{roles}]}}\n");
    for (text, wanted) in [
        (host("worker"), "2: hosts: no host has the role control-plane, which workers need"),
        (host("control-plane"), "2: hosts: no host has the role etcd, and kubernetes.externalEtcd names no member"),
        (host("etcd") + "kubernetes: {}\n", "4: kubernetes: no host has the role control-plane"),
        (host("control-plane") + "kubernetes: {externalEtcd: [e]}\netcd: {}\n", "5: etcd: no host has the role etcd"),
        (
            host("etcd, master") + "kubernetes:\n  externalEtcd: [e]\n",
            "5: kubernetes.externalEtcd: hosts have the role etcd",
        ),
        (host("etcd, etcd"), "3: hosts[0].roles: etcd is given twice"),
        (host("etcd") + "  - {address: H, roles: [etcd]}\n", "4: hosts[1].address: H is given twice, first in line 3"),
        (
            host("etcd, master") + "kubernetes:\n  podCIDR: 10.0.0.0/8\n  serviceCIDR: 10.254.0.0/16\n",
            "6: kubernetes.serviceCIDR: the pod network 10.0.0.0/8 and the service network 10.254.0.0/16 overlap",
        ),
        (
            host("etcd, master") + "kubernetes:\n  apiEndpoint: lb:6443\n  apiVIP: 10.0.0.9\n",
            "6: kubernetes.apiVIP: apiEndpoint is given too",
        ),
        ("schema: 2\nhost: x\n".to_owned(), "1: schema: 2 is not supported; this version reads schema 1"),
        ("schema: [\n".to_owned(), "this is not YAML"),
    ] {
        let found = problems(&text);
        assert!(found.len() == 1 && found[0].contains(wanted), "{wanted}: {found:#?}");
    }
}

#[test]
fn a_file_is_one_cluster_in_two_operations() {
    use crate::flow::request::Operation;
    let described = read(WHOLE).unwrap();
    let operations = operations(&Request { spec: described.spec, intent: Intent::converge() });
    let [Operation::EtcdCreate(etcd), Operation::ClusterCreate(cluster)] = operations.as_slice() else {
        panic!("{operations:?}")
    };
    assert!(etcd.tls && etcd.members.len() == 1 && cluster.control_plane.len() == 1 && cluster.workers.len() == 1);
    let etcd_only =
        read("schema: 1\nhosts: [{address: h, roles: [etcd]}]\netcd: {tls: false, rpms: [a.rpm]}\n").unwrap();
    assert_eq!(etcd_only.spec.kubernetes, None);
    assert_eq!(etcd_only.spec.etcd, EtcdSpec { tls: false, rpms: vec!["a.rpm".to_owned()] });
}

#[test]
fn a_written_file_has_the_order_of_the_table() {
    let file = read(WHOLE).unwrap().file;
    let expected = "\
schema: 1
defaults:
  passwordEnv: PW
hosts:
  - address: 10.8.14.200
    roles:
      - etcd
      - control-plane
  - address: 10.8.14.201
    roles:
      - worker
    user: maint
    port: 2222
    sudoPasswordEnv: SUDO
";
    assert_eq!(to_yaml(&file), expected);
}

/// Texts that YAML could take for something else, and others.
fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~äöü€]{1,30}",
        "(true|no|null|~|1e3|0x1f|12:30|- a|a: b|a #b|#x|'q'|\"d\"|&a|\\*b|!t|%x|@y|`z|\\{a|\\[b|: |\\|| x |\\.\\.\\.|---)"
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(rpms in prop::collection::vec(texts(), 0..4), key in texts(), file in texts()) {
        let written = ClusterFile {
            schema: 1,
            hosts: vec![HostFields {
                address: "10.8.14.200".to_owned(),
                roles: vec![Role::Etcd],
                login: LoginFields { key_file: Some(key), password_file: Some(file), ..LoginFields::default() },
                ..HostFields::default()
            }],
            etcd: Some(EtcdFields { tls: Some(true), rpms }),
            ..ClusterFile::default()
        };
        let text = to_yaml(&written);
        let checked = super::check::check(&super::yaml::parse(&text).unwrap(), &ROOT);
        prop_assert!(checked.problems.is_empty(), "{text}{:?}", checked.problems);
        prop_assert_eq!(serde_json::from_value::<ClusterFile>(checked.json).unwrap(), written);
    }
}

/// An environment with a cluster of three hosts, as a run leaves it.
fn environment(root: &Utf8Path) -> Environment {
    let environment = Environment::open(root, "prod").unwrap();
    let machine = |name: &str, address: &str| json!({"name": name, "address": address});
    let member = json!({"name": "a", "address": "10.8.14.200", "joining": {"new": "x"}});
    environment
        .save("etcd", &json!({"token": "t", "tls": true, "standing": true, "members": {"10.8.14.200": member}}))
        .unwrap();
    let mut workers = serde_json::Map::new();
    for (subnet, (name, address)) in [("b", "10.8.14.201:2222"), ("c", "10.8.14.9")].into_iter().enumerate() {
        let mut node = machine(name, address.trim_end_matches(":2222"));
        node["subnet"] = json!(subnet);
        workers.insert(address.to_owned(), node);
    }
    let cluster = json!({
        "settings": {"pod_cidr": "10.50.0.0/16", "registry_mirrors": ["https://r.example:5000"]},
        "network": "direct",
        "etcd": {"endpoints": ["https://10.8.14.200:2379"], "tls": true},
        "standing": true,
        "control_plane": {"10.8.14.200": machine("a", "10.8.14.200")},
        "workers": workers,
    });
    environment.save("kubernetes", &cluster).unwrap();
    let mut logins = ["root@10.8.14.200", "maint@10.8.14.201:2222"]
        .map(|host| Target::parse(host, &TargetDefaults::default()).unwrap());
    logins[1].auth.key = Some("/k".into());
    Logins::keep(&environment, &logins).unwrap();
    environment
}

fn folder() -> (tempfile::TempDir, Utf8PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
    (dir, path)
}

#[test]
fn what_an_environment_has_is_a_file_that_changes_nothing() {
    let (_dir, root) = folder();
    let stored = stored(&environment(&root)).unwrap().unwrap();
    insta::assert_snapshot!(to_yaml(&stored));
    // The key of the state is not there to be read.
    let text = to_yaml(&stored).replace("    keyFile: /k\n", "");
    let described = read(&text).unwrap();
    assert_eq!(described.environment.as_deref(), Some("prod"));
    assert!(leaving(&stored, &described.spec).is_empty());
    check_kept(&described, &stored).unwrap();
    let settings = &described.spec.kubernetes.as_ref().unwrap().settings;
    assert_eq!(settings.pod_cidr, "10.50.0.0/16");
    assert_eq!(settings.registry_mirrors, ["https://r.example:5000"]);
    // The same as JSON.
    let json = serde_json::to_string_pretty(&described.file).unwrap();
    assert_eq!(read(&json).unwrap().spec, described.spec);
    assert_eq!(super::stored(&Environment::open(&root, "empty").unwrap()).unwrap(), None);
}

#[test]
fn the_address_of_a_node_among_the_others_is_read_and_shown() {
    let text = WHOLE.replace("roles: [worker]", "roles: [worker], nodeAddress: 10.9.0.1");
    let described = read(&text).unwrap();
    let addresses: Vec<_> = described.spec.all().map(|target| target.node_address).collect();
    assert_eq!(addresses, [None, "10.9.0.1".parse().ok()]);
    let wrong = problems(&text.replace("10.9.0.1", "eth1"));
    assert_eq!(wrong, [r#"cluster.yaml:4: hosts[1].nodeAddress: "eth1" is not an IP address"#]);
    // Of a host that is reached at another address of its own.
    let (_dir, root) = folder();
    let environment = environment(&root);
    let mut cluster = crate::flow::kubernetes::Cluster::load(&environment).unwrap().unwrap();
    if let Some(node) = cluster.workers.get_mut("10.8.14.9") {
        node.machine.address = "10.9.0.9".parse().unwrap();
    }
    cluster.save(&environment).unwrap();
    let shown = to_yaml(&stored(&environment).unwrap().unwrap());
    assert_eq!(shown.matches("nodeAddress:").count(), 1, "{shown}");
    assert!(shown.contains("nodeAddress: 10.9.0.9\n"), "{shown}");
}

#[test]
fn networks_of_both_families_are_held_against_each_other() {
    let of = |text: &str| format!("{WHOLE}kubernetes: {{{text}}}\n");
    let both = "podCIDR: '10.244.0.0/16,fd00:10:244::/56', serviceCIDR: '10.254.0.0/16,fd00:10:254::/112'";
    let described = read(&of(both)).unwrap();
    let settings = &described.spec.kubernetes.as_ref().unwrap().settings;
    assert_eq!(settings.pods().to_string(), "10.244.0.0/16,fd00:10:244::/56");
    for (wrong, said) in [
        (
            both.replace("/112", "/96"),
            "kubernetes.serviceCIDR: the service network fd00:10:254::/96 must have a prefix of 108",
        ),
        (
            "podCIDR: '10.244.0.0/16,fd00::/56'".to_owned(),
            "kubernetes.podCIDR: the pod network 10.244.0.0/16,fd00::/56 and the",
        ),
        (
            format!("{both}, apiVIP: 'fd00::9'"),
            "kubernetes.apiVIP: fd00::9 is no IPv4 address, which is the cluster's primary",
        ),
    ] {
        let found = problems(&of(&wrong));
        assert!(found.len() == 1 && found[0].contains(said), "{wrong}: {found:?}");
    }
}

#[test]
fn what_a_file_no_longer_names_is_found_and_removed_on_request_only() {
    use crate::flow::request::Operation;
    let (_dir, root) = folder();
    let stored = stored(&environment(&root)).unwrap().unwrap();
    let described = read(WHOLE).unwrap();
    let leaving = leaving(&stored, &described.spec);
    let names: Vec<String> = leaving.iter().map(Leaving::name).collect();
    assert_eq!(names, ["10.8.14.9 (worker)"]);
    let nobody = removal(&leaving, &described, &stored, &|_| None).unwrap_err().to_string();
    assert!(nobody.contains("no credentials for 10.8.14.9"), "{nobody}");
    let login = |host: &HostId| Target::parse(host, &TargetDefaults::default()).ok();
    let requests = removal(&leaving, &described, &stored, &login).unwrap();
    let operations = of_all(&requests);
    let [Operation::ClusterRemove(remove)] = operations.as_slice() else { panic!("{operations:?}") };
    assert_eq!(remove.workers[0].to_string(), "root@10.8.14.9");
    assert!(remove.control_plane.is_empty() && remove.etcd.is_empty() && !remove.force);
    assert_eq!(remove.also.len(), 2);

    let none = read("schema: 1\nhosts: [{address: 10.8.14.200, roles: [etcd]}]\n").unwrap();
    let all = super::leaving(&stored, &none.spec);
    assert_eq!(all.len(), 3);
    let refused = removal(&all, &none, &stored, &login).unwrap_err().to_string();
    assert!(refused.contains("the last control plane node cannot be removed"), "{refused}");
}

#[test]
fn what_a_cluster_keeps_for_good_cannot_be_written_otherwise() {
    let (_dir, root) = folder();
    let stored = stored(&environment(&root)).unwrap().unwrap();
    let text = format!(
        "{WHOLE}etcd: {{tls: false}}\nkubernetes:\n  podCIDR: 10.60.0.0/16\n  apiVIP: 10.8.14.250\n  network: auto\n  runtime: docker\n"
    );
    let error = check_kept(&read(&text).unwrap(), &stored).unwrap_err().to_string();
    let found: Vec<&str> = error.lines().collect();
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found[0].starts_with("cluster.yaml:7: etcd.tls: the cluster has true"), "{found:#?}");
    assert!(
        found[1].starts_with(r#"cluster.yaml:9: kubernetes.podCIDR: the cluster has "10.50.0.0/16""#),
        "{found:#?}"
    );
    assert!(found[2].starts_with("cluster.yaml:10: kubernetes.apiVIP: the cluster was made without"), "{found:#?}");
}

#[test]
fn a_kept_registry_is_switched_by_the_file_and_shown() {
    let of = |more: &str| read(&format!("{WHOLE}{more}")).unwrap().spec.kubernetes.unwrap().settings.keep_registry;
    assert!(of("kubernetes: {keepRegistry: true}\n") && !of("kubernetes: {keepRegistry: false}\n") && !of(""));
    let (_dir, root) = folder();
    let environment = environment(&root);
    assert!(!to_yaml(&stored(&environment).unwrap().unwrap()).contains("keepRegistry"));
    let mut cluster = crate::flow::kubernetes::Cluster::load(&environment).unwrap().unwrap();
    cluster.settings.keep_registry = true;
    cluster.save(&environment).unwrap();
    let shown = stored(&environment).unwrap().unwrap();
    assert!(to_yaml(&shown).contains("  keepRegistry: true\n"));
    // It is not among what a cluster keeps for good.
    check_kept(&read(&format!("{WHOLE}kubernetes: {{keepRegistry: false}}\n")).unwrap(), &shown).unwrap();
}

#[test]
fn tls_that_is_not_written_stays_as_it_is() {
    let mut stored = read(WHOLE).unwrap().file;
    stored.etcd = Some(EtcdFields { tls: Some(false), rpms: Vec::new() });
    let mut described = read(WHOLE).unwrap();
    keep(&mut described, &stored);
    assert!(!described.spec.etcd.tls);
    let mut written = read(&format!("{WHOLE}etcd: {{tls: true}}\n")).unwrap();
    keep(&mut written, &stored);
    assert!(written.spec.etcd.tls);
}
