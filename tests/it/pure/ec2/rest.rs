//! Type 5 of the contract, against moto.

use std::process::Command;

use serde_json::{Value, json};

use super::moto::{Account, KEY, Moto, SECRET};
use crate::rest::setup::{Answer, Listener, curl, poll};

/// A listener with an account at this address.
fn listener(account: &Account) -> Listener {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sunshine-installer"));
    account.lend(&mut command);
    command.args(["serve", "--listen", "127.0.0.1:0", "--log-dir"]).arg(account.folder().join("log"));
    Listener::start(command)
}

fn post(listener: &Listener, environment: &str, params: &Value) -> Answer {
    let body = json!({"environment_type": 5, "environment_params": params}).to_string();
    curl(Command::new("curl"), &["-d", &body, &format!("{}/environments/{environment}", listener.url)])
}

fn get(listener: &Listener, path: &str) -> Answer {
    curl(Command::new("curl"), &[&format!("{}/environments/{path}", listener.url)])
}

#[test]
fn the_contract_s_example_answers_its_object_field_by_field() {
    let moto = Moto::ready();
    let account = Account::at(&moto.url);
    let listener = listener(&account);
    let params =
        json!({"ImageId": moto.image, "certificate_Name": KEY, "MinCount": 2, "MaxCount": 2, "node_type": "EC2"});
    let started = post(&listener, "prod", &params);
    assert_eq!(started.status, 200, "{}", started.text);
    let started = started.message();
    assert_eq!((&started["environment_progress"], &started["environment_err"]), (&json!(0.0), &json!(0)));

    let done = poll(|| get(&listener, "prod/5"));
    assert_eq!(done["environment_status"], "finished", "{done}");
    assert_eq!(done["environment_progress"], json!(100.0));
    assert_eq!((&done["environment_type"], &done["environment_result"]), (&json!(5), &json!(true)));
    assert_eq!(done["environment_params"]["certificate_Name"], KEY);
    let object = done["environment_desc"].as_object().expect("an object");
    assert_eq!(object.keys().cloned().collect::<Vec<_>>(), sorted(moto.alive()));
    for row in object.values() {
        let fields: Vec<&String> = row.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["private_dns_name", "private_ip_address", "public_dns_name", "public_ip_address"]);
        assert!(row.as_object().unwrap().values().all(|v| v.as_str().is_some_and(|v| !v.is_empty())), "{row}");
    }

    // Sent again it makes no second set; while they stand, the environment is not forgotten.
    assert_eq!(post(&listener, "prod", &params).status, 200);
    poll(|| get(&listener, "prod/5"));
    assert_eq!(moto.alive().len(), 2);
    let delete = ["-X", "DELETE", &format!("{}/environments/prod", listener.url)];
    let kept = curl(Command::new("curl"), &delete);
    assert!(kept.status == 409 && kept.text.contains("EC2 instances"), "{}", kept.text);
    // The command line sees what the listener made.
    account.run(&["terminate", "prod", "--yes"]).expect_ok();
    assert!(moto.alive().is_empty());
    assert_eq!(curl(Command::new("curl"), &delete).status, 200);
    assert!(!account.written().contains(SECRET));
}

#[test]
fn refusals_name_the_parameter_and_failures_have_number_4() {
    let moto = Moto::ready();
    let account = Account::at(&moto.url);
    let listener = listener(&account);
    for (params, word) in [
        (json!({"certificate_Name": KEY}), "ImageId"),
        (json!({"ImageId": moto.image}), "certificate_Name"),
        (json!({"ImageId": "centos", "certificate_Name": KEY}), "ImageId"),
        (json!({"ImageId": moto.image, "certificate_Name": ""}), "certificate_Name"),
        (json!({"ImageId": moto.image, "certificate_Name": KEY, "MinCount": 0}), "MinCount"),
        (json!({"ImageId": moto.image, "certificate_Name": KEY, "MinCount": 3, "MaxCount": 2}), "MaxCount"),
        (json!({"ImageId": moto.image, "certificate_Name": KEY, "MaxCount": "2"}), "MaxCount"),
        (json!({"ImageId": moto.image, "certificate_Name": KEY, "node_type": "GCE"}), "node_type"),
        (json!({"ImageId": moto.image, "certificate_Name": KEY, "SecurityGroupIds": ["default"]}), "SecurityGroupIds"),
        (json!({"ImageId": moto.image, "certificate_Name": KEY, "UserData": "x"}), "UserData"),
    ] {
        let answer = post(&listener, "prod", &params);
        let message = answer.message();
        assert_eq!((answer.status, &message["environment_err"]), (400, &json!(1)), "{message}");
        let desc = message["environment_desc"].as_str().unwrap();
        assert!(desc.starts_with("task_parms error") && desc.contains(word), "{word}: {desc}");
    }
    assert_eq!(get(&listener, "prod/5").status, 404);

    let unknown = json!({"ImageId": "ami-00000000", "certificate_Name": KEY});
    assert_eq!(post(&listener, "prod", &unknown).status, 200);
    let failed = poll(|| get(&listener, "prod/5"));
    assert_eq!(failed["environment_status"], "stop", "{failed}");
    assert_eq!((&failed["environment_err"], &failed["environment_result"]), (&json!(4), &json!(false)));
    let desc = failed["environment_desc"].as_str().unwrap();
    assert!(desc.contains("InvalidAMIID.NotFound"), "{desc}");
    assert!(moto.alive().is_empty());
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}
