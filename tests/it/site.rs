//! An air-gapped site as an operator has it: a folder with one bundle file, on a lab's control host.

#![allow(clippy::expect_used, clippy::panic, reason = "a helper of tests: a panic is how a test fails")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::lab::{Host, Lab, Output};
use crate::packed;

/// A folder with a bundle in it, and the state and log of its runs.
pub(crate) struct Site {
    folder: tempfile::TempDir,
}

impl Site {
    /// A bundle of the product under test and these groups of the lab's rpms and images.
    pub(crate) fn with(groups: &[&str]) -> Self {
        let site = Self { folder: tempfile::tempdir().expect("a folder for the site") };
        packed::place(groups, &site.bundle());
        site
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn bundle(&self) -> PathBuf {
        self.path("sunshine-installer.bin")
    }

    /// A network manifest, put into the bundle by the bundle itself.
    pub(crate) fn add_manifest(&self, lab: &Lab, name: &str, text: &str) {
        std::fs::write(self.path("manifest.yaml"), text).expect("a manifest");
        let manifest = format!("{name}={}", self.path("manifest.yaml").display());
        self.repack(lab, &["--manifest", &manifest]);
    }

    /// The bundle changed by itself.
    pub(crate) fn repack(&self, lab: &Lab, changes: &[&str]) {
        let new = self.path("new.bin");
        let output = new.to_string_lossy();
        self.run(lab, &[&["bundle", "repack", "-o", &output], changes].concat()).expect_ok();
        std::fs::rename(&new, self.bundle()).expect("the new bundle in place");
    }

    /// The product on the lab's control host.
    pub(crate) fn command(&self, lab: &Lab, arguments: &[&str]) -> Command {
        let mut command = lab.run(self.bundle());
        command.args(arguments).arg("--log-dir").arg(self.path("log"));
        command.env("SUNSHINE_STATE_DIR", self.path("state")).current_dir(self.folder.path());
        command
    }

    pub(crate) fn run(&self, lab: &Lab, arguments: &[&str]) -> Output {
        Output::of(&mut self.command(lab, arguments))
    }

    /// Runs with `--json` and calls `seen` for every event; it answers false to have the run killed with -9.
    pub(crate) fn watch(&self, lab: &Lab, arguments: &[&str], mut seen: impl FnMut(&Value) -> bool) -> Option<i32> {
        let mut command = self.command(lab, arguments);
        let mut child =
            command.arg("--json").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the product starts");
        let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        for line in lines.map_while(Result::ok) {
            let event: Value = serde_json::from_str(&line).expect("an event a line");
            if !seen(&event) {
                child.kill().expect("killing it");
            }
        }
        child.wait().expect("its end").code()
    }

    /// The line, run again, changes nothing.
    #[track_caller]
    pub(crate) fn changes_nothing(&self, lab: &Lab, arguments: &[&str]) {
        let code = self.watch(lab, arguments, |event| {
            assert_ne!(event["outcome"]["result"], "changed", "{event}");
            true
        });
        assert_eq!(code, Some(0));
    }

    /// Everything the product wrote on the control host, file by file.
    pub(crate) fn written(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        for folder in ["state", "log"] {
            collect(&self.path(folder), &mut files);
        }
        files
    }
}

fn collect(folder: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push((path.clone(), std::fs::read(&path).expect("a file of ours")));
        }
    }
}

/// The hosts of a closing event, as host and result.
pub(crate) fn results(event: &Value) -> Vec<(String, String)> {
    let text = |host: &Value, key: &str| host[key].as_str().unwrap_or_default().to_owned();
    event["hosts"].as_array().into_iter().flatten().map(|h| (text(h, "host"), text(h, "result"))).collect()
}

/// A host as it is once its boot has come to rest: before that, units of its own still write files.
pub(crate) fn at_rest(host: &Host) -> String {
    host.exec("timeout 60 systemctl is-system-running --wait");
    host.snapshot()
}

/// Fails with the lines of the snapshot that differ, when any do.
#[track_caller]
pub(crate) fn assert_unchanged(host: &Host, before: &str) {
    assert_unchanged_but(host, before, |_| false);
}

/// The same without the lines that `may_change`.
#[track_caller]
pub(crate) fn assert_unchanged_but(host: &Host, before: &str, may_change: impl Fn(&str) -> bool) {
    let after = host.snapshot();
    let lines = |text| -> BTreeSet<_> { str::lines(text).filter(|line| !may_change(line)).collect() };
    let (old, new): (BTreeSet<&str>, BTreeSet<&str>) = (lines(before), lines(&after));
    let gone = old.difference(&new).map(|l| format!("- {l}"));
    let differing: Vec<String> = gone.chain(new.difference(&old).map(|l| format!("+ {l}"))).collect();
    assert!(differing.is_empty(), "{} was changed: {differing:#?}", host.name());
}
