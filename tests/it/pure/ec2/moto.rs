//! moto's EC2 on a free port of the loopback, and the program under test pointed at it.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests: a panic is how a test fails")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::lab::Output;

pub(crate) const REGION: &str = "eu-central-1";
/// The example of Amazon's own documentation: opens nothing.
pub(crate) const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
pub(crate) const KEY: &str = "ops";

/// A running moto; killed when dropped.
pub(crate) struct Moto {
    child: Child,
    pub(crate) url: String,
    pub(crate) image: String,
}

impl Moto {
    /// On this machine's loopback.
    pub(crate) fn start() -> Self {
        Self::from(Command::new(program()))
    }

    /// `command` is moto's program, however it is reached.
    pub(crate) fn from(mut command: Command) -> Self {
        command.args(["--host", "127.0.0.1", "--port", "0"]).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("moto starts");
        let mut lines = BufReader::new(child.stderr.take().expect("its output")).lines();
        let url = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.split_once("Running on ").map(|(_, url)| url.trim().to_owned()))
            .expect("moto listens");
        // What it says later must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, url, image: String::new() }
    }

    /// With the key pair and an image to use; `ask` sends a form to moto and gives its answer.
    pub(crate) fn furnished(mut self, ask: impl Fn(&str, &str) -> String) -> Self {
        ask(&self.url, &format!("Action=CreateKeyPair&KeyName={KEY}"));
        let images = ask(&self.url, "Action=DescribeImages");
        let (_, rest) = images.split_once("<imageId>").expect("an image");
        rest.split_once('<').expect("its end").0.clone_into(&mut self.image);
        self
    }

    pub(crate) fn ready() -> Self {
        Self::start().furnished(|url, form| ask(Command::new("curl"), url, form))
    }

    pub(crate) fn ask(&self, form: &str) -> String {
        ask(Command::new("curl"), &self.url, form)
    }

    /// The instances that are there, by id, as EC2's own answer has them.
    pub(crate) fn alive(&self) -> Vec<String> {
        let filter = "Filter.1.Name=instance-state-name&Filter.1.Value.1=running&Filter.1.Value.2=pending";
        let answer = self.ask(&format!("Action=DescribeInstances&{filter}"));
        answer.split("<instanceId>").skip(1).filter_map(|part| Some(part.split_once('<')?.0.to_owned())).collect()
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn program() -> PathBuf {
    let script = crate::checkout().join("scripts/moto");
    Output::of(&mut Command::new(script)).expect_ok().stdout.trim().into()
}

/// A form sent as a client of EC2 would; moto looks for the service's name in the signature and at nothing else of it.
pub(crate) fn ask(mut curl: Command, url: &str, form: &str) -> String {
    curl.arg("--fail");
    post(curl, url, &format!("{form}&Version=2016-11-15"))
}

/// The same for a form that is whole, and for answers that say no.
pub(crate) fn post(mut curl: Command, url: &str, form: &str) -> String {
    let signature = format!(
        "Authorization: AWS4-HMAC-SHA256 Credential=x/20260101/{REGION}/ec2/aws4_request, SignedHeaders=host, Signature=0"
    );
    curl.args(["--silent", "--show-error", "--header", &signature, "--data", form, url]);
    Output::of(&mut curl).expect_ok().stdout
}

/// The program with an account of its own at this address.
pub(crate) struct Account {
    folder: tempfile::TempDir,
    url: String,
}

impl Account {
    pub(crate) fn at(url: &str) -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), url: url.to_owned() }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Gives a command the account, and nothing of this machine's own.
    pub(crate) fn lend(&self, command: &mut Command) {
        for (name, _) in
            std::env::vars().filter(|(name, _)| name.starts_with("AWS_") || name.to_lowercase().ends_with("_proxy"))
        {
            command.env_remove(name);
        }
        command.env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE").env("AWS_SECRET_ACCESS_KEY", SECRET);
        command
            .env("AWS_REGION", REGION)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_ENDPOINT_URL_EC2", &self.url);
        command.env("HOME", self.folder()).env("SUNSHINE_STATE_DIR", self.folder().join("state"));
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sunshine-installer"));
        self.lend(&mut command);
        command.arg("ec2").args(arguments).arg("--log-dir").arg(self.folder().join("log")).stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        Output::of(&mut self.command(arguments))
    }

    /// `ec2 create` with this image and more.
    pub(crate) fn create(&self, image: &str, more: &[&str]) -> Output {
        self.run(&[&["create", "--image-id", image, "--key-name", KEY], more].concat())
    }

    /// `ec2 status --json`.
    pub(crate) fn status(&self) -> Vec<Value> {
        let output = self.run(&["status", "--json"]);
        serde_json::from_str(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
    }

    /// Everything that the program wrote.
    pub(crate) fn written(&self) -> String {
        let output = Output::of(Command::new("grep").args(["-rha", "", "."]).current_dir(self.folder()));
        output.expect_ok().stdout
    }
}
