//! dnf, asked for packages and all that they require: `resolve.py` in the interpreter that this machine's dnf runs in.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::packages::Wanted;
use super::problem::Problem;

const PROGRAM: &str = include_str!("resolve.py");

/// What dnf is asked.
#[derive(Debug, Serialize)]
pub(super) struct Request<'a> {
    /// All that dnf keeps.
    pub(super) folder: Utf8PathBuf,
    /// The folder of repository files.
    pub(super) repos: Utf8PathBuf,
    /// `$releasever` and the like.
    pub(super) variables: BTreeMap<&'static str, &'a str>,
    pub(super) platform: Option<&'a str>,
    pub(super) proxy: Option<&'a str>,
    pub(super) packages: &'a [Wanted],
}

/// A package that dnf chose, which is here now.
#[derive(Debug, Deserialize)]
pub(super) struct Chosen {
    pub(super) nevra: String,
    pub(super) url: String,
    pub(super) path: Utf8PathBuf,
}

/// What dnf reports meanwhile.
#[derive(Debug, Deserialize)]
#[serde(tag = "step", rename_all = "lowercase")]
pub(super) enum Event {
    /// No repository has a package that the cluster can do without.
    Absent {
        name: String,
    },
    /// A repository whose file switches the check of signatures off.
    Unchecked {
        repo: String,
    },
    /// So much is to be downloaded.
    Resolved {
        count: usize,
        bytes: u64,
    },
    /// So much is here.
    Bytes {
        done: u64,
    },
    Done {
        packages: Vec<Chosen>,
    },
    Failed {
        kind: String,
        text: String,
        repos: Option<String>,
    },
}

/// dnf on this machine.
#[derive(Debug)]
pub(super) struct Dnf {
    interpreter: PathBuf,
}

impl Dnf {
    /// Finds it, and the interpreter that its modules are for: RHEL 8 has one of its own for dnf.
    pub(super) fn find() -> Result<Self, Problem> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let dnf = std::env::split_paths(&path).map(|folder| folder.join("dnf")).find(|file| file.is_file());
        let dnf =
            dnf.ok_or_else(|| Problem::machine("dnf, which resolves the packages, is not on this machine", INSTALL))?;
        let mut first = Vec::new();
        // A dnf that is no script (dnf 5) has its Python modules, if at all, in the system's Python.
        let read = File::open(&dnf).and_then(|file| BufReader::new(file).read_until(b'\n', &mut first));
        let first = String::from_utf8_lossy(if read.is_ok() { &first } else { &[] }).into_owned();
        let named = first.strip_prefix("#!").and_then(|line| line.split_whitespace().next());
        let interpreter = named.filter(|program| program.contains("python")).unwrap_or("python3");
        Ok(Self { interpreter: interpreter.into() })
    }

    /// Resolves and downloads. What dnf prints goes to the log.
    pub(super) fn resolve(
        &self,
        request: &Request<'_>,
        log: &Utf8Path,
        tell: &mut dyn FnMut(&Event),
    ) -> Result<Vec<Chosen>, Problem> {
        let broken = |e: std::io::Error| Problem::machine(format!("dnf's interpreter does not run: {e}"), INSTALL);
        let mut child = self.start(log).map_err(broken)?;
        let answer = ask(&mut child, request, tell);
        // Its standard input, which ends here, ends it too.
        drop(child.stdin.take());
        let status = child.wait().map_err(broken)?;
        match answer {
            Ok(Some(Event::Done { packages })) => Ok(packages),
            Ok(Some(Event::Failed { kind, text, repos })) => Err(failed(&kind, &text, repos.as_deref(), log)),
            Ok(_) => {
                Err(Problem::machine(format!("dnf ended without an answer ({status}){}", last_line(log)), see(log)))
            }
            Err(e) => Err(Problem::machine(format!("dnf's answer cannot be read: {e}"), see(log))),
        }
    }

    fn start(&self, log: &Utf8Path) -> std::io::Result<Child> {
        Command::new(&self.interpreter)
            .args(["-I", "-B", "-c", PROGRAM])
            .env("LC_ALL", "C.UTF-8")
            // Debian's rpm keeps its database in the home folder, here below dnf's root.
            .env("HOME", "/root")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(log)?)
            .spawn()
    }
}

/// Sends the request and reads until the answer; none when the program ends without one.
fn ask(child: &mut Child, request: &Request<'_>, tell: &mut dyn FnMut(&Event)) -> std::io::Result<Option<Event>> {
    let (Some(stdin), Some(stdout)) = (child.stdin.as_mut(), child.stdout.take()) else {
        return Ok(None);
    };
    let line = serde_json::to_string(request)?;
    writeln!(stdin, "{line}")?;
    for line in BufReader::new(stdout).lines() {
        match serde_json::from_str(&line?)? {
            answer @ (Event::Done { .. } | Event::Failed { .. }) => return Ok(Some(answer)),
            event => tell(&event),
        }
    }
    Ok(None)
}

const INSTALL: &str = "install dnf 4 and its Python module: `apt-get install dnf` on Debian, `dnf install python3-dnf` on RHEL and its relatives";

fn failed(kind: &str, text: &str, repos: Option<&str>, log: &Utf8Path) -> Problem {
    match kind {
        "repository" => Problem::machine(
            format!("a repository cannot be used: {text}"),
            "see whether its URL is right and can be reached from here (--repo FILE, --mirror FROM=TO, --proxy URL)",
        ),
        "names" => Problem::input(
            format!("{text} (repositories: {})", repos.unwrap_or("none")),
            "correct the name or the version, or add a repository that has it with --repo FILE",
        ),
        "dependencies" => Problem::input(
            format!("the packages cannot be resolved: {text}"),
            "add a repository that has what is missing with --repo FILE",
        ),
        "signature" => Problem::input(
            text,
            "packages must be signed with a key that their repository's file names (gpgkey); gpgcheck=0 there accepts them unchecked",
        ),
        "download" => Problem::machine(
            format!("packages cannot be downloaded: {text}"),
            "run the same line again: what is here is not fetched again",
        ),
        _ => Problem::machine(
            format!("dnf failed: {text}"),
            if text.contains("No module") { INSTALL.to_owned() } else { see(log) },
        ),
    }
}

fn see(log: &Utf8Path) -> String {
    format!("what dnf printed is in {log}")
}

fn last_line(log: &Utf8Path) -> String {
    let text = fs_err::read_to_string(log).unwrap_or_default();
    text.lines().rfind(|line| !line.trim().is_empty()).map(|line| format!(": {line}")).unwrap_or_default()
}
