//! Whether rpm's own signatures can be checked on a host: when everything that would be installed is signed by keys
//! that the bundle brings or the host has already.
//!
//! Where they cannot, a package is still the one that the metadata promises, and the metadata is signed by the run.

use std::collections::HashSet;

use payload::RpmId;

use crate::deliver::catalogue::Catalogue;
use crate::host::{Command, Host};

use super::error::PackageError;

/// Why a host's rpm would not install a package.
pub(super) const WANTS_SIGNATURES: &str =
    "the host's rpm installs only what is signed by a key that it knows (%_pkgverify_level)";

/// What the package manager is told, and what the user is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) gpgcheck: bool,
    /// Why not, when only some of the packages could be checked.
    pub(super) note: Option<String>,
}

/// The last eight digits of the ids of the keys that the host trusts: rpm keeps each as a package `gpg-pubkey` of
/// that version.
fn host_keys(host: &Host) -> Result<HashSet<String>, PackageError> {
    let command = Command::new("rpm").args(["-q", "--qf", "%{VERSION}\\n", "gpg-pubkey"]);
    let said = host.run(&command)?.text();
    let is_id = |line: &&str| line.len() == 8 && line.bytes().all(|byte| byte.is_ascii_hexdigit());
    Ok(said.lines().map(str::trim).filter(is_id).map(str::to_lowercase).collect())
}

/// Whether signatures are checked whichever of the repository's packages are taken; `None` when that depends on which.
pub(super) fn decide_for_any(host: &Host, catalogue: &Catalogue) -> Result<Option<bool>, PackageError> {
    let decision = decide_for(host, catalogue, catalogue.packages.iter().map(|package| &package.id))?;
    let none_is_signed = catalogue.packages.iter().all(|package| package.signer.is_none());
    Ok((decision.gpgcheck || none_is_signed).then_some(decision.gpgcheck))
}

/// Decides for these packages, asking the host for the keys it trusts where that matters.
pub(super) fn decide_for<'a>(
    host: &Host,
    catalogue: &Catalogue,
    packages: impl Iterator<Item = &'a RpmId> + Clone,
) -> Result<Decision, PackageError> {
    let signed = packages.clone().filter_map(|id| catalogue.package(id)).any(|package| package.signer.is_some());
    let keys = if signed { host_keys(host)? } else { HashSet::new() };
    Ok(decide(catalogue, &keys, packages))
}

/// The packages that the host's rpm would refuse where it verifies the signature of each.
pub(super) fn unverified<'a>(
    host: &Host,
    catalogue: &Catalogue,
    packages: impl Iterator<Item = &'a RpmId>,
) -> Result<Vec<String>, PackageError> {
    let (_, unchecked) = sort(catalogue, &host_keys(host)?, packages);
    Ok(unchecked.into_iter().map(|package| format!("{package}: {WANTS_SIGNATURES}")).collect())
}

/// How many of these packages can be checked, and those that cannot be, with the reason.
fn sort<'a>(
    catalogue: &Catalogue,
    host_keys: &HashSet<String>,
    packages: impl Iterator<Item = &'a RpmId>,
) -> (usize, Vec<String>) {
    let known = |signer: &str| {
        catalogue.keys.contains_key(signer) || signer.get(8..).is_some_and(|short| host_keys.contains(short))
    };
    let (mut checked, mut unchecked) = (0_usize, Vec::new());
    for package in packages.filter_map(|id| catalogue.package(id)) {
        match &package.signer {
            Some(signer) if known(signer) => checked += 1,
            Some(signer) => unchecked.push(format!("{} (signed by unknown key {signer})", package.id)),
            None => unchecked.push(format!("{} (not signed)", package.id)),
        }
    }
    (checked, unchecked)
}

/// Decides for these packages.
fn decide<'a>(
    catalogue: &Catalogue,
    host_keys: &HashSet<String>,
    packages: impl Iterator<Item = &'a RpmId>,
) -> Decision {
    let (checked, unchecked) = sort(catalogue, host_keys, packages);
    let note = (checked > 0).then(|| unchecked.first()).flatten().map(|first| {
        let (count, all) = (unchecked.len(), checked + unchecked.len());
        format!("rpm signatures are not checked: {count} of {all} packages cannot be, such as {first}")
    });
    Decision { gpgcheck: checked > 0 && unchecked.is_empty(), note }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::evr;
    use super::*;
    use crate::deliver::catalogue::Package;

    fn catalogue(signers: &[Option<&str>]) -> (Catalogue, Vec<RpmId>) {
        let mut catalogue = Catalogue::default();
        let mut ids = Vec::new();
        for (at, signer) in signers.iter().enumerate() {
            let id = evr::parse(&format!("p{at}"), "1-1", "noarch").unwrap();
            let signer = signer.map(str::to_owned);
            ids.push(id.clone());
            catalogue.add(Package { id, provides: vec![], requires: vec![], signer, head: 0, files: BTreeMap::new() });
        }
        catalogue.keys.insert("00112233aabbccdd".into(), "keys/a.asc".into());
        (catalogue, ids)
    }

    fn decided(signers: &[Option<&str>]) -> Decision {
        let (catalogue, ids) = catalogue(signers);
        decide(&catalogue, &HashSet::from(["99887766".to_owned()]), ids.iter())
    }

    #[test]
    fn checked_only_when_all_can_be() {
        let (bundle, host, unknown) = (Some("00112233aabbccdd"), Some("5555555599887766"), Some("0000000000000001"));
        assert!(decided(&[bundle, host]).gpgcheck);
        assert!(!decided(&[]).gpgcheck);
        assert_eq!(decided(&[None, None]), Decision { gpgcheck: false, note: None });
        let mixed = decided(&[bundle, unknown, None]);
        assert!(!mixed.gpgcheck && mixed.note.unwrap().contains("2 of 3 packages"));
    }
}
