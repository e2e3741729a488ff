use super::*;
use crate::host::Secret;

fn create(params: &ClusterParams) -> Result<Asked, String> {
    super::create(params, Some(Kept::default()))
}

fn params(json: &str) -> ClusterParams {
    serde_json::from_str(json).unwrap()
}

#[test]
fn without_nodes_the_masters_are_nodes() {
    let asked =
        create(&params(r#"{"master-host-list":["root:a@10.8.14.200"],"etcd-host-list":["root:a@10.8.14.200"]}"#));
    let operations = asked.unwrap().operations;
    let [Operation::EtcdCreate(etcd), Operation::ClusterCreate(cluster)] = operations.as_slice() else { panic!() };
    assert_eq!(etcd.members, cluster.control_plane);
    assert_eq!(cluster.workers, cluster.control_plane);
}

#[test]
fn a_message_asks_for_what_the_k_form_asks_for() {
    let hosts = ["root:a@10.8.14.200", "root:b@10.8.14.201"];
    let rpms = ["etcd-3.rpm", "kubernetes-master-1.rpm", "kubernetes-node-1.rpm"];
    let asked = create(&params(&format!(
        r#"{{"master-host-list":["{0}"],"etcd-host-list":["{0}","{1}"],"node-host-list":["{1}"],"cni":"direct",
            "rpms":["{2}","{3}","{4}"]}}"#,
        hosts[0], hosts[1], rpms[0], rpms[1], rpms[2]
    )));
    let line = format!(
        "-create_etcd_cluster --host-list {} {} -f {} -create_k8s_cluster --master-hosts {} -fm {} --node-hosts {} -fn {} -cni direct",
        hosts[0], hosts[1], rpms[0], hosts[0], rpms[1], hosts[1], rpms[2]
    );
    let line: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let parsed = crate::interface::onekey::parse(&line, |_| None).unwrap();
    assert_eq!(asked.unwrap().operations, parsed.operations(&TargetDefaults::default()).unwrap());
}

