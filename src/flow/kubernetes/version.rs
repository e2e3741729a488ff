//! Which Kubernetes the packages are: what is written for it differs.

use std::collections::BTreeMap;

use payload::Bundle;

use crate::flow::problem::Problem;
use crate::flow::rpms;
use crate::host::{Facts, HostId};
use crate::packages::Wanted;
use crate::plan::Level;

/// The version of a package on these hosts: of the rpm named, else of what the bundle has for them, else of one that is
/// installed. Hosts of different platforms get the same one: [`differing`] refuses all else.
pub(super) fn of<'a>(
    package: &str,
    packages: &[Wanted],
    bundle: Option<&'a Bundle>,
    mut facts: impl Iterator<Item = &'a Facts> + Clone,
) -> Option<String> {
    let of_bundle = || facts.clone().find_map(|facts| offered(package, bundle, facts));
    let version = rpms::asked_version(package, packages).map(str::to_owned).or_else(|| of_bundle().map(str::to_owned));
    version.or_else(|| facts.find_map(|facts| Some(facts.packages.get(package)?.version.clone())))
}

/// The version that a host gets of the bundle.
fn offered<'a>(package: &str, bundle: Option<&'a Bundle>, facts: &'a Facts) -> Option<&'a str> {
    rpms::newest(rpms::for_host(bundle, facts), package).map(|id| id.version.as_str())
}

/// A cluster has one version. The bundle may have another one of the package for each platform: that stands in the way where
/// hosts that are to get the package are of such platforms.
pub(super) fn differing<'a>(
    package: &str,
    packages: &[Wanted],
    bundle: Option<&'a Bundle>,
    hosts: impl Iterator<Item = (&'a HostId, &'a Facts)>,
) -> Option<Problem> {
    if rpms::asked_version(package, packages).is_some() {
        return None;
    }
    let mut versions: BTreeMap<&str, (&HostId, &str)> = BTreeMap::new();
    for (host, facts) in hosts.filter(|(_, facts)| !facts.packages.contains_key(package)) {
        if let Some(version) = offered(package, bundle, facts) {
            versions.entry(version).or_insert((host, facts.platform.as_str()));
        }
    }
    if versions.len() < 2 {
        return None;
    }
    let shown = versions.iter().map(|(version, (host, platform))| {
        let platform = if platform.is_empty() { "no known platform" } else { platform };
        format!("{version} for {host} ({platform})")
    });
    let text = format!("the bundle brings different versions of {package}: {}", shown.collect::<Vec<_>>().join(", "));
    let help = "build the bundle with the same version for all platforms, or make the cluster of hosts of one of them";
    Some(Problem { host: None, level: Level::Error, text, help: Some(help.to_owned()) })
}

/// The MINOR of 1.MINOR.
pub(super) fn minor(version: &str) -> Option<u32> {
    version.strip_prefix("1.")?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::constructed::bundle_of_packages;
    use crate::host::Evr;

    const PACKAGE: &str = "kubeadm";

    #[test]
    fn versions_are_read() {
        assert_eq!(minor("1.5.2"), Some(5));
        assert_eq!(minor("1.20.2"), Some(20));
        assert!(minor("nonsense").is_none() && minor("2.5.1").is_none());
    }

    /// A bundle of kubeadm in these versions, each below such a prefix.
    fn bundle(versions: &[(&str, &str)]) -> Bundle {
        let packages: Vec<_> = versions.iter().map(|(prefix, version)| (*prefix, PACKAGE, *version)).collect();
        bundle_of_packages(&packages)
    }

    fn host(platform: &str) -> Facts {
        Facts { platform: platform.into(), ..Facts::default() }
    }

    fn version_on(bundle: &Bundle, hosts: &[Facts]) -> Option<String> {
        of(PACKAGE, &[], Some(bundle), hosts.iter())
    }

    #[test]
    fn hosts_get_what_is_for_their_platform() {
        let bundle = bundle(&[("el8/", "1.20.2"), ("el9/", "1.36.3"), ("el9/", "1.9.0"), ("", "1.35.4")]);
        assert_eq!(version_on(&bundle, &[host("el9")]).as_deref(), Some("1.36.3"), "the newest, as rpm counts");
        assert_eq!(version_on(&bundle, &[host("el8")]).as_deref(), Some("1.35.4"), "one for all hosts is newer");
        assert_eq!(version_on(&bundle, &[host("")]).as_deref(), Some("1.35.4"));
        assert_eq!(rpms::version(PACKAGE, &[], Some(&bundle)).as_deref(), Some("1.36.3"));
        let only_el8 = self::bundle(&[("el8/", "1.20.2")]);
        assert_eq!(version_on(&only_el8, &[host("el9")]), None);
        assert_eq!(version_on(&only_el8, &[host("el9"), host("el8")]).as_deref(), Some("1.20.2"));
    }

    fn problem(bundle: &Bundle, packages: &[Wanted], hosts: &[Facts]) -> Option<String> {
        let names = ["10.0.0.1".into(), "10.0.0.2".into()];
        differing(PACKAGE, packages, Some(bundle), names.iter().zip(hosts)).map(|problem| problem.text)
    }

    #[test]
    fn a_cluster_has_one_version() {
        let bundle = bundle(&[("el8/", "1.20.2"), ("el9/", "1.36.3")]);
        let said = problem(&bundle, &[], &[host("el9"), host("el8")]).unwrap();
        assert!(said.contains("of kubeadm: 1.20.2 for 10.0.0.2 (el8), 1.36.3 for 10.0.0.1 (el9)"), "{said}");
        assert_eq!(problem(&bundle, &[], &[host("el9"), host("el9")]), None, "the other platform has no part in it");
        let mut has_it = host("el8");
        has_it.packages.insert(PACKAGE.into(), Evr { epoch: 0, version: "1.36.3".into(), release: "1".into() });
        assert_eq!(problem(&bundle, &[], &[host("el9"), has_it]), None, "what is there stays");
        let (file_name, local) = ("kubeadm.rpm".into(), None);
        let id = bundle.manifest().members.iter().find_map(|m| m.rpm.clone()).unwrap();
        assert_eq!(problem(&bundle, &[Wanted::Rpm { file_name, id, local }], &[host("el9"), host("el8")]), None);
        let same = self::bundle(&[("el8/", "1.36.3"), ("el9/", "1.36.3")]);
        assert_eq!(problem(&same, &[], &[host("el9"), host("el8")]), None);
    }
}
