//! The command line as its users meet it: exit codes, messages, help, what `ps` and the log show of a password.

#![allow(clippy::expect_used, reason = "helpers of tests: a panic is how a test fails")]

use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Output, Stdio};

use assert_cmd::cargo::cargo_bin;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The program, with a state folder and a log of its own.
fn program(dir: &tempfile::TempDir) -> Command {
    let mut command = Command::new(cargo_bin("sunshine-installer"));
    command.env("SUNSHINE_STATE_DIR", dir.path()).env("COLUMNS", "120").env_remove("SSH_AUTH_SOCK");
    command
}

fn run(line: &[&str]) -> Output {
    let dir = tempfile::tempdir().expect("a folder");
    let log = dir.path().join("log");
    let mut command = program(&dir);
    // Behind `--` stands another program's line.
    let place = line.iter().position(|w| *w == "--").unwrap_or(line.len());
    command.args(&line[..place]).arg("--log-dir").arg(log).args(&line[place..]);
    command.stdin(Stdio::null()).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Ends with this exit code, having said this on standard error, and never the password.
fn refused(line: &[&str], code: i32, said: &str) {
    let output = run(line);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{line:?}: {error}");
    assert!(error.contains(said), "{line:?}: {error}");
    assert!(!error.contains("geheim") && !text(&output.stdout).contains("geheim"), "{line:?}: {error}");
}

#[test]
fn wrong_lines_end_with_2_and_a_sentence() {
    const K: [&str; 2] = ["-K", "onekey_deploy_ctl"];
    let k = |rest: &[&str], said: &str| refused(&[&K[..], rest].concat(), 2, said);
    refused(&["--no-such-option"], 2, "--no-such-option");
    refused(&["no-such-command"], 2, "no-such-command");
    refused(&["etcd", "create"], 2, "--host");
    refused(&["etcd", "create", "--host", "root:geheim@10.8.14.200;reboot"], 2, "10.8.14.200***");
    refused(&["etcd", "create", "--host", "root:geheim@h", "root:other@h"], 2, "h is given twice");
    refused(&["etcd", "create", "--host", "root:geheim@h1,root:geheim@h2"], 2, "2 hosts joined by commas");
    refused(
        &["cluster", "create", "--master", "root:geheim@10.0.0.1", "--service-cidr", "10.0.0.0/11"],
        2,
        "the service network 10.0.0.0/11 must have a prefix of 12",
    );
    refused(&["hosts", "check", "$(id)"], 2, "$(id)");
    refused(&["hosts", "check", "root:geheim@$(id)"], 2, "root:***@***");
    refused(&["etcd", "create", "--host", "10.8.14.200:geheim"], 2, "10.8.14.200:***");
    refused(&["etcd", "create", "root:geheim@10.8.14.200"], 2, "root:***@10.8.14.200");
    refused(&["etcd", "create", "10.8.14.200:geheim"], 2, "10.8.14.200:***");
    refused(&["--forks", "root:geheim@h", "deploy"], 2, "root:***@h");
    refused(&["--repo-route=root:geheim@h", "deploy"], 2, "root:***@h");
    refused(&["root:geheim@h"], 2, "root:***@h");
    refused(&["registry", "push", "https://user:geheim@harbor"], 2, "https://***@harbor");
    refused(&["hosts", "exec", "h", "--timeout", "18446744073709551615", "--", "true"], 2, "--timeout");
    refused(&["cluster", "remove", "--node", "h", "--drain-timeout", "18446744073709551615"], 2, "--drain-timeout");
    refused(&["hosts", "check"], 2, "HOST");
    refused(&["hosts", "push", "10.0.0.1", "--file", "/nonexistent", "--to", "/x"], 2, "/nonexistent");
    refused(&["hosts", "push", "10.0.0.1", "--file", "/etc/passwd", "--to", "x"], 2, "absolute path");
    refused(&["cluster", "add"], 2, "--master");
    refused(&["--environment", "../x", "etcd", "create", "--host", "h"], 2, "an environment's name");
    refused(&["--repo-route", "pigeon", "deploy"], 2, "pigeon");
    refused(&["--forks", "0", "deploy"], 2, "--forks");
    refused(&["--ssh-key", "/nonexistent", "hosts", "check", "h"], 2, "/nonexistent: no such file");
    refused(&["--ssh-sudo-pw-file", "/nonexistent", "hosts", "check", "h"], 2, "--ssh-sudo-pw-file /nonexistent");
    refused(&["etcd", "create", "--host", "h", "--bundle", "/nonexistent"], 2, "/nonexistent");
    refused(&["bundle", "verify", "--ssh-key", "/k"], 2, "--ssh-key is not an option of `bundle verify`");
    refused(&["--ssh-user", "root", "bundle", "info"], 2, "--ssh-user is not an option of `bundle info`");
    refused(&["cluster", "status", "--dry-run"], 2, "--dry-run is not an option of `cluster status`");
    refused(&["deploy"], 2, "there is no conf.ini");
    k(&[], "there is no conf.ini");
    refused(&["-K", "onekey_deploy"], 2, "it is onekey_deploy_ctl");
    k(&["-create_etcd_cluster", "--host-list", "root:geheim@10.8.14.200;reboot"], "10.8.14.200***");
    k(&["-create_etcd_cluster", "--host-list", "root:geheim@h", "-no-such"], "-no-such: not an option of");
    k(&["-create_etcd_cluster", "--host-list", "root:geheim@h", "-f", "/no/such file's.rpm"], "/no/such file's.rpm");
    k(
        &["-create_etcd_cluster", "--host-list", "root:geheim@h", "-create_k8s_cluster", "--master-hosts", "root:x@h"],
        "h",
    );
}

#[test]
fn a_damaged_bundle_ends_with_3() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), vec![7; 4096]).expect("writing it");
    let path = file.path().to_str().expect("a plain name");
    refused(&["etcd", "create", "--host", "root:geheim@10.0.0.1", "--bundle", path], 3, "is damaged");
}

