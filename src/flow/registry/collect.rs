//! `registry gc`: what no image of a registry refers to any more is deleted from its folder.
//!
//! The distribution server deletes nothing by itself ("Garbage collection" of its documentation), and must not take a push
//! meanwhile: it stands still while its own program does this.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::HumanBytes;

use crate::flow::error::FlowError;
use crate::flow::problem::Problem;
use crate::flow::request::RegistryCollect;
use crate::flow::scene::{Asked, Flow, Scene, Seen};
use crate::host::{Command, HostId, Target};
use crate::plan::{Check, Cx, Plan, RunReport, Step, StepError, Work};
use crate::resource::{Reads, Unit};

use super::package::{self, Package};
use super::plan::{START, answers};
use super::state::Registry;

/// A registry may hold very many images.
const PATIENCE: Duration = Duration::from_secs(4 * 3600);

/// Deletes what is unused, on all hosts of the environment's registry or on those that are named.
#[derive(Debug)]
pub struct Collect {
    request: RegistryCollect,
    hosts: Vec<Target>,
    known: Option<Registry>,
    /// Bytes, as the steps learn them.
    freed: Vec<(HostId, Arc<AtomicU64>)>,
}

impl Collect {
    pub fn new(request: RegistryCollect) -> Self {
        Self { request, hosts: Vec::new(), known: None, freed: Vec::new() }
    }
}

impl Flow for Collect {
    fn title(&self) -> String {
        "delete what no image of the registry uses".to_owned()
    }

    fn check_request(&mut self, asked: &Asked<'_>) -> Result<Vec<Problem>, FlowError> {
        let known = Registry::of(asked.environment)?;
        let named = &self.request.hosts;
        let others: Vec<String> =
            named.iter().map(Target::id).filter(|host| !known.hosts.contains_key(host)).map(String::from).collect();
        if !others.is_empty() {
            return Err(FlowError::request(format!("{}: has no registry of this environment", others.join(", "))));
        }
        self.hosts = match named.as_slice() {
            [] => asked.logins(known.hosts.keys(), &[], "their registry is to be cleaned up")?,
            named => named.to_vec(),
        };
        self.known = Some(known);
        Ok(Vec::new())
    }

    fn targets(&self) -> Vec<Target> {
        self.hosts.clone()
    }

    fn preflight(&self, scene: &Scene<'_>) -> Result<Vec<Problem>, FlowError> {
        let installed = |host: &HostId| scene.hosts.get(host).is_none_or(|h| package::installed(&h.facts).is_some());
        let hosts = self.hosts.iter().map(Target::id).filter(|host| !installed(host));
        let help = "`cluster apply` with the file of this environment installs it again";
        Ok(hosts.map(|host| Problem::error(&host, format!("{} is not installed", package::names()), help)).collect())
    }

    fn plan(&mut self, seen: &mut Seen<'_>) -> Result<Plan, FlowError> {
        let mut plan = Plan::default();
        let Some(known) = &self.known else { return Ok(plan) };
        for host in self.hosts.iter().map(Target::id) {
            let package = seen.facts.get(&host).and_then(|facts| package::installed(facts));
            let (Some(package), Some(machine)) = (package, known.hosts.get(&host)) else { continue };
            let freed = Arc::<AtomicU64>::default();
            self.freed.push((host.clone(), Arc::clone(&freed)));
            let unused = Unused { package, storage: known.storage.clone(), untagged: self.request.untagged, freed };
            plan.push(Step::on(&host, "registry.gc", "delete what no image uses", unused).weight(5));
            // A clean-up that was killed on the host itself has left the server stopped.
            let unit = Unit { name: package.unit.to_owned(), reads: Reads::Package, timeout: START, wait: true };
            plan.push(Step::on(&host, "registry.start", "start the registry", unit));
            plan.push(answers(&host, known, machine, package));
        }
        Ok(plan)
    }

    fn finish(&mut self, _: &Scene<'_>, report: &RunReport) -> Result<Vec<String>, FlowError> {
        let said = |(host, freed): &(HostId, Arc<AtomicU64>)| {
            format!("registry: {} freed on {host}", HumanBytes(freed.load(Ordering::SeqCst)))
        };
        Ok(self.freed.iter().filter(|(host, _)| !report.failed(host)).map(said).collect())
    }
}

