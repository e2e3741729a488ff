//! Which Kubernetes the packages are: what is written for it differs.

use payload::Bundle;

use crate::host::Facts;
use crate::packages::Wanted;

/// The version of a package: of the rpm named, else of the bundle's, else of one that is installed.
pub(super) fn of<'a>(
    package: &str,
    packages: &[Wanted],
    bundle: Option<&Bundle>,
    mut facts: impl Iterator<Item = &'a Facts>,
) -> Option<String> {
    let there = || facts.find_map(|facts| Some(facts.packages.get(package)?.version.clone()));
    named(package, packages, bundle).or_else(there)
}

/// What can be said of it without a host.
pub(super) fn named(package: &str, packages: &[Wanted], bundle: Option<&Bundle>) -> Option<String> {
    let named = packages.iter().find_map(|w| match w {
        Wanted::Rpm { id, .. } if id.name == package => Some(&id.version),
        _ => None,
    });
    let mut rpms = bundle.into_iter().flat_map(|b| &b.manifest().members).filter_map(|m| m.rpm.as_ref());
    named.or_else(|| rpms.find(|r| r.name == package).map(|r| &r.version)).cloned()
}

/// The MINOR of 1.MINOR.
pub(super) fn minor(version: &str) -> Option<u32> {
    version.split('.').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(minor("1.5.2"), Some(5));
        assert_eq!(minor("1.20.2"), Some(20));
        assert_eq!(minor("nonsense"), None);
    }
}
