//! Platforms: for which distribution, and which major version of it, packages were built. What is for one platform lies in
//! the bundle below its name, as a repository of its own; a host takes that of its own platform, beside what is for all.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::manifest::Manifest;
use crate::member::{Member, MemberKind};

/// A platform's name, as `PLATFORM_ID` of os-release(5) has it behind `platform:`, such as `el9`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform(String);

/// What the names begin with: Amazon Linux, Anolis OS, RHEL and its relatives, Fedora, OpenCloudOS. SUSE has no
/// `PLATFORM_ID`; its hosts are given one of this form.
const DISTRIBUTIONS: [&str; 6] = ["al", "an", "el", "f", "oc", "suse"];

/// A word that is no platform's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no platform, such as el9, f41, al2023 or suse15")]
pub struct NotAPlatform(String);

/// Whether this is a platform's name, and so a folder of this name directly below the packages holds those of that platform.
/// A list of distributions and not any letters before a number: `etcd3` is a folder of packages for every host.
fn is_platform(name: &str) -> bool {
    let version = name.trim_start_matches(|c: char| c.is_ascii_lowercase());
    let distribution = &name[..name.len() - version.len()];
    DISTRIBUTIONS.contains(&distribution) && !version.is_empty() && version.bytes().all(|b| b.is_ascii_digit())
}

impl FromStr for Platform {
    type Err = NotAPlatform;

    fn from_str(name: &str) -> Result<Self, NotAPlatform> {
        if is_platform(name) { Ok(Self(name.to_owned())) } else { Err(NotAPlatform(name.to_owned())) }
    }
}

impl Platform {
    /// Its name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Borrow<str> for Platform {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// What the names of a repository's members begin with: nothing for packages that are for all hosts.
pub(crate) fn prefix(platform: Option<&Platform>) -> String {
    platform.map(|platform| format!("{platform}/")).unwrap_or_default()
}

impl Member {
    /// The platform that a package or its metadata is for; `None` when it is for all hosts, and for members of other kinds.
    #[must_use]
    pub fn platform(&self) -> Option<&str> {
        let of_repository = matches!(self.kind, MemberKind::Rpm | MemberKind::Repodata);
        let (first, _) = self.name.split_once('/').filter(|_| of_repository)?;
        is_platform(first).then_some(first)
    }
}

impl Manifest {
    /// The platforms that the bundle has packages for beside those for all hosts, each once.
    #[must_use]
    pub fn platforms(&self) -> Vec<Platform> {
        let mut platforms: Vec<Platform> =
            self.members.iter().filter_map(Member::platform).map(|name| Platform(name.to_owned())).collect();
        platforms.sort();
        platforms.dedup();
        platforms
    }

    /// How many packages are for all hosts (under `None`, always there), and for those of each platform.
    #[must_use]
    pub fn package_counts(&self) -> BTreeMap<Option<&str>, usize> {
        let mut counts = BTreeMap::from([(None, 0)]);
        for package in self.members.iter().filter(|member| member.kind == MemberKind::Rpm) {
            *counts.entry(package.platform()).or_default() += 1;
        }
        counts
    }

    /// The packages for hosts of a platform: those built for it, then those that are for all hosts. Of a platform that the
    /// bundle does not know, the latter alone.
    pub fn packages_for<'a>(&'a self, platform: &'a str) -> impl Iterator<Item = &'a Member> {
        let packages = |of: Option<&'a str>| {
            self.members.iter().filter(move |member| member.kind == MemberKind::Rpm && member.platform() == of)
        };
        packages(Some(platform)).chain(packages(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Sha256, Stored};

    #[test]
    fn a_platform_is_a_known_distribution_and_a_number() {
        for name in ["el7", "el8", "el10", "f41", "al2", "al2023", "suse15", "an8", "oc9"] {
            assert_eq!(name.parse::<Platform>().unwrap().as_str(), name);
        }
        for name in ["", "el", "9", "etcd3", "el9a", "el9.4", "EL9", "fc41", "centos8", "extras", "el 9", "él9", "el９"]
        {
            assert!(name.parse::<Platform>().is_err(), "{name:?}");
        }
    }

    fn member(name: &str, kind: MemberKind) -> Member {
        let (sha256, stored) = (Sha256::of(b""), Stored::Plain);
        Member { name: name.into(), kind, size: 0, sha256, offset: 0, stored, rpm: None }
    }

    #[test]
    fn only_packages_and_their_metadata_are_of_a_platform() {
        for (name, kind, platform) in [
            ("el9/rpms/a.rpm", MemberKind::Rpm, Some("el9")),
            ("el9/repodata/repomd.xml", MemberKind::Repodata, Some("el9")),
            ("rpms/a.rpm", MemberKind::Rpm, None),
            ("rpms/el9/a.rpm", MemberKind::Rpm, None),
            ("el9/notes", MemberKind::File, None),
            ("el9", MemberKind::Rpm, None),
        ] {
            assert_eq!(member(name, kind).platform(), platform, "{name}");
        }
    }
}
