//! Real hosts for tests: a thin driver of `tests/lab/lab`. What the lab is, and what its faults do, is in docs/lab.md.
//!
//! A [`Lab`] is its own network and its own hosts, under a name of its own, so tests run concurrently. Dropping it
//! removes everything; a lab whose test was killed is found by `tests/lab/lab down --stale`, as it names its owner.

#![allow(dead_code, reason = "each test file uses the part it needs")]
#![allow(clippy::expect_used, clippy::panic, reason = "a helper of tests: a panic is how a test fails")]
#![allow(clippy::print_stderr, reason = "a skipped test must be loud; how its hosts were chosen is wanted")]

mod host;

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rand::RngExt as _;
use serde::Deserialize;

pub(crate) use host::{Host, Login, Output};

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// The lab's command.
fn script() -> PathBuf {
    crate::checkout().join("tests/lab/lab")
}

/// Runs a subcommand to its end.
fn lab(arguments: &[&str]) -> Output {
    Output::of(Command::new(script()).args(arguments))
}

/// Whether what a test needs is there; the error says in one sentence what is missing.
///
/// Fails the test when it is not there, unless `SUNSHINE_NO_LAB=1` allows to skip it.
#[track_caller]
pub(crate) fn present(needed: Result<(), String>) -> bool {
    let Err(reason) = needed else { return true };
    let allowed = std::env::var("SUNSHINE_NO_LAB").is_ok_and(|value| value == "1");
    assert!(allowed, "no lab: {reason}; SUNSHINE_NO_LAB=1 skips the tests that need it");
    eprintln!("SKIPPED {}: {reason}", std::thread::current().name().unwrap_or("a lab test"));
    false
}

/// A set of hosts, removed when dropped.
#[derive(Debug)]
pub(crate) struct Lab {
    name: String,
    hosts: Vec<Host>,
}

/// What a lab is to be like before it is booted.
#[derive(Debug, Clone)]
pub(crate) struct Builder {
    name: String,
    number: u32,
    hosts: usize,
    /// What logins find, in the words of `lab up --logins`; `None`: chosen at random.
    logins: Option<String>,
    arguments: Vec<String>,
}

/// A packet that left for an address outside the lab.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
pub(crate) struct Packet {
    /// The host's name, or `control`.
    pub(crate) host: String,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) protocol: String,
    pub(crate) port: String,
    pub(crate) packets: u64,
}

#[derive(Deserialize)]
struct Status {
    name: String,
    hosts: Vec<Login>,
}

impl Lab {
    /// Whether hosts can be booted here; the error says in one sentence what is missing.
    pub(crate) fn available() -> Result<(), String> {
        let answer = lab(&["check"]);
        if answer.ok() { Ok(()) } else { Err(answer.stderr.trim().trim_start_matches("lab: ").to_owned()) }
    }

    /// For the first line of a lab test: `if !Lab::here() { return }`. Without a lab the test fails, as a test that was
    /// not made proves nothing; with `SUNSHINE_NO_LAB=1` it says loudly that it was skipped.
    pub(crate) fn here() -> bool {
        present(Self::available())
    }

    /// Boots `hosts` hosts, each with root's password and maintuser's key, and any login shell and start files.
    pub(crate) fn up(hosts: usize) -> Self {
        Self::builder().hosts(hosts).up()
    }

    pub(crate) fn builder() -> Builder {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("it-{}-{number}", std::process::id());
        Builder { name, number, hosts: 1, logins: None, arguments: Vec::new() }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn host(&self, index: usize) -> &Host {
        &self.hosts[index]
    }

    pub(crate) fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The address of the control host, on which [`Lab::run`] runs.
    pub(crate) fn control(&self) -> &'static str {
        "10.8.14.1"
    }

    /// Boots one more host.
    pub(crate) fn add(&mut self) -> &Host {
        lab(&["add", "--name", &self.name]).expect_ok();
        self.hosts = read_hosts(&self.name);
        &self.hosts[self.hosts.len() - 1]
    }

    /// A command on the control host: the machine's own files, the lab's network.
    pub(crate) fn run(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/lab-{}", self.name)).arg("--").arg(program);
        command
    }

    /// Builds the groups of rpms when they are missing, and returns their files (images too).
    pub(crate) fn rpms(groups: &[&str]) -> Vec<PathBuf> {
        let arguments: Vec<&str> = ["rpms"].iter().chain(groups).copied().collect();
        lab(&arguments).expect_ok().stdout.lines().map(PathBuf::from).collect()
    }

