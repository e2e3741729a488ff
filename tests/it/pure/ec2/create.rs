//! Instances made, looked at, terminated; and the same line again, after whatever went before.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::front::{Front, Reply};
use super::moto::{Account, Moto, SECRET};
use crate::lab::Output;

#[test]
fn one_and_five_are_made_shown_and_terminated() {
    let moto = Moto::ready();
    let account = Account::at(&moto.url);
    let output = account.create(&moto.image, &[]).expect_ok();
    assert!(output.stdout.contains("1 EC2 instance runs and passes its checks"), "{}", output.stdout);
    let one = account.status();
    assert_eq!(one.len(), 1);
    assert!(one[0]["state"] == "running" && one[0]["checks_passed"] == true, "{one:?}");

    // The same line stands for the same instance; another one for others.
    let again = account.create(&moto.image, &[]).expect_ok();
    assert!(again.stdout.contains(one[0]["id"].as_str().unwrap()), "{}", again.stdout);
    assert_eq!(moto.alive().len(), 1);
    let line = ["--min-count", "5", "--root-disk", "40", "--tag", "team=night shift", "--instance-type", "m5.large"];
    let five = account.create(&moto.image, &line).expect_ok();
    assert!(five.stdout.contains("5 EC2 instances run and pass their checks"), "{}", five.stdout);
    assert!(five.stderr.contains("has 1 EC2 instance(s) of another request"), "{}", five.stderr);
    assert_eq!(account.status().len(), 6);
    as_asked(&moto);

    // Nobody else's instance is touched.
    moto.ask(&format!("Action=RunInstances&ImageId={}&MinCount=1&MaxCount=1", moto.image));
    assert_eq!(moto.alive().len(), 7);
    let refused = account.run(&["terminate"]);
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains("--yes"), "{}", refused.stderr);
    account.run(&["terminate", "--dry-run"]).expect_ok();
    assert_eq!(moto.alive().len(), 7);
    account.run(&["terminate", "--yes"]).expect_ok();
    assert_eq!(moto.alive().len(), 1);
    account.run(&["terminate", "--yes"]).expect_ok();
    let none = account.run(&["status"]).expect_ok();
    assert!(none.stdout.contains("has no EC2 instances"), "{}", none.stdout);

    // Wanted again, others are made.
    account.create(&moto.image, &[]).expect_ok();
    assert_ne!(account.status()[0]["id"], one[0]["id"]);
    assert!(!account.written().contains(SECRET));
}

/// What EC2 was asked for beside the number.
fn as_asked(moto: &Moto) {
    let all = moto.ask("Action=DescribeInstances");
    for said in ["<httpTokens>required</httpTokens>", "<instanceType>m5.large</instanceType>", "<keyName>ops</keyName>"]
    {
        assert!(all.contains(said), "{said}: {all}");
    }
    let volumes = moto.ask("Action=DescribeVolumes");
    assert_eq!(volumes.matches("<size>40</size>").count(), 5, "{volumes}");
    let tags = moto.ask("Action=DescribeTags&Filter.1.Name=resource-type&Filter.1.Value.1=instance");
    assert_eq!(tags.matches("<value>night shift</value>").count(), 5, "{tags}");
    assert_eq!(tags.matches("<key>sunshine-installer:environment</key>").count(), 6, "{tags}");
    assert_eq!(tags.matches("<key>Name</key>").count(), 6, "{tags}");
}

#[test]
fn a_dry_run_makes_nothing_and_keeps_nothing() {
    let moto = Moto::ready();
    let account = Account::at(&moto.url);
    let output = account.create(&moto.image, &["--min-count", "2", "--max-count", "3", "--dry-run"]).expect_ok();
    assert!(output.stdout.contains("make 2 to 3 EC2 instances of t3.medium"), "{}", output.stdout);
    assert!(moto.alive().is_empty());
    assert!(!account.folder().join("state/environments/default").exists());
}

#[test]
fn killed_while_ec2_makes_them_the_same_line_makes_no_second_set() {
    let moto = Moto::ready();
    // The instances are made, and the program never hears of it.
    let front =
        Front::of(&moto.url, |action, before, _| (action == "RunInstances" && before == 0).then_some(Reply::Swallowed));
    let account = Account::at(&front.url);
    let line = ["create", "--image-id", &moto.image, "--key-name", "ops", "--min-count", "2"];
    let mut child = account.command(&line).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while moto.alive().len() < 2 {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let made = moto.alive();
    let output = account.run(&line).expect_ok();
    assert!(output.stderr.contains("the previous run was interrupted"), "{}", output.stderr);
    assert_eq!(moto.alive(), made);
    assert_eq!(front.asked().iter().filter(|action| *action == "RunInstances").count(), 1);
}

#[test]
fn killed_at_every_step_there_is_only_ever_one_set() {
    let moto = Moto::ready();
    let account = Account::at(&moto.url);
    let line = ["create", "--image-id", &moto.image, "--key-name", "ops", "--min-count", "3", "--json"];
    for event in [
        "\"run_started\"",
        "\"planned\"",
        "\"/ec2.launch\"",
        "\"step_note\"",
        "\"/ec2.running\"",
        "\"/ec2.checks\"",
        "\"made\"",
    ] {
        let mut child = account.command(&line).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for said in lines.map_while(Result::ok) {
            if said.contains(event) {
                child.kill().unwrap();
                break;
            }
        }
        child.wait().unwrap();
    }
    account.run(&line).expect_ok();
    assert_eq!(moto.alive().len(), 3);
    assert_eq!(account.status().len(), 3);
}

#[test]
fn interrupted_while_it_waits_it_ends_with_130_and_goes_on_with_the_same_instance() {
    let moto = Moto::ready();
    let front = Front::of(&moto.url, |action, _, _| {
        let pending = |text: String| text.replace("<name>running</name>", "<name>pending</name>");
        (action == "DescribeInstances").then_some(Reply::Changed(pending))
    });
    let account = Account::at(&front.url);
    let line = ["create", "--image-id", &moto.image, "--key-name", "ops", "--json"];
    let mut child = account.command(&line).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    for said in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
        if said.contains("0 of 1 run") {
            kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
        }
    }
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let made = moto.alive();
    assert_eq!(made.len(), 1);
    Output::of(account.command(&line).env("AWS_ENDPOINT_URL_EC2", &moto.url)).expect_ok();
    assert_eq!(moto.alive(), made);
}

#[test]
fn what_ec2_takes_its_time_for_is_waited_for() {
    let moto = Moto::ready();
    let front = Front::of(&moto.url, |action, before, _| match action {
        // As EC2 does in the moment after: it does not list them yet, then they are pending, then unchecked.
        "DescribeInstances" if before == 1 || before == 2 => Some(Reply::Changed(|_| EMPTY.to_owned())),
        "DescribeInstances" if before < 5 => {
            Some(Reply::Changed(|text| text.replace("<name>running</name>", "<name>pending</name>")))
        }
        "DescribeInstanceStatus" if before < 2 => {
            Some(Reply::Changed(|text| text.replacen("<status>ok</status>", "<status>initializing</status>", 1)))
        }
        _ => None,
    });
    let account = Account::at(&front.url);
    let output = account.create(&moto.image, &["--min-count", "2", "--json"]).expect_ok();
    for said in ["0 of 2 run", "have not passed yet"] {
        assert!(output.stdout.contains(said), "{said}: {}", output.stdout);
    }
    assert_eq!(moto.alive().len(), 2);
}

const EMPTY: &str = "<DescribeInstancesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>r</requestId>\
                     <reservationSet/></DescribeInstancesResponse>";
