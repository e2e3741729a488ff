//! Which Kubernetes the packages are: what is written for it differs.

use payload::Bundle;

use crate::host::Facts;
use crate::repo::Wanted;

use super::state::today;

const PACKAGE: &str = "kubernetes-master";

/// The MINOR of 1.MINOR: of the rpm named, else of the bundle's, else of one that is installed.
pub(super) fn minor<'a>(
    packages: &[Wanted],
    bundle: Option<&Bundle>,
    mut facts: impl Iterator<Item = &'a Facts>,
) -> u32 {
    let there = || facts.find_map(|facts| parse(&facts.packages.get(PACKAGE)?.version));
    named(packages, bundle).or_else(there).unwrap_or_else(today)
}

/// What can be said of it without a host.
pub(super) fn named(packages: &[Wanted], bundle: Option<&Bundle>) -> Option<u32> {
    let named = packages.iter().find_map(|w| match w {
        Wanted::Rpm { id, .. } if id.name == PACKAGE => Some(id.version.as_str()),
        _ => None,
    });
    let mut rpms = bundle.into_iter().flat_map(|b| &b.manifest().members).filter_map(|m| m.rpm.as_ref());
    parse(named.or_else(|| rpms.find(|r| r.name == PACKAGE).map(|r| r.version.as_str()))?)
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