#[test]
fn a_dead_host_ends_with_1_and_is_named() {
    // A port that was just free: nothing listens there.
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its number").port();
    let host = format!("root:geheim@127.0.0.1:{port}");
    let id = format!("127.0.0.1:{port}");
    refused(&["hosts", "check", &host], 1, &format!("{id}: cannot connect"));
    refused(&["hosts", "exec", &host, "--", "true"], 1, &format!("{id}: cannot connect"));
    refused(&["etcd", "create", "--host", &host], 1, "nothing was changed");
    refused(&["-K", "onekey_deploy_ctl", "-create_etcd_cluster", "--host-list", &host], 1, "nothing was changed");
    let output = run(&["--json", "hosts", "check", &host]);
    let line: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
    assert_eq!((&line["host"], &line["unreachable"]), (&id.into(), &true.into()));
}

#[test]
fn json_errors_are_json_also_in_the_k_form() {
    for line in [
        &["--json", "hosts", "check", "a b"][..],
        &["-K", "onekey_deploy_ctl", "--json", "-create_etcd_cluster", "--host-list", "a b"],
        &["--json", "-K", "onekey_deploy_ctl", "-create_etcd_cluster", "--host-list", "a b"],
    ] {
        let output = run(line);
        let error: serde_json::Value = serde_json::from_slice(&output.stderr).expect("JSON on standard error");
        assert_eq!((output.status.code(), &error["event"]), (Some(2), &"error".into()), "{line:?}");
    }
}

#[test]
fn a_dry_run_of_exec_and_push_touches_nobody() {
    let output = run(&["hosts", "exec", "10.255.255.1", "--dry-run", "--", "reboot", "-f"]);
    assert_eq!(text(&output.stdout), "10.255.255.1: would run: reboot -f\n");
    let output = run(&["hosts", "push", "10.255.255.1", "--file", "/etc/hostname", "--to", "/x", "--dry-run"]);
    assert!(text(&output.stdout).starts_with("10.255.255.1: would put /etc/hostname ("));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn help_teaches() {
    for (name, line) in [
        ("help", &["--help"][..]),
        ("help_k", &["-K", "onekey_deploy_ctl", "--help"]),
        ("help_etcd_create", &["etcd", "create", "-h"]),
        ("help_cluster_create", &["cluster", "create", "-h"]),
        ("help_hosts_exec", &["hosts", "exec", "-h"]),
        ("help_ec2_create", &["ec2", "create", "-h"]),
        ("help_bundle_verify", &["bundle", "verify", "-h"]),
        ("help_cluster_apply", &["cluster", "apply", "-h"]),
        ("help_cluster_reset", &["cluster", "reset", "-h"]),
        ("help_cluster_status", &["cluster", "status", "-h"]),
        ("help_serve", &["serve", "-h"]),
    ] {
        let output = run(line);
        assert_eq!(output.status.code(), Some(0), "{line:?}");
        insta::assert_snapshot!(name, text(&output.stdout));
    }
}

#[test]
fn completions_are_made_for_every_shell_and_a_page_for_man() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run(&["completion", shell]);
        assert!(output.status.success() && text(&output.stdout).contains("sunshine-installer"), "{shell}");
    }
    let page = text(&run(&["man"]).stdout);
    assert!(page.contains(".TH sunshine-installer") && page.contains("ssh\\-sudo\\-pw"), "{page}");
    let page = text(&run(&["man", "etcd", "create"]).stdout);
    assert!(page.contains(".TH sunshine-installer-etcd-create") && page.contains("wipe\\-data"), "{page}");
    refused(&["man", "no-such-command"], 2, "there is no such command");
}

