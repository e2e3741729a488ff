//! Packages asked for by name that a host has in an older version than the bundle's. They stay: only an upgrade replaces
//! what works. The operator is told, before the run and behind its closing table.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use payload::{Bundle, RpmId};

use crate::host::{Evr, Facts, HostId};
use crate::packages::Wanted;
use crate::plan::RunHosts;

use super::problem::Problem;
use super::rpms;

/// A warning for each, in the order of the hosts.
pub(super) fn older(wanted: &BTreeMap<HostId, Vec<Wanted>>, hosts: &RunHosts, bundle: Option<&Bundle>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, packages) in wanted {
        let Some(host) = hosts.get(name) else { continue };
        let shelf: Vec<&RpmId> = rpms::for_host(bundle, &host.facts).collect();
        for text in of_host(&host.facts, packages, &shelf) {
            let help =
                "to replace it, name its file: -f, -fm, -fn in the -K form, else --rpm, --master-rpm, --node-rpm";
            problems.push(Problem::warning(Some(name), text, Some(help.to_owned())));
        }
    }
    problems
}

fn of_host(facts: &Facts, wanted: &[Wanted], shelf: &[&RpmId]) -> Vec<String> {
    let names = wanted.iter().filter_map(|w| match w {
        Wanted::Name(name) => Some(name),
        // Its version is the cluster's, whatever the bundle has.
        Wanted::Version { .. } | Wanted::Rpm { .. } => None,
    });
    let older = names.filter_map(|name| {
        let there = facts.packages.get(name)?;
        let fits = |id: &&&RpmId| id.name == *name && (id.arch == facts.arch || id.arch == "noarch");
        let newest = shelf.iter().filter(fits).map(|id| evr(id)).max_by(compare)?;
        let text = || format!("keeps {name} {}, older than the bundle's {}", shown(there), shown(&newest));
        (compare(there, &newest) == Ordering::Less).then(text)
    });
    older.collect()
}

fn evr(id: &RpmId) -> Evr {
    Evr { epoch: id.epoch, version: id.version.clone(), release: id.release.clone() }
}

fn compare(a: &Evr, b: &Evr) -> Ordering {
    rpm_version::rpm_evr_compare(&a.to_string(), &b.to_string())
}

fn shown(evr: &Evr) -> String {
    let text = evr.to_string();
    text.strip_prefix("0:").map(str::to_owned).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(version: &str, arch: &str) -> RpmId {
        let (name, release) = ("etcd".to_owned(), "1.el9".to_owned());
        RpmId { name, epoch: 0, version: version.to_owned(), release, arch: arch.to_owned() }
    }

    fn said(installed: &str, wanted: &Wanted) -> Vec<String> {
        let evr = Evr { epoch: 0, version: installed.to_owned(), release: "1.el9".to_owned() };
        let packages = BTreeMap::from([("etcd".to_owned(), evr)]);
        let facts = Facts { packages, arch: "x86_64".to_owned(), ..Facts::default() };
        let shelf = [id("3.4.9", "x86_64"), id("3.4.23", "x86_64"), id("3.5.0", "aarch64")];
        of_host(&facts, std::slice::from_ref(wanted), &shelf.iter().collect::<Vec<_>>())
    }

    #[test]
    fn an_older_package_is_reported_and_a_newer_one_is_not() {
        let by_name = Wanted::Name("etcd".to_owned());
        assert_eq!(said("3.4.20", &by_name), ["keeps etcd 3.4.20-1.el9, older than the bundle's 3.4.23-1.el9"]);
        assert!(said("3.4.23", &by_name).is_empty() && said("3.5.1", &by_name).is_empty());
        let by_file = Wanted::Rpm { file_name: "etcd.rpm".to_owned(), id: id("3.4.23", "x86_64"), local: None };
        assert!(said("3.4.20", &by_file).is_empty(), "a file replaces it");
        assert!(said("3.4.20", &Wanted::Name("docker".to_owned())).is_empty());
    }
}
