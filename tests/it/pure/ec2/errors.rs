//! Everything that can go wrong, in the operator's words.

use super::front::{Front, Reply};
use super::moto::{Account, Moto, SECRET};
use crate::lab::Output;

/// Ended with this code, said this, and kept the secret to itself.
#[track_caller]
fn said(account: &Account, output: &Output, code: i32, words: &[&str]) {
    assert_eq!(output.code, Some(code), "{output:?}");
    for word in words {
        assert!(output.stderr.contains(word), "{word}: {}", output.stderr);
    }
    let shown = format!("{}{}{}", output.stdout, output.stderr, account.written());
    assert!(!shown.contains(SECRET), "{shown}");
}

#[test]
fn what_the_request_names_wrongly_is_told_at_once_with_nothing_made() {
    let moto = Moto::ready();
    let account = Account::at(&moto.url);
    let line = ["--key-name", "nobody", "--subnet-id", "subnet-12345678", "--security-group-id", "sg-12345678"];
    let output = account.run(&[&["create", "--image-id", "ami-00000000"], &line[..]].concat());
    let words = [
        "InvalidAMIID.NotFound",
        "InvalidKeyPair.NotFound",
        "InvalidSubnetID.NotFound",
        "InvalidGroup.NotFound",
        "one region only",
    ];
    said(&account, &output, 2, &words);
    assert!(moto.alive().is_empty());
    for (more, word) in [
        (&["--min-count", "0"][..], "MinCount"),
        (&["--min-count", "2", "--max-count", "1"], "MaxCount"),
        (&["--root-disk", "0"], "root disk"),
        (&["--tag", "aws:x=y"], "aws:x"),
        (&["--region", "Frankfurt am Main"], "Region"),
        (&["--endpoint-url", "ec2.example"], "endpoint"),
        (&["--join", "nowhere", "--as", "node"], "--ssh-key"),
    ] {
        said(&account, &account.create(&moto.image, more), 2, &[word]);
    }
    said(&account, &account.run(&["status", "nowhere"]), 2, &["there is no environment nowhere"]);
}

