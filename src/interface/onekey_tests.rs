//! How the words of the `-K` form are read.

use super::*;

fn read(line: &[&str]) -> Result<Vec<Operation>, FlowError> {
    let words: Vec<String> = line.iter().map(|w| (*w).to_owned()).collect();
    let globals = |name: &str| match name {
        "json" => Some(0),
        "forks" => Some(1),
        _ => None,
    };
    parse(&words, globals)?.operations(&TargetDefaults::default())
}

#[test]
fn the_contracts_line() {
    let operations = read(&[
        "-create_etcd_cluster",
        "--host-list",
        "root:111111@10.8.14.200",
        "root:111111@10.8.14.201",
        "-f",
        "/home/install_rpm/etcd-3.2.18-1.el7.x86_64.rpm",
        "-create_k8s_cluster",
        "--master-host-list",
        "root:111111@10.8.14.200",
        "-fm",
        "a.rpm",
        "b.rpm",
        "--node-host-list",
        "root:111111@10.8.14.200",
        "-fn",
        "c.rpm",
        "--json",
        "--forks",
        "3",
    ])
    .unwrap();
    let [Operation::EtcdCreate(etcd), Operation::ClusterCreate(cluster)] = operations.as_slice() else {
        panic!("{operations:?}")
    };
    assert_eq!(etcd.members.len(), 2);
    assert_eq!(etcd.rpms, ["/home/install_rpm/etcd-3.2.18-1.el7.x86_64.rpm"]);
    assert_eq!((cluster.control_plane_rpms.len(), cluster.worker_rpms.len()), (2, 1));
}

#[test]
fn wrong_lines_are_refused_and_show_no_password() {
    for line in [
        &["-create_etcd_cluster", "--host-list", "root:geheim@10.8.14.200;reboot"][..],
        &["-create_etcd_cluster", "--host-list", "root:geheim@10.0.0.1", "root:other@10.0.0.1"],
        &["-create_etcd_cluster", "--host-list", "root:geheim@10.0.0.1", "--no-such-option"],
        &["-create_etcd_cluster", "--host-list"],
        &["-create_etcd_cluster"],
        &["-create_k8s_cluster", "--node-host-list", "root:geheim@10.0.0.1"],
        &["-create_k8s_cluster", "--master-host-list", "root:geheim@10.0.0.1", "-cp", "destroy"],
        &["root:geheim@10.0.0.1"],
        &["--host-list", "root:geheim@10.0.0.1"],
        &["-create_etcd_cluster", "--host-list", "root:geheim@10.0.0.1", "-create_etcd_cluster"],
        &["-create_etcd_cluster=yes", "--host-list", "root:geheim@10.0.0.1"],
        &["-create_etcd_cluster", "--host-list", "root:a@10.0.0.1", "--json", "root:geheim@10.0.0.2"],
        &["-create_etcd_cluster", "--host-list", "root:a@10.0.0.1", "-ssh-sudo-pw", "-geheim"],
        &["-create_k8s_cluster", "--master-hosts", "root:a@10.0.0.1", "--add-node-hosts", "root:geheim@10.0.0.2"],
        &["-create_k8s_cluster", "-cp", "add_nodes", "--master-hosts", "root:geheim@10.0.0.1"],
        &["-create_k8s_cluster", "-cp=del_nodes", "--add-node-hosts", "root:geheim@10.0.0.1"],
    ] {
        let error = read(line).unwrap_err();
        assert!(matches!(error, FlowError::Request { .. }), "{error}");
        assert!(!error.to_string().contains("geheim"), "{error}");
    }
}

#[test]
fn every_option_by_every_name_with_one_dash_two_and_an_equals_sign() {
    for (kind, head) in [(Kind::Etcd, "-create_etcd_cluster"), (Kind::Cluster, "--create_k8s_cluster")] {
        for names in kind.options() {
            for name in *names {
                for line in [
                    vec![head.to_owned(), format!("-{name}"), "v=1".to_owned()],
                    vec![head.to_owned(), format!("--{name}"), "v=1".to_owned()],
                    vec![head.to_owned(), format!("-{name}=v=1")],
                    vec![head.to_owned(), format!("--{name}=v=1")],
                ] {
                    let parsed = parse(&line, |_| None).unwrap();
                    assert_eq!(parsed.operations[0].values, [(names[0], vec!["v=1".to_owned()])], "{line:?}");
                }
            }
        }
    }
}

#[test]
fn nodes_are_added_and_removed() {
    let add = read(&["-create_k8s_cluster", "-cp", "add_nodes", "--add-node-hosts", "a:b:c@d@10.0.0.1"]).unwrap();
    let [Operation::ClusterAdd(add)] = add.as_slice() else { panic!("{add:?}") };
    assert_eq!(add.workers[0].auth.password.as_ref().unwrap().expose(), "b:c@d");
    let del = read(&["--create_k8s_cluster", "--cp=del_nodes", "-del-master-hosts", "[fe80::1]:2222"]).unwrap();
    let [Operation::ClusterRemove(del)] = del.as_slice() else { panic!("{del:?}") };
    assert_eq!(del.control_plane[0].to_string(), "root@[fe80::1]:2222");
}

#[test]
fn short_program_wide_options_keep_their_dash() {
    let words = ["-v", "--forks=3", "-json"].map(str::to_owned);
    let parsed = parse(&words, |name| Some(usize::from(name == "forks"))).unwrap();
    assert_eq!(parsed.global, ["-v", "--forks=3", "--json"]);
}