#[test]
fn completions_stand_a_reader_that_goes_away() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut child = program(&dir)
        .args(["completion", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert!(!text(&output.stderr).contains("panicked"), "{}", text(&output.stderr));
}

/// A host that takes connections and never says a word.
struct Mute(TcpListener);

impl Mute {
    fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").expect("a port"))
    }

    fn host(&self) -> String {
        format!("root:geheim€@127.0.0.1:{}", self.0.local_addr().expect("its address").port())
    }
}

/// The program at work on a host that never answers, waiting.
fn busy(dir: &tempfile::TempDir, line: &[&str]) -> Child {
    let mut command = program(dir);
    command.args(line).arg("--log-dir").arg(dir.path().join("log"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts")
}

fn ps(pid: u32) -> String {
    text(&Command::new("ps").args(["-ww", "-o", "args=", "-p", &pid.to_string()]).output().expect("ps runs").stdout)
}

#[test]
fn ps_shows_stars() {
    let mute = Mute::new();
    let host = mute.host();
    let sudo = ["--ssh-sudo-pw", "geheim-2"];
    for line in [
        &["etcd", "create", "--host", &host][..],
        &["hosts", "check", &host],
        &["-K", "onekey_deploy_ctl", "-create_etcd_cluster", "--host-list", &host],
    ] {
        let dir = tempfile::tempdir().expect("a folder");
        let mut child = busy(&dir, &[line, &sudo].concat());
        let (accepted, _) = mute.0.accept().expect("it connects");
        let shown = ps(child.id());
        let rest = std::fs::read(format!("/proc/{}/environ", child.id()));
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id())).expect("its limits");
        child.kill().expect("it is still there");
        child.wait().expect("it ends");
        drop(accepted);
        assert!(shown.contains("root:*********@127.0.0.1:") && shown.contains("--ssh-sudo-pw ********"), "{shown}");
        // Its memory is nobody's but root's, and goes into no core dump.
        let rest = rest.unwrap_or_else(|error| {
            assert!(error.kind() == ErrorKind::PermissionDenied && !nix::unistd::geteuid().is_root(), "{error}");
            Vec::new()
        });
        assert!(!shown.contains("geheim") && !text(&rest).contains("geheim"), "{shown}");
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap_or_default();
        assert!(core.split_whitespace().filter(|word| *word == "0").count() == 2, "{limits}");
    }
}

#[test]
fn a_closed_terminal_interrupts_as_the_other_signals_do() {
    let status = std::fs::read_to_string("/proc/self/status").expect("its status");
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap_or_default();
    if u64::from_str_radix(ignored.trim(), 16).expect("a mask") & 1 == 1 {
        eprintln!("SKIPPED: these tests were started to outlive their terminal, and so is what they start");
        return;
    }
    let mute = Mute::new();
    let dir = tempfile::tempdir().expect("a folder");
    let mut child = busy(&dir, &["etcd", "create", "--host", &mute.host()]);
    let accepted = mute.0.accept().expect("it connects");
    let mut said = BufReader::new(child.stderr.take().expect("its standard error"));
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
    kill(pid, Signal::SIGHUP).expect("it is there");
    let mut line = String::new();
    while !line.contains("interrupted") {
        line.clear();
        assert!(said.read_line(&mut line).expect("a line") > 0, "it ended without a word");
    }
    kill(pid, Signal::SIGTERM).expect("it is there");
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    drop(accepted);
}

#[test]
fn two_interrupts_end_at_once_with_130() {
    let mute = Mute::new();
    let dir = tempfile::tempdir().expect("a folder");
    let mut child = busy(&dir, &["etcd", "create", "--host", &mute.host()]);
    let accepted = mute.0.accept().expect("it connects");
    let mut said = BufReader::new(child.stderr.take().expect("its standard error"));
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
    kill(pid, Signal::SIGINT).expect("it is there");
    let mut line = String::new();
    while !line.contains("interrupted") {
        line.clear();
        assert!(said.read_line(&mut line).expect("a line") > 0, "it ended without a word");
    }
    kill(pid, Signal::SIGTERM).expect("it is there");
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    // At once: what becomes of the host was not waited for, and is not told.
    let mut rest = String::new();
    said.read_to_string(&mut rest).expect("the rest");
    child.stdout.take().expect("its output").read_to_string(&mut rest).expect("its output");
    assert!(!rest.contains("127.0.0.1"), "{rest}");
    drop(accepted);
}