#[test]
fn without_credentials_or_region_it_says_how_to_give_them() {
    let account = Account::at("http://127.0.0.1:9");
    let without = |names: &[&str]| {
        let mut command = account.command(&["create", "--image-id", "ami-1", "--key-name", "ops"]);
        for name in names {
            command.env_remove(name);
        }
        Output::of(&mut command)
    };
    said(
        &account,
        &without(&["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]),
        2,
        &["no AWS credentials", "AWS_ACCESS_KEY_ID"],
    );
    said(&account, &without(&["AWS_REGION"]), 2, &["no AWS region", "--region"]);
    said(&account, &account.create("ami-1", &["--profile", "night"]), 2, &["night"]);
    // What nothing listens on.
    said(&account, &account.create("ami-1", &[]), 1, &["cannot be reached", "refused", "--endpoint-url"]);
}

#[test]
fn a_profile_of_the_aws_tools_is_found_with_its_region() {
    let moto = Moto::ready();
    let account = Account::at(&moto.url);
    std::fs::create_dir(account.folder().join(".aws")).unwrap();
    let write = |name: &str, text: &str| std::fs::write(account.folder().join(".aws").join(name), text).unwrap();
    write(
        "credentials",
        &format!("[night]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = {SECRET}\n"),
    );
    write("config", "[profile night]\nregion = eu-west-3\n");
    let mut command =
        account.command(&["create", "--image-id", &moto.image, "--key-name", "ops", "--profile", "night"]);
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"] {
        command.env_remove(name);
    }
    // The key pair was made in another region: that moto says so proves which one was asked.
    let output = Output::of(&mut command);
    assert_eq!(output.code, Some(2), "{output:?}");
    assert!(output.stderr.contains("InvalidKeyPair.NotFound"), "{}", output.stderr);
}

/// What EC2 answers to the call that makes instances, and what the operator reads.
#[test]
fn answers_as_aws_documents_them_become_sentences() {
    let moto = Moto::ready();
    let cases: [(&str, u16, i32, &[&str]); 8] = [
        ("InsufficientInstanceCapacity", 500, 1, &["no room for this instance type", "availability zone"]),
        ("VcpuLimitExceeded", 400, 1, &["a quota of the account is reached", "Service Quotas"]),
        ("InstanceLimitExceeded", 400, 1, &["a quota of the account is reached"]),
        ("InsufficientFreeAddressesInSubnet", 400, 1, &["the subnet is full"]),
        ("UnauthorizedOperation", 403, 2, &["ec2:RunInstances"]),
        ("AuthFailure", 401, 2, &["credentials are not accepted"]),
        ("OptInRequired", 401, 1, &["the account itself"]),
        ("InvalidParameterCombination", 400, 2, &["InvalidParameterCombination"]),
    ];
    for (code, status, exit, words) in cases {
        let front = Front::of(&moto.url, move |action, _, _| {
            action.starts_with("RunInstances").then_some(Reply::Error(status, code, "as documented"))
        });
        let account = Account::at(&front.url);
        let output = account.create(&moto.image, &[]);
        said(&account, &output, exit, &[words, &[code]].concat());
    }
    assert!(moto.alive().is_empty());
}

#[test]
fn throttling_is_waited_out_and_told_when_it_does_not_end() {
    let moto = Moto::ready();
    let throttled = || Some(Reply::Error(503, "RequestLimitExceeded", "Request limit exceeded."));
    let front = Front::of(
        &moto.url,
        move |action, before, _| if action == "RunInstances" && before < 2 { throttled() } else { None },
    );
    Account::at(&front.url).create(&moto.image, &[]).expect_ok();
    assert_eq!(front.asked().iter().filter(|action| *action == "RunInstances").count(), 3);
    assert_eq!(moto.alive().len(), 1);

    let front = Front::of(&moto.url, move |action, _, _| if action == "RunInstances" { throttled() } else { None });
    let account = Account::at(&front.url);
    said(&account, &account.create(&moto.image, &[]), 1, &["throttles", "no instance is made twice"]);
    assert_eq!(moto.alive().len(), 1);
}

#[test]
fn a_clock_that_aws_refuses_is_told_with_how_far_it_is_off() {
    let moto = Moto::ready();
    for (skew, words) in [(1260, "21 minutes behind"), (-10_800, "3 hours ahead of")] {
        for code in ["RequestExpired", "AuthFailure"] {
            let front = Front::of(&moto.url, move |_, _, _| Some(Reply::ErrorAt(skew, code, "Request has expired.")));
            let account = Account::at(&front.url);
            said(&account, &account.create(&moto.image, &[]), 1, &[words, "chronyc makestep"]);
        }
    }
}

#[test]
fn fewer_than_the_most_is_success_and_said() {
    let moto = Moto::ready();
    let account = Account::at(&moto.url);
    // moto makes as many as MinCount says.
    let output = account.create(&moto.image, &["--min-count", "2", "--max-count", "5"]).expect_ok();
    assert!(output.stdout.contains("2 of at most 5 EC2 instances run"), "{}", output.stdout);
    assert!(output.stderr.contains("EC2 made 2 of 5 instances, at least 2 were wanted"), "{}", output.stderr);
}

#[test]
fn an_instance_that_dies_while_it_starts_is_named_with_ec2_s_reason() {
    let moto = Moto::ready();
    let front = Front::of(&moto.url, |action, before, _| {
        let dead = |text: String| {
            let reason = "<stateReason><code>Client.VolumeLimitExceeded</code><message>Volume limit exceeded</message></stateReason>";
            text.replace("<name>running</name>", "<name>terminated</name>")
                .replace("<stateReason/>", "")
                .replace("<instanceType>", &format!("{reason}<instanceType>"))
        };
        (action == "DescribeInstances" && before > 0).then_some(Reply::Changed(dead))
    });
    let account = Account::at(&front.url);
    let output = account.create(&moto.image, &[]);
    said(
        &account,
        &output,
        1,
        &["0 of at least 1 instances are left", "is terminated: Volume limit exceeded", "ec2 terminate default"],
    );
}

#[test]
fn something_that_is_not_ec2_is_called_so_and_a_proxy_is_heeded() {
    let page = Front::of("", |_, _, _| Some(Reply::Page(200, "<html>It works!</html>")));
    let account = Account::at(&page.url);
    said(&account, &account.create("ami-1", &[]), 1, &["what answered is not EC2"]);

    // The name exists nowhere: only the proxy can have answered.
    let moto = Moto::ready();
    let proxy = Front::of(&moto.url, |_, _, _| None);
    let account = Account::at("http://ec2.invalid");
    let mut command = account.command(&["create", "--image-id", &moto.image, "--key-name", "ops"]);
    Output::of(command.env("HTTP_PROXY", &proxy.url)).expect_ok();
    assert_eq!(moto.alive().len(), 1);
}