/// No blob is there that no image refers to.
#[derive(Debug)]
struct Unused {
    package: &'static Package,
    storage: String,
    /// Manifests without a tag go too.
    untagged: bool,
    freed: Arc<AtomicU64>,
}

/// `alone FOLDER`: waits for the script of a run that was killed, which may still be at work. Its end starts the server, which
/// must not happen while another one deletes.
macro_rules! alone {
    ($body:literal) => {
        concat!(
            r#"alone() {
  exec 9<"$1"
  flock -w 3600 9 || { echo 'the clean-up that an earlier run began is still at work on this host' >&2; exit 75; }
}
"#,
            $body
        )
    };
}

/// `$1` program, `$2` configuration, `$3` folder of the images, `$4` unit, `$5` nothing or `--delete-untagged`. Prints the
/// server's version, and how many blobs and manifests would go.
const LOOK: &str = alone!(
    r#"set -eu
"$1" --version | sed -n 's/.* v\{0,1\}\([0-9][0-9.]*\).*/version \1/p' | head -n1
# Nothing was ever pushed: the program would fail.
[ -d "$3/docker/registry/v2/repositories" ] || exit 0
alone "$3"
said=$("$1" garbage-collect --dry-run $5 "$2" 2>&1) || { printf '%s\n' "$said" | tail -n 5 >&2; exit 1; }
printf '%s\n' "$said" | sed -n 's/^[0-9]* blobs marked, \([0-9]*\) blobs and \([0-9]*\) manifests eligible for deletion.*/unused \1 \2/p' | tail -n1"#
);

/// The same; prints how many KiB are free that were not. However this ends, the server runs again.
const DELETE: &str = alone!(
    r#"set -eu
alone "$3"
before=$(du -sk -- "$3" | cut -f1)
trap 'systemctl start -- "$4"' EXIT
trap 'exit 130' HUP INT TERM
systemctl stop -- "$4"
said=$("$1" garbage-collect $5 "$2" 2>&1) || { printf '%s\n' "$said" | tail -n 5 >&2; exit 1; }
after=$(du -sk -- "$3" | cut -f1)
echo $((before - after))"#
);

impl Unused {
    fn command(&self, script: &'static str, label: &str) -> Command {
        let flag = if self.untagged { "--delete-untagged" } else { "" };
        let config = self.package.config();
        let args = [self.package.process, config.as_str(), self.storage.as_str(), self.package.unit, flag];
        Command::script(script).args(args).timeout(PATIENCE).label(label)
    }
}

/// What [`LOOK`] printed: the version's first number, and what would go.
fn looked(text: &str) -> (Option<u32>, u64, u64) {
    let mut found = (None, 0, 0);
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["version", version] => found.0 = version.split('.').next().and_then(|major| major.parse().ok()),
            ["unused", blobs, manifests] => {
                (found.1, found.2) = (blobs.parse().unwrap_or(0), manifests.parse().unwrap_or(0));
            }
            _ => {}
        }
    }
    found
}

impl Work for Unused {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let text = cx.host()?.run_ok(&self.command(LOOK, "look for unused blobs"))?.text();
        let (major, blobs, manifests) = looked(&text);
        if self.untagged && major.is_none_or(|major| major < 3) {
            return Err(StepError::with_help(
                "this version of the distribution server takes the images of multi-platform indexes for untagged and would \
                 delete them",
                "leave out --delete-untagged; from version 3 on it is safe",
            ));
        }
        Ok(match (blobs, manifests) {
            (0, 0) => Check::Satisfied,
            _ => Check::Needed(vec![format!(
                "delete {blobs} blob(s) and {manifests} manifest(s); the registry stands still meanwhile"
            )]),
        })
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let text = cx.host()?.run_ok(&self.command(DELETE, "delete unused blobs"))?.text();
        let freed = text.trim().parse::<u64>().unwrap_or(0) * 1024;
        self.freed.store(freed, Ordering::SeqCst);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_s_program_says_is_read() {
        assert_eq!(looked("version 2.8.3\nunused 12 1\n"), (Some(2), 12, 1));
        assert_eq!(looked("version 3.1.2\n"), (Some(3), 0, 0));
        assert_eq!(looked("nonsense"), (None, 0, 0));
    }
}
