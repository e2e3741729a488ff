//! A listener under test, and curl to ask it.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests: a panic is how a test fails")]
#![allow(dead_code, reason = "each test file uses the part it needs")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::lab::{Lab, Output};
use crate::site::Site;

/// A running `serve`; killed when dropped.
pub(crate) struct Listener {
    child: Child,
    pub(crate) url: String,
}

impl Listener {
    /// Starts a command that ends in `serve …` and waits for the line that says where it listens.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the listener's program starts");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let line = lines.next().and_then(Result::ok).unwrap_or_else(|| panic!("it listens: {:?}", child.wait()));
        let url = line.strip_prefix("listening on ").unwrap_or_else(|| panic!("{line}")).to_owned();
        Self { child, url }
    }

    /// The bundle of a site, on a lab's control host.
    pub(crate) fn at(site: &Site, lab: &Lab) -> Self {
        Self::with(site, lab, &[])
    }

    /// The same with more options.
    pub(crate) fn with(site: &Site, lab: &Lab, options: &[&str]) -> Self {
        Self::start(site.command(lab, &[&["serve", "--listen", "127.0.0.1:0"], options].concat()))
    }

    /// The bare program, without a lab: for everything that needs no host.
    pub(crate) fn bare(state: &std::path::Path, arguments: &[&str]) -> Self {
        Self::start(bare(state, &[&["--listen", "127.0.0.1:0"], arguments].concat()))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("killing it");
        self.child.wait().expect("its end");
    }

    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.child.wait().expect("its end").code()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `serve` of the program under test with a state folder of its own.
pub(crate) fn bare(state: &std::path::Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sunshine-installer"));
    command.arg("serve").args(arguments).arg("--log-dir").arg(state.join("log"));
    command.env("SUNSHINE_STATE_DIR", state);
    command
}

/// What curl got.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) text: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    /// The answer as a message of the contract, every field of the right type.
    #[track_caller]
    pub(crate) fn message(&self) -> Value {
        let message = self.json();
        assert!(message["environment_type"].is_u64(), "{message}");
        assert!(message["environment_params"].is_object(), "{message}");
        assert!(message["environment_progress"].is_f64(), "{message}");
        let status = message["environment_status"].as_str().unwrap_or_default();
        assert!(["running", "finished", "stop"].contains(&status), "{message}");
        assert!(message["environment_result"].is_boolean(), "{message}");
        assert!(message["environment_desc"].is_string() || message["environment_desc"].is_object(), "{message}");
        assert_eq!(message["environment_time"].as_str().map(str::len), Some(19), "{message}");
        assert!(message["environment_err"].is_u64(), "{message}");
        message
    }
}

/// Runs curl (`program` is how it is reached: a lab's network or this machine's) with these arguments.
pub(crate) fn curl(program: Command, arguments: &[&str]) -> Answer {
    try_curl(program, arguments).unwrap_or_else(|output| panic!("{output:?}"))
}

/// The same where there may be nobody who answers: then curl's own end.
pub(crate) fn try_curl(mut program: Command, arguments: &[&str]) -> Result<Answer, Output> {
    program.args(["--silent", "--show-error", "--max-time", "60", "--path-as-is", "--write-out", "\n%{http_code}"]);
    let output = Output::of(program.args(arguments));
    if !output.ok() {
        return Err(output);
    }
    let (text, status) = output.stdout.rsplit_once('\n').unwrap_or_else(|| panic!("{output:?}"));
    let status = status.parse().unwrap_or_else(|_| panic!("{output:?}"));
    Ok(Answer { status, text: text.to_owned() })
}

/// Only what hangs takes so long.
pub(crate) const HANGS: Duration = Duration::from_secs(600);

/// Polls a task's progress until it has ended; it never falls.
pub(crate) fn poll(ask: impl Fn() -> Answer) -> Value {
    let end = Instant::now() + HANGS;
    let mut progress = 0.0;
    loop {
        let answer = ask();
        assert_eq!(answer.status, 200, "{}", answer.text);
        let message = answer.message();
        let now = message["environment_progress"].as_f64().expect("a number");
        assert!(now >= progress && now <= 100.0, "{progress} then {message}");
        assert!(now < 100.0 || message["environment_status"] == "finished", "{message}");
        progress = now;
        if message["environment_status"] != "running" {
            return message;
        }
        assert!(Instant::now() < end, "still running: {message}");
        std::thread::sleep(Duration::from_millis(250));
    }
}

/// A certificate for 127.0.0.1 and its key, as files of this folder.
pub(crate) fn certificate(folder: &std::path::Path) -> (String, String) {
    let file = |name: &str| folder.join(name).display().to_string();
    let (cert, key) = (file("cert.pem"), file("key.pem"));
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]);
    openssl.args(["-subj", "/CN=listener", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", &key, "-out", &cert]);
    Output::of(&mut openssl).expect_ok();
    (cert, key)
}