    /// What left a host, or the control host, for anywhere outside the lab. `inside` names networks that count as the
    /// lab's own: pods and services.
    pub(crate) fn egress(&self, inside: &[&str]) -> Vec<Packet> {
        let mut arguments = vec!["egress", "--json", "--name", &self.name];
        for network in inside {
            arguments.extend(["--inside", network]);
        }
        let answer = lab(&arguments);
        serde_json::from_str(&answer.stdout).unwrap_or_else(|error| panic!("lab egress: {error}: {}", answer.stderr))
    }

    /// The test that nothing called out, with every packet that did.
    pub(crate) fn assert_no_egress(&self, inside: &[&str]) {
        let packets = self.egress(inside);
        assert!(packets.is_empty(), "packets left the lab: {packets:#?}");
    }
}

impl Builder {
    pub(crate) fn hosts(mut self, count: usize) -> Self {
        self.hosts = count;
        self
    }

    /// Host 0: root by password; host 1: maintuser by key, on port 2222; host 2: maintuser by password, and sudo asks.
    pub(crate) fn distinct(mut self) -> Self {
        self.arguments.push("--distinct".into());
        self
    }

    /// The port of every host's sshd.
    pub(crate) fn port(mut self, port: u16) -> Self {
        self.arguments.extend(["--port".into(), port.to_string()]);
        self
    }

    /// The size of each host's disk, such as `4G`.
    pub(crate) fn disk(mut self, size: &str) -> Self {
        self.arguments.extend(["--disk".into(), size.into()]);
        self
    }

    /// Each host has a second interface, in 10.8.15.0/24 and fd10:8:15::/64, and its default route goes by that.
    pub(crate) fn second_interface(mut self) -> Self {
        self.arguments.push("--second-interface".into());
        self
    }

    /// What logins find, host by host in turn: `SHELL[+noisy][+proxies]`, joined by commas. Without this, each host has a kind
    /// chosen at random.
    pub(crate) fn logins(mut self, kinds: &str) -> Self {
        self.logins = Some(kinds.to_owned());
        self
    }

    /// A name of the caller's choice, for labs that outlive the test.
    pub(crate) fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    pub(crate) fn up(self) -> Lab {
        let thread = std::thread::current();
        let test = thread.name().unwrap_or_default();
        assert!(!test.starts_with("pure::"), "{test} boots hosts: its place is outside of tests/it/pure");
        let (count, owner) = (self.hosts.to_string(), std::process::id().to_string());
        let logins = self.logins.unwrap_or_else(|| any_logins(self.number, self.hosts));
        let mut arguments = vec!["up", &count, "--name", &self.name, "--owner", &owner, "--logins", &logins];
        arguments.extend(self.arguments.iter().map(String::as_str));
        lab(&arguments).expect_ok();
        Lab { hosts: read_hosts(&self.name), name: self.name }
    }
}

/// A kind of login for each host, and said, for the reader of a failure: every shell as often, with start files that print and
/// with proxies that do not answer each on every other host.
fn any_logins(number: u32, hosts: usize) -> String {
    let mut chance = crate::chance::seeded_apart(number);
    let mut kind = || {
        let mut kind = ["bash", "dash", "tcsh", "fish"][chance.random_range(0..4)].to_owned();
        for word in ["+noisy", "+proxies"] {
            if chance.random() {
                kind.push_str(word);
            }
        }
        kind
    };
    let kinds: Vec<String> = (0..hosts).map(|_| kind()).collect();
    let logins = kinds.join(",");
    eprintln!("logins of the hosts: {logins}");
    logins
}

fn read_hosts(name: &str) -> Vec<Host> {
    let text = lab(&["status", "--json", "--name", name]).expect_ok().stdout;
    let labs: Vec<Status> = serde_json::from_str(&text).expect("lab status --json");
    let found = labs.into_iter().find(|status| status.name == name).expect("the lab that was just booted");
    found.hosts.into_iter().map(|login| Host { lab: name.to_owned(), login }).collect()
}

impl Drop for Lab {
    fn drop(&mut self) {
        let answer = lab(&["down", "--name", &self.name]);
        // A panic here would hide the test's own.
        if !answer.ok() {
            eprintln!("lab {} was not removed: {}", self.name, answer.stderr);
        }
    }
}
