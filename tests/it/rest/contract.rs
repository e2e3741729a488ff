//! The contract's calls against real hosts.

use std::time::Duration;

use super::setup::{Answer, Listener, curl, poll};
use crate::lab::Lab;
use crate::site::Site;

const LONG: Duration = Duration::from_secs(400);

fn ask(lab: &Lab, url: &str, arguments: &[&str]) -> Answer {
    curl(lab.run("curl"), &[arguments, &[url]].concat())
}

#[test]
fn a_cluster_is_created_asked_and_listed_and_the_command_line_sees_the_same() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(2);
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

    let message = poll(|| ask(&lab, &format!("{here}/1"), &[]), LONG);
    assert_eq!(message["environment_status"], "finished", "{message}");
    assert_eq!(message["environment_progress"], 100.0);
    assert_eq!(lab.host(0).sh("kubectl get nodes --no-headers").matches(" Ready ").count(), 2);

    let list = ask(&lab, &format!("{}/environments", listener.url), &[]).json();
    assert_eq!(list["environments"][0]["id"], "prod");
    let task = &ask(&lab, &here, &[]).json()["tasks"][0];
    assert_eq!(task["hosts"][0]["state"], "ok", "{task}");
    assert_eq!(task["hosts"][1]["progress"], 100.0, "{task}");

    // What the command line does is seen here, and its password is nowhere.
    let run = site.run(&lab, &["--environment", "line", "etcd", "create", "--host", "root:111111@10.8.14.201"]);
    let line = ask(&lab, &format!("{}/environments/line/1", listener.url), &[]).message();
    let expected = if run.ok() { "finished" } else { "stop" };
    assert_eq!(line["environment_status"], expected, "{line}");
    assert!(site.written().iter().all(|(_, bytes)| !bytes.windows(7).any(|w| w == b":111111")));
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
    let message = poll(|| ask(&lab, &format!("{here}/1"), &[]), LONG);
    assert_eq!(message["environment_status"], "stop");
    assert_eq!(message["environment_err"], 1);
    assert!(message["environment_desc"].as_str().is_some_and(|d| d.contains("10.8.14.200")), "{message}");
    assert!(!message.to_string().contains("wrong-one"));
    // Nothing was made: it may be forgotten.
    assert_eq!(ask(&lab, &here, &["-X", "DELETE"]).status, 200);
    assert_eq!(ask(&lab, &here, &[]).status, 404);
}