#[test]
fn wrong_parameters_are_named_and_no_password_shown() {
    let host = r#""etcd-host-list":["root:geheim@10.8.14.200"]"#;
    for (json, word) in [
        ("{}".to_owned(), "master-host-list: at least one"),
        (format!("{{{host}}}"), "master-host-list: at least one"),
        (format!(r#"{{{host},"master-host-list":["10.8.14.201"]}}"#), "neither a password"),
        (format!(r#"{{{host},"master-host-list":["root:geheim@10.8.14.201;reboot"]}}"#), "10.8.14.201***"),
        (format!(r#"{{{host},"master-host-list":["root:anders@10.8.14.200"]}}"#), "given twice"),
        (format!(r#"{{{host},"master-host-list":["10.8.14.1"],"certificate_path":"/nowhere"}}"#), "/nowhere"),
        (format!(r#"{{{host},"master-host-list":["10.8.14.1"],"certificate_path":"key"}}"#), "full path"),
        (format!(r#"{{{host},"master-host-list":["10.8.14.1"],"certificate_path":"/etc/passwd"}}"#), "no private key"),
        (format!(r#"{{{host},"master-host-list":["root:a@h"],"rpms":["x.deb"]}}"#), "rpms"),
    ] {
        let error = create(&params(&json)).unwrap_err();
        assert!(error.starts_with(WRONG) && error.contains(word), "{json}: {error}");
        assert!(!error.contains("geheim") && !error.contains("anders"), "{error}");
    }
}

#[test]
fn a_later_task_falls_back_on_the_environments_login() {
    let first = create(&params(
        r#"{"master-host-list":["m:a@10.8.14.200:2222"],"etcd-host-list":["m:a@10.8.14.200:2222"],"ssh-sudo-pw":"s"}"#,
    ))
    .unwrap();
    let other = remove(&params(r#"{"node-host-list":["other@10.8.14.200"]}"#), first.kept.clone());
    assert!(other.unwrap_err().contains("neither a password"), "another user's password is not this one's");
    let asked = remove(&params(r#"{"node-host-list":["10.8.14.200"]}"#), first.kept).unwrap();
    let [Operation::ClusterRemove(change)] = asked.operations.as_slice() else { panic!() };
    assert_eq!(change.workers[0].to_string(), "m@10.8.14.200:2222");
    assert_eq!(change.workers[0].auth.password, Some(Secret::new("a")));
    assert_eq!(change.workers[0].auth.sudo_password, Some(Secret::new("s")));
    assert!(change.workers[0].auth.kept, "it goes only behind the recorded host key");
}

#[test]
fn kept_passwords_go_to_no_other_port_address_or_user() {
    let hosts = r#"["m:a@10.8.14.200"]"#;
    let first =
        create(&params(&format!(r#"{{"master-host-list":{hosts},"etcd-host-list":{hosts},"ssh-sudo-pw":"s"}}"#)));
    let kept = first.unwrap().kept;
    for host in ["10.8.14.200:2312", "m@10.8.14.200:2312", "m@10.8.14.201", "root@10.8.14.200"] {
        let error = add(&params(&format!(r#"{{"node-host-list":["{host}"]}}"#)), kept.clone()).unwrap_err();
        assert!(error.contains("neither a password"), "{host}: {error}");
    }
    // With a password or key of its own it gets in, and sudo's is still not sent there.
    let asked = add(&params(r#"{"node-host-list":["m:b@10.8.14.200:2312"]}"#), kept).unwrap();
    let [Operation::ClusterAdd(change)] = asked.operations.as_slice() else { panic!() };
    assert_eq!((&change.workers[0].auth.sudo_password, change.workers[0].auth.kept), (&None, false));
}

#[test]
fn a_host_with_a_key_gets_sudos_kept_password_back() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    std::fs::write(&key, "-----BEGIN PRIVATE KEY-----\n").unwrap();
    let hosts = r#"["m@10.8.14.200"]"#;
    let first = create(&params(&format!(
        r#"{{"master-host-list":{hosts},"etcd-host-list":{hosts},"ssh-sudo-pw":"s","certificate_path":"{}"}}"#,
        key.display()
    )));
    let first = first.unwrap();
    let asked = remove(&params(r#"{"node-host-list":["10.8.14.200"]}"#), first.kept).unwrap();
    let [Operation::ClusterRemove(change)] = asked.operations.as_slice() else { panic!() };
    let auth = &change.workers[0].auth;
    assert_eq!((auth.sudo_password.as_ref().map(Secret::expose), auth.kept), (Some("s"), true));
    assert!(asked.known.iter().any(|t| t.auth.sudo_password.is_some()), "also where the request does not name it");
}

#[test]
fn a_caller_who_has_not_shown_who_it_is_gets_at_nothing_of_the_control_host() {
    let host = r#""master-host-list":["root:a@10.8.14.200"],"etcd-host-list":["root:a@10.8.14.200"]"#;
    for (json, word) in [
        (format!(r#"{{{host},"certificate_path":"/nowhere"}}"#), "certificate_path"),
        (format!(r#"{{{host},"certificate_path":"/etc/passwd"}}"#), "certificate_path"),
        (format!(r#"{{{host},"rpms":["/tmp/etcd-3.rpm"]}}"#), "rpms"),
        (format!(r#"{{{host},"rpms":["./etcd-3.rpm"]}}"#), "rpms"),
    ] {
        let error = super::create(&params(&json), None).unwrap_err();
        assert!(error.starts_with(WRONG) && error.contains(word), "{json}: {error}");
        for word in ["--no-auth", "--token-file"] {
            assert!(error.contains(word), "{error}");
        }
    }
    let asked = super::create(&params(&format!(r#"{{{host},"rpms":["etcd-3.rpm"]}}"#)), None).unwrap();
    assert!(asked.kept.is_none(), "nothing is kept of it");
    let params: Ec2Params = serde_json::from_str(r#"{"ImageId":"ami-1","certificate_Name":"k"}"#).unwrap();
    assert!(ec2(params, None).unwrap_err().contains("AWS account"));
}

#[test]
fn known_hosts_without_a_password_are_all_named_with_the_option_that_keeps_them() {
    let hosts = r#"["m:a@10.8.14.200","m:a@10.8.14.201"]"#;
    let first = create(&params(&format!(r#"{{"master-host-list":{hosts},"etcd-host-list":{hosts}}}"#))).unwrap();
    assert_eq!(first.known.len(), 2);
    let without = |asked: &Asked| asked.kept.clone().map(|kept| Kept { secrets: Secrets::default(), ..kept });
    let leaving = params(r#"{"node-host-list":["10.8.14.200","10.8.14.201"]}"#);
    let error = remove(&leaving, without(&first)).unwrap_err();
    for word in ["node-host-list: 10.8.14.200, 10.8.14.201: neither", "`serve --keep-credentials KEYFILE`"] {
        assert!(error.contains(word), "{error}");
    }
    let new = params(r#"{"node-host-list":["10.8.14.202"]}"#);
    assert!(!add(&new, without(&first)).unwrap_err().contains("--keep-credentials"));
}

#[test]
fn packages_are_sorted_by_what_they_are_for() {
    let list = ["etcd-3.rpm", "/a/kubernetes-master-1.rpm", "kubernetes-node-1.rpm", "kubernetes-client-1.rpm"];
    let rpms = Rpms::sort(&list.map(str::to_owned), true).unwrap();
    assert_eq!((rpms.etcd.len(), rpms.master.len(), rpms.node.len()), (1, 2, 2));
}
