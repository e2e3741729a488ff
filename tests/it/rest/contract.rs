//! The contract's calls against real hosts.

use serde_json::Value;

use super::setup::{Answer, Listener, curl, poll};
use crate::cluster::GROUPS;
use crate::lab::Lab;
use crate::site::Site;

fn ask(lab: &Lab, url: &str, arguments: &[&str]) -> Answer {
    curl(lab.run("curl"), &[arguments, &[url]].concat())
}

/// Starts a task with these lists of hosts, and returns what it comes to.
fn post(lab: &Lab, listener: &Listener, number: u8, lists: &str) -> Value {
    let here = format!("{}/environments/prod", listener.url);
    let body = format!(r#"{{"environment_type": {number}, "environment_params": {{{lists}}}}}"#);
    let answer = ask(lab, &here, &["-d", &body]);
    if answer.status != 200 {
        return answer.message();
    }
    poll(|| ask(lab, &format!("{here}/{number}"), &[]))
}

/// No file of the control host holds root's password.
#[track_caller]
fn assert_nothing_written(site: &Site) {
    for word in [&b":111111"[..], b"\"111111\"", b"111111@"] {
        assert!(site.written().iter().all(|(_, bytes)| !bytes.windows(word.len()).any(|w| w == word)));
    }
}

#[test]
fn a_cluster_is_created_asked_and_listed_and_the_command_line_sees_the_same() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(3);
    let site = Site::with(&["etcd", "docker", "kubernetes"]);
    let listener = Listener::at(&site, &lab);
    let here = format!("{}/environments/prod", listener.url);

    let answer = ask(&lab, &format!("{here}/1"), &[]);
    assert_eq!(answer.status, 404);
    assert_eq!(answer.message()["environment_result"], false);

    let key = lab.host(0).login.key.clone().unwrap_or_else(|| panic!("the lab's key"));
    let body = format!(
        r#"{{"environment_type": 1,
            "environment_params": {{
              "master-host-list": ["10.8.14.200"], "etcd-host-list": ["10.8.14.200"],
              "node-host-list": ["10.8.14.200", "10.8.14.201"],
              "certificate_path": "{}", "ssh-user": "maintuser"}},
            "environment_params": "the parameters of the environment"}}"#,
        key.display()
    );
    let answer = ask(&lab, &here, &["-X", "POST", "-d", &body]);
    assert_eq!(answer.status, 200, "{}", answer.text);
    let message = answer.message();
    assert_eq!((message["environment_type"].as_u64(), message["environment_err"].as_u64()), (Some(1), Some(0)));
    assert_eq!(message["environment_progress"], 0.0);

    let again = ask(&lab, &here, &["-X", "POST", "-d", &body]);
    assert_eq!(again.status, 409, "{}", again.text);
    assert_eq!(again.message()["environment_result"], false);

    let message = poll(|| ask(&lab, &format!("{here}/1"), &[]));
    assert_eq!(message["environment_status"], "finished", "{message}");
    assert_eq!(message["environment_progress"], 100.0);
    assert_eq!(lab.host(0).sh("kubectl get nodes --no-headers").matches(" Ready ").count(), 2);

    let list = ask(&lab, &format!("{}/environments", listener.url), &[]).json();
    assert_eq!(list["environments"][0]["id"], "prod");
    let task = &ask(&lab, &here, &[]).json()["tasks"][0];
    assert_eq!(task["hosts"][0]["state"], "ok", "{task}");
    assert_eq!(task["hosts"][1]["progress"], 100.0, "{task}");

    // Type 2, in both spellings of its keys.
    let status = || {
        let message = ask(&lab, &format!("{here}/2"), &[]).message();
        assert_eq!(message["environment_desc"], message["environment__desc"]);
        assert_eq!(message["environment_err"], message["environment__err"]);
        assert_eq!(message["environment_err"], 0, "{message}");
        message["environment_desc"].clone()
    };
    let now = status();
    let nodes = now["nodestatus"].as_object().unwrap_or_else(|| panic!("{now}"));
    assert_eq!(nodes.len(), 2, "{now}");
    assert!(nodes.values().all(|n| n["STATUS"] == "Ready" && n["AGE"].is_string()), "{now}");
    let parts = now["componentstatus"].as_object().unwrap_or_else(|| panic!("{now}"));
    assert!(parts.len() >= 4 && parts.values().all(|c| c["STATUS"] == "Healthy" && c["ERROR"] == ""), "{now}");

    // Types 3 and 4, with the environment's credentials.
    for (number, count) in [(3, 3), (4, 2)] {
        assert_eq!(ask(&lab, &format!("{here}/{number}"), &[]).status, 404);
        let body =
            format!(r#"{{"environment_type": {number}, "environment_params": {{"node-host-list": ["10.8.14.202"]}}}}"#);
        let answer = ask(&lab, &here, &["-X", "POST", "-d", &body]);
        assert_eq!(answer.status, 200, "{}", answer.text);
        let message = poll(|| ask(&lab, &format!("{here}/{number}"), &[]));
        assert_eq!((&message["environment_status"], &message["environment_err"]), (&"finished".into(), &0.into()));
        let now = status();
        assert_eq!(now["nodestatus"].as_object().map(serde_json::Map::len), Some(count), "{now}");
    }
    assert_eq!(ask(&lab, &here, &["-X", "DELETE"]).status, 409, "a cluster stands");

    // Their failures have numbers of their own: a login that is refused, a control plane node that does not answer.
    let failing = |number: u8, host: &str| {
        let body =
            format!(r#"{{"environment_type": {number}, "environment_params": {{"node-host-list": ["{host}"]}}}}"#);
        let answer = ask(&lab, &here, &["-d", &body]);
        assert_eq!(answer.status, 200, "{}", answer.text);
        let message = poll(|| ask(&lab, &format!("{here}/{number}"), &[]));
        assert_eq!((&message["environment_status"], &message["environment_result"]), (&"stop".into(), &false.into()));
        message["environment_err"].as_u64()
    };
    assert_eq!(failing(3, "nosuch@10.8.14.202"), Some(2));
    lab.host(0).cut_network();
    assert_eq!(failing(4, "10.8.14.201"), Some(3));
    let message = ask(&lab, &format!("{here}/2"), &[]).message();
    assert_eq!((&message["environment_result"], &message["environment_err"]), (&false.into(), &1.into()), "{message}");
    lab.host(0).heal();

    // What the command line does is seen here, and its password is nowhere.
    site.run(&lab, &["--environment", "line", "etcd", "create", "--host", "root:111111@10.8.14.202"]).expect_ok();
    let line = ask(&lab, &format!("{}/environments/line/1", listener.url), &[]).message();
    assert_eq!(line["environment_status"], "finished", "{line}");
    assert_nothing_written(&site);
    lab.assert_no_egress(&["10.244.0.0/16", "10.254.0.0/16"]);
}

#[test]
fn a_task_that_fails_says_where_and_why() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let site = Site::with(&["etcd", "docker", "kubernetes"]);
    let listener = Listener::at(&site, &lab);
    let here = format!("{}/environments/bad", listener.url);
    let body = r#"{"environment_type": 1, "environment_params": {
        "master-host-list": ["root:wrong-one@10.8.14.200"], "etcd-host-list": ["root:wrong-one@10.8.14.200"]}}"#;
    assert_eq!(ask(&lab, &here, &["-d", body]).status, 200);
    let message = poll(|| ask(&lab, &format!("{here}/1"), &[]));
    assert_eq!(message["environment_status"], "stop");
    assert_eq!(message["environment_err"], 1);
    assert!(message["environment_desc"].as_str().is_some_and(|d| d.contains("10.8.14.200")), "{message}");
    assert!(!message.to_string().contains("wrong-one"));
    // Nothing was made: it may be forgotten.
    assert_eq!(ask(&lab, &here, &["-X", "DELETE"]).status, 200);
    assert_eq!(ask(&lab, &here, &[]).status, 404);
}

