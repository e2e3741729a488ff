//! kubeadm's own preflight on hosts that are to join, before anything is changed there: the program out of the package that
//! they will get, in a folder that goes with the check. What it finds is part of this run's preflight.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use flate2::Compression;
use flate2::write::GzEncoder;
use payload::yum::file_in;
use payload::{Bundle, Member};

use crate::flow::problem::Problem;
use crate::flow::request::ClusterSettings;
use crate::flow::rpms;
use crate::flow::scene::Scene;
use crate::host::{Command, Facts, HostId, for_each};
use crate::packages::Wanted;
use crate::plan::RunHost;

use super::super::families;
use super::config;
use super::findings::{Findings, IGNORED};

const PACKAGE: &str = "kubeadm";
const PROGRAM: &str = "/usr/bin/kubeadm";
const PATIENCE: Duration = Duration::from_secs(90);

/// `$1` init | join, `$2` configuration, `$3` checks that are passed over; the program, packed, on standard input. A check that
/// is over is worth nothing later: whatever it left goes, also of one that was killed (`deliver/site.rs`).
const RUN: &str = r#"set -eu
umask 077
d=
trap 'rm -rf "$d"; rmdir /run/sunshine-installer /var/cache/sunshine-installer 2>/dev/null || :' EXIT
trap 'exit 143' HUP INT TERM
for base in /var/cache/sunshine-installer /run/sunshine-installer; do
  [ -z "$d" ] || rm -rf "$d"
  mkdir -p -m 0700 "$base"
  d=$(mktemp -d "$base/kubeadm.XXXXXX")
  # Where no program may be run, nor may this be.
  printf '#!/bin/sh\n' >"$d/kubeadm"
  chmod 700 "$d/kubeadm"
  ! "$d/kubeadm" 2>/dev/null || break
done
gzip -dc >"$d/kubeadm"
printf '%s' "$2" >"$d/config"
HOME=$d timeout -k 5 60 "$d/kubeadm" "$1" phase preflight --config "$d/config" --ignore-preflight-errors "$3" 2>&1 || :"#;

/// A host that is not in the cluster yet.
#[derive(Debug)]
pub(in crate::flow::kubernetes) struct Newcomer<'a> {
    pub host: &'a RunHost,
    pub is_control_plane: bool,
}

/// Where the program comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Source<'a> {
    File(&'a Utf8PathBuf),
    Member(&'a str),
}

/// What kubeadm finds on these hosts; nothing where no package of it is at hand.
pub(in crate::flow::kubernetes) fn preflight(
    newcomers: &[Newcomer<'_>],
    packages: &[Wanted],
    version: &str,
    settings: &ClusterSettings,
    scene: &Scene<'_>,
) -> Vec<Problem> {
    let sources: Vec<Option<Source<'_>>> =
        newcomers.iter().map(|newcomer| source(&newcomer.host.facts, packages, scene.bundle)).collect();
    let mut programs: BTreeMap<&Source<'_>, Result<Vec<u8>, String>> = BTreeMap::new();
    for source in sources.iter().flatten() {
        programs.entry(source).or_insert_with(|| program(source, scene.bundle));
    }
    let asked = newcomers.iter().zip(&sources);
    let asked: Vec<_> =
        asked.filter_map(|(newcomer, source)| Some((newcomer, programs.get(source.as_ref()?)?))).collect();
    let found = for_each(&asked, scene.options.forks, |(newcomer, program)| match program {
        Ok(program) => look(newcomer, program, version, settings),
        Err(why) => vec![not_asked(newcomer.host.host.name(), why)],
    });
    found.into_iter().flatten().flatten().collect()
}

/// The package that a host will get.
fn source<'a>(facts: &'a Facts, packages: &'a [Wanted], bundle: Option<&'a Bundle>) -> Option<Source<'a>> {
    let version = match packages.iter().find(|wanted| wanted.name() == PACKAGE) {
        Some(Wanted::Rpm { local: Some(path), .. }) => return Some(Source::File(path)),
        Some(Wanted::Rpm { local: None, file_name, .. }) => {
            return Some(Source::Member(&bundle?.rpm_files(file_name).next()?.name));
        }
        Some(Wanted::Version { version, .. }) => Some(version),
        Some(Wanted::Name(_)) | None => None,
    };
    let fitting = rpms::for_host(bundle, facts).filter(|id| version.is_none_or(|version| id.version == *version));
    let newest = rpms::newest(fitting, PACKAGE)?;
    let mut members = bundle?.manifest().packages_for(&facts.platform);
    Some(Source::Member(&members.find(|member| member.rpm.as_ref() == Some(newest))?.name))
}