#[test]
fn the_log_is_private_and_knows_no_password() {
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its number").port();
    let host = format!("root:geheim@127.0.0.1:{port}");
    let dir = tempfile::tempdir().expect("a folder");
    let child = busy(&dir, &["-v", "etcd", "create", "--host", &host, "--ssh-sudo-pw", "geheim-2"]);
    assert_eq!(child.wait_with_output().expect("it ends").status.code(), Some(1));
    let path = dir.path().join("log/onekey_deploy.log");
    let log = std::fs::read_to_string(&path).expect("the log");
    assert!(log.contains(&format!("127.0.0.1:{port}: cannot connect")), "{log}");
    assert_eq!(path.metadata().expect("its mode").permissions().mode() & 0o777, 0o600);
    let mut kept = String::new();
    for file in files(dir.path()) {
        let mut bytes = Vec::new();
        std::fs::File::open(&file).and_then(|mut f| f.read_to_end(&mut bytes)).expect("a file of the state folder");
        kept.push_str(&text(&bytes));
    }
    assert!(kept.contains("127.0.0.1") && !kept.contains("geheim"), "{kept}");
}

#[test]
fn a_support_bundle_has_log_and_journal_and_no_secret() {
    let dir = tempfile::tempdir().expect("a folder");
    let child = busy(&dir, &["etcd", "create", "--host", "root:geheim@127.0.0.1:1", "--environment", "e-1"]);
    assert_eq!(child.wait_with_output().expect("it ends").status.code(), Some(1));
    let key = dir.path().join("environments/e-1/pki/ca.key");
    std::fs::create_dir_all(key.parent().expect("its folder"))
        .and_then(|()| std::fs::write(&key, "geheim"))
        .expect("a key");
    let file = dir.path().join("s.tar.gz");
    let child = busy(&dir, &["support-bundle", "-o", file.to_str().expect("a plain name")]);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(file.metadata().expect("its mode").permissions().mode() & 0o777, 0o600);
    let mut unpacked = tar::Archive::new(flate2::read::GzDecoder::new(std::fs::File::open(&file).expect("the file")));
    let mut names = Vec::new();
    for entry in unpacked.entries().expect("an archive") {
        let mut entry = entry.expect("a member");
        names.push(entry.path().expect("its name").display().to_string());
        let mut content = String::new();
        entry.read_to_string(&mut content).expect("its content");
        assert!(!content.is_empty() && !content.contains("geheim"), "{names:?}: {content}");
    }
    assert_eq!(names, ["about.txt", "log/onekey_deploy.log", "environments/e-1/journal.jsonl"]);
}

#[test]
fn a_log_folder_that_cannot_be_made_is_said_once_on_standard_error() {
    let dir = tempfile::tempdir().expect("a folder");
    let output = program(&dir)
        .env("XDG_STATE_HOME", dir.path().join("state"))
        .args(["hosts", "check", "127.0.0.1:1", "--log-dir", "/proc/nowhere"])
        .output()
        .expect("the program starts");
    let error = text(&output.stderr);
    assert_eq!(error.matches("/proc/nowhere cannot be written").count(), 1, "{error}");
    assert!(dir.path().join("state/onekey_deploy/onekey_deploy.log").is_file(), "{error}");
}

fn files(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

#[test]
fn the_ini_files_may_lie_anywhere_and_errors_name_the_line() {
    let dir = tempfile::tempdir().expect("a folder");
    let conf = dir.path().join("Rechner öü.ini");
    let name = conf.to_str().expect("a plain name");
    std::fs::write(&conf, "\u{feff}[etcd-cluster]\r\n# a comment\r\n10.0.0.1;reboot:geheim\r\n").expect("writing it");
    for line in [&["deploy", "--conf", name][..], &["-K", "onekey_deploy_ctl", "--conf", name]] {
        refused(line, 2, &format!("{name}, line 3: 10.0.0.1;reboot:***"));
    }
    std::fs::write(&conf, "[etcd-cluster]\n10.0.0.1:a\n10.0.0.1:b\n").expect("writing it");
    refused(&["deploy", "--conf", name], 2, "10.0.0.1 is given twice");
    std::fs::write(&conf, "[etcd-cluster]\n# 10.0.0.1:a\n").expect("writing it");
    refused(&["deploy", "--conf", name], 2, "names no host");
}