#[test]
fn types_3_and_4_with_only_the_hosts_that_come_or_go_use_the_passwords_of_earlier_tasks() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(3);
    let site = Site::with(&GROUPS);
    let listener = Listener::at(&site, &lab);
    let first = r#"["root:111111@10.8.14.200"]"#;
    let etcd = r#"["root:111111@10.8.14.200","root:111111@10.8.14.201"]"#;
    let created = post(&lab, &listener, 1, &format!(r#""master-host-list":{first},"etcd-host-list":{etcd}"#));
    assert_eq!(created["environment_status"], "finished", "{created}");
    // The API server on the first host must learn of the members; nobody names it.
    let third =
        |host: &str| ["etcd", "master", "node"].map(|role| format!(r#""{role}-host-list":["{host}"]"#)).join(",");
    let coming = third("root:111111@10.8.14.202");
    let added = post(&lab, &listener, 3, &coming);
    assert_eq!(added["environment_status"], "finished", "{added}");
    let endpoints = || lab.host(0).sh("grep -rhoE 'https://10.8.14.[0-9]+:2379' /etc/kubernetes | sort -u");
    assert!(endpoints().contains("10.8.14.202"), "{}", endpoints());
    lab.host(2).sh("kubectl get node host2");
    let removed = post(&lab, &listener, 4, &third("10.8.14.202"));
    assert_eq!(removed["environment_status"], "finished", "{removed}");
    assert!(!endpoints().contains("10.8.14.202"), "{}", endpoints());
    assert_nothing_written(&site);
    drop(listener);

    // After a restart the refusal names the option.
    let listener = Listener::at(&site, &lab);
    let refused = post(&lab, &listener, 3, &coming);
    let words = refused["environment_desc"].as_str().unwrap_or_default();
    assert!(words.contains("10.8.14.200") && words.contains("`serve --keep-credentials KEYFILE`"), "{refused}");
    drop(listener);
    kept_passwords_are_sealed_and_used_by_later_tasks(&lab, &site);
}

/// With `--keep-credentials`: `cluster` stands on the first host and has its etcd on the first two.
fn kept_passwords_are_sealed_and_used_by_later_tasks(lab: &Lab, site: &Site) {
    let key = site.path("vault.key").display().to_string();
    let keep = ["--keep-credentials", key.as_str()];
    let listener = Listener::with(site, lab, &keep);
    let lists = r#""node-host-list":["root:111111@10.8.14.202"],"master-host-list":["root:111111@10.8.14.200"]"#;
    let added = post(lab, &listener, 3, lists);
    assert_eq!(added["environment_status"], "finished", "{added}");
    drop(listener);

    // Another key opens nothing, and says so.
    let other = site.path("other.key").display().to_string();
    let listener = Listener::with(site, lab, &["--keep-credentials", &other]);
    let refused = post(lab, &listener, 4, r#""node-host-list":["10.8.14.202"]"#);
    assert_eq!(refused["environment_result"], false);
    assert!(refused["environment_desc"].as_str().is_some_and(|d| d.contains("does not open")), "{refused}");
    drop(listener);

    // After a restart the first key does.
    let listener = Listener::with(site, lab, &keep);
    let removed = post(lab, &listener, 4, r#""node-host-list":["10.8.14.202"]"#);
    assert_eq!(removed["environment_status"], "finished", "{removed}");
    assert_nothing_written(site);

    // A cluster that the command line makes is the listener's too, and its kept passwords.
    let line = ["etcd", "create", "--host", "root:111111@10.8.14.202", "--environment", "line"];
    site.run(lab, &[&line[..], &keep].concat()).expect_ok();
    let here = format!("{}/environments/line", listener.url);
    assert_eq!(ask(lab, &format!("{here}/1"), &[]).message()["environment_progress"], 100.0);
    let body = r#"{"environment_type": 1, "environment_params":
        {"master-host-list": ["10.8.14.202"], "etcd-host-list": ["10.8.14.202"]}}"#;
    assert_eq!(ask(lab, &here, &["-d", body]).status, 200);
    let message = poll(|| ask(lab, &format!("{here}/1"), &[]));
    assert_eq!(message["environment_status"], "finished", "{message}");
    drop(listener);

    // To an sshd whose key is not recorded nothing goes that was kept, also in a dry run; a password given records the key.
    assert!(std::fs::remove_file(site.path("state").join("known_hosts")).is_ok());
    let bare = ["etcd", "create", "--host", "root@10.8.14.202", "--environment", "line"];
    for more in [&[][..], &["--dry-run"]] {
        let refused = site.run(lab, &[&bare[..], &keep, more].concat());
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(format!("{refused:?}").contains("a password that was kept for it"), "{refused:?}");
    }
    site.run(lab, &[&line[..], &keep].concat()).expect_ok();
    site.run(lab, &[&bare[..], &keep].concat()).expect_ok();
}
