//! Which Kubernetes the packages are: what is written for it differs.

use crate::flow::job::Scene;
use crate::repo::Wanted;

use super::state::today;

const PACKAGE: &str = "kubernetes-master";

/// The MINOR of 1.MINOR: of the rpm named, else of the bundle's, else of one that is installed.
pub(super) fn minor(packages: &[Wanted], scene: &Scene<'_>) -> u32 {
    let named = packages.iter().find_map(|w| match w {
        Wanted::Rpm { id, .. } if id.name == PACKAGE => Some(id.version.clone()),
        _ => None,
    });
    let members = scene.bundle.into_iter().flat_map(|b| &b.manifest().members);
    let mut rpms = members.filter_map(|m| m.rpm.as_ref());
    let packed = || rpms.find(|r| r.name == PACKAGE).map(|r| r.version.clone());
    let there = || scene.hosts.values().find_map(|h| h.facts.packages.get(PACKAGE)).map(|evr| evr.version.clone());
    named.or_else(packed).or_else(there).and_then(|v| parse(&v)).unwrap_or_else(today)
}

fn parse(version: &str) -> Option<u32> {
    version.split('.').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(parse("1.5.2"), Some(5));
        assert_eq!(parse("1.20.2"), Some(20));
        assert_eq!(parse("nonsense"), None);
    }
}