/// The program, packed: it is a third then.
fn program(source: &Source<'_>, bundle: Option<&Bundle>) -> Result<Vec<u8>, String> {
    let program = match source {
        Source::File(path) => {
            let package = std::fs::read(path).map_err(|e| format!("{path}: {e}"))?;
            file_in(&package, path, PROGRAM)
        }
        Source::Member(name) => {
            let member = |bundle: &Bundle| -> Option<Member> { bundle.member(name).cloned() };
            let (bundle, member) = bundle.and_then(|b| Some((b, member(b)?))).ok_or("the bundle has no kubeadm")?;
            bundle.bytes(&member).and_then(|package| file_in(&package, Utf8Path::new(name), PROGRAM))
        }
    };
    let program = program.map_err(|e| e.to_string())?;
    let mut packed = GzEncoder::new(Vec::with_capacity(program.len() / 2), Compression::fast());
    packed.write_all(&program).and_then(|()| packed.finish()).map_err(|e| e.to_string())
}

fn look(newcomer: &Newcomer<'_>, program: &[u8], version: &str, settings: &ClusterSettings) -> Vec<Problem> {
    let RunHost { host, facts, .. } = newcomer.host;
    let (name, phase) = (facts.hostname.to_ascii_lowercase(), if newcomer.is_control_plane { "init" } else { "join" });
    // What it lacks is a problem of its own.
    let config = match (newcomer.is_control_plane, families::addresses_of(host.target(), facts, settings)) {
        (true, Ok((address, _))) => config::for_preflight_of_init(version, &name, address, settings),
        (true, Err(_)) => return Vec::new(),
        (false, _) => config::for_preflight_of_join(version, &name),
    };
    let run = Command::script(RUN).args([phase, &config, &IGNORED.join(",")]).timeout(PATIENCE);
    let output = match host.feed(&run.label("kubeadm's preflight"), &mut &program[..]) {
        Ok(output) if output.ok() => output,
        Ok(output) => return vec![not_asked(host.name(), &last_line(&output.stderr))],
        Err(error) => return vec![not_asked(host.name(), &error.to_string())],
    };
    match Findings::read(&output.text()) {
        Ok(found) => found.problems(host.name(), facts),
        Err(why) => vec![not_asked(host.name(), &why)],
    }
}

fn last_line(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    said.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it said nothing").to_owned()
}

/// The checks come again when kubeadm does its work, so a host where they cannot be run before is not refused.
fn not_asked(host: &HostId, why: &str) -> Problem {
    let text = format!("kubeadm's own preflight could not be run before the host is changed: {why}");
    Problem::warning(Some(host), text, Some("kubeadm checks the host again when it makes a node of it".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::constructed::bundle_of_packages;

    #[test]
    fn the_program_is_of_the_version_that_the_host_will_get() {
        let bundle = bundle_of_packages(&[("", PACKAGE, "1.36.3"), ("", PACKAGE, "1.20.2"), ("", "kubelet", "1.20.2")]);
        let of = |wanted: Wanted| match source(&Facts::default(), &[wanted], Some(&bundle)) {
            Some(Source::Member(name)) => name.to_owned(),
            other => panic!("{other:?}"),
        };
        assert_eq!(of(Wanted::Name(PACKAGE.into())), "rpms/kubeadm-1.36.3.rpm");
        let version = "1.20.2".to_owned();
        assert_eq!(of(Wanted::Version { name: PACKAGE.into(), version }), "rpms/kubeadm-1.20.2.rpm");
        let absent = Wanted::Version { name: PACKAGE.into(), version: "1.19.0".into() };
        assert_eq!(source(&Facts::default(), &[absent], Some(&bundle)), None);
    }
}
