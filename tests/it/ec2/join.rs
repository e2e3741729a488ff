//! `ec2 create --join`: an instance becomes a node. moto gives it an address at which the lab has a real host.

#![allow(clippy::expect_used, reason = "a helper of tests: a panic is how a test fails")]

use std::process::Command;

use crate::cluster::{GROUPS, HOSTS, whole};
use crate::lab::{Lab, Output};
use crate::pure::ec2::moto::{Account, KEY, Moto, ask, program};
use crate::site::Site;

/// The id of what an answer says was made.
fn made<'a>(answer: &'a str, tag: &str) -> &'a str {
    answer.split_once(&format!("<{tag}>")).and_then(|(_, rest)| rest.split_once('<')).expect("an id").0
}

#[test]
fn an_instance_joins_the_cluster_and_the_same_line_changes_nothing() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(5);
    let moto = Moto::from(lab.run(program())).furnished(|url, form| ask(lab.run("curl"), url, form));
    let ec2 = |form: &str| ask(lab.run("curl"), &moto.url, form);
    // Of a subnet EC2 keeps the first addresses for itself: the first free one is 10.8.14.204, the lab's fifth host.
    let network = ec2("Action=CreateVpc&CidrBlock=10.8.14.0/24");
    let subnet = ec2(&format!("Action=CreateSubnet&CidrBlock=10.8.14.200/29&VpcId={}", made(&network, "vpcId")));
    let subnet = made(&subnet, "subnetId");

    let site = Site::with(&GROUPS);
    let line = ["-K", "onekey_deploy_ctl", "-create_etcd_cluster", "--host-list", HOSTS[0], "-create_k8s_cluster"];
    let account = Account::at(&moto.url);
    let run = |arguments: &[&str]| {
        let mut command: Command = site.command(&lab, arguments);
        account.lend(&mut command);
        Output::of(command.env("SUNSHINE_STATE_DIR", site.path("state")))
    };
    let key = lab.host(4).login.key.clone().expect("maintuser has a key");
    let mut join = vec!["--environment", "more", "ec2", "create", "--image-id", &moto.image, "--key-name", KEY];
    join.extend(["--subnet-id", subnet, "--join", "default", "--as", "node", "--ssh-user", "maintuser"]);
    join.extend(["--ssh-key", key.to_str().expect("its path")]);

    // What would refuse the second half is found before the first costs money.
    let early = run(&join);
    assert_eq!(early.code, Some(2), "{}", early.stderr);
    assert!(early.stderr.contains("default"), "{}", early.stderr);
    site.run(&lab, &[&line[..], &["--master-host-list", HOSTS[0]]].concat()).expect_ok();

    let output = run(&join).expect_ok();
    assert!(output.stderr.contains("SSH answers on 10.8.14.204"), "{}", output.stderr);
    let status = whole(&site, &lab, 2);
    assert_eq!(status["nodes"]["host4"]["status"], "Ready", "{status}");
    let again = run(&join).expect_ok();
    assert!(again.stdout.contains("10.8.14.204"), "{}", again.stdout);
    assert_eq!(ec2("Action=DescribeInstances").matches("<instanceId>").count(), 1);
}
