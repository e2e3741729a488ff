//! What is wanted on a host, and what that means given what is installed there.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::time::Duration;

use camino::Utf8PathBuf;
use payload::RpmId;

use super::error::PackageError;
use super::evr;
use super::package_run::limited;
use super::transaction::Transaction;
use crate::deliver::offer::Offer;
use crate::host::Command;

/// One package wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// By name: whatever version the repository has; one that is installed is enough.
    Name(String),
    /// By name; where it is not installed yet, in this version.
    Version { name: String, version: String },
    /// This very package, given with -f: a file of the control host, or of the bundle.
    Rpm { file_name: String, id: RpmId, local: Option<Utf8PathBuf> },
}

impl Wanted {
    /// The package's name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Wanted::Name(name) | Wanted::Version { name, .. } => name,
            Wanted::Rpm { id, .. } => &id.name,
        }
    }

    /// In the spelling of a package manager that finds it itself.
    fn spec(&self) -> String {
        match self {
            Wanted::Name(name) => name.clone(),
            Wanted::Version { name, version } => format!("{name}-{version}"),
            Wanted::Rpm { id, .. } => spec_of(id),
        }
    }

    /// Whether it is installed again where it is there already.
    #[must_use]
    pub fn is_again(&self, options: &InstallOptions) -> bool {
        options.force_reinstall && matches!(self, Wanted::Rpm { .. })
    }

    /// Whether these installed packages are what is wanted.
    #[must_use]
    pub fn is_met_by(&self, there: &[RpmId]) -> bool {
        match self {
            Wanted::Name(_) | Wanted::Version { .. } => !there.is_empty(),
            Wanted::Rpm { id, .. } => there.contains(id),
        }
    }
}

/// A script that runs each transaction on the host, so as to know what it brings. It finds the transaction's command in `"$@"`, behind
/// its own arguments, a pair NAME.ARCH VERSION for each package that comes new, and `--`.
#[derive(Debug, Clone)]
pub struct Recorder {
    pub script: &'static str,
    pub arguments: Vec<String>,
}

/// How to install.
#[derive(Debug, Clone)]
pub struct InstallOptions {
    /// Replace a newer version by the one wanted.
    pub allow_downgrade: bool,
    /// Install a package given with -f again although it is there in that version.
    pub force_reinstall: bool,
    /// What a trial found is what will be installed next, whole: a package manager that can may hold it ready.
    pub hold: bool,
    /// How long another package manager's lock is waited for.
    pub lock_wait: Duration,
    /// How long one run of the package manager may take.
    pub timeout: Duration,
    /// What keeps a record of packages that come.
    pub recorder: Option<Recorder>,
}

impl InstallOptions {
    /// A transaction's command, ended in time where it can be, in the script that records what it brings.
    pub(super) fn guarded(&self, command: Command, transaction: &Transaction) -> Command {
        self.recorded(limited(command, self.timeout), transaction)
    }

    /// A command that does a transaction, in the script that records what that brings.
    pub(super) fn recorded(&self, command: Command, transaction: &Transaction) -> Command {
        let Some(recorder) = &self.recorder else { return command };
        let new = transaction.install.iter().flat_map(|id| {
            let (name, version) =
                (format!("{}.{}", id.name, id.arch), format!("{}:{}-{}", id.epoch, id.version, id.release));
            [name, version]
        });
        let arguments = recorder.arguments.iter().cloned().chain(new).chain(["--".to_owned()]).collect();
        command.inside(recorder.script, arguments)
    }
}

impl Default for InstallOptions {
    fn default() -> InstallOptions {
        InstallOptions {
            allow_downgrade: false,
            force_reinstall: false,
            hold: false,
            lock_wait: Duration::from_secs(300),
            timeout: Duration::from_secs(1800),
            recorder: None,
        }
    }
}

/// What must be done: packages sorted by how, each in the package manager's spelling.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Orders {
    pub(super) install: Vec<String>,
    pub(super) downgrade: Vec<String>,
    pub(super) reinstall: Vec<String>,
    /// From the host's own repositories.
    pub(super) own: Vec<String>,
    /// Nothing to do for these.
    pub(super) already: Vec<RpmId>,
}

impl Orders {
    /// True when this repository is not needed.
    pub(super) fn none_of_ours(&self) -> bool {
        self.install.is_empty() && self.downgrade.is_empty() && self.reinstall.is_empty()
    }

    /// Whether all that `other` wants of this repository is wanted here too, in the same way.
    pub(super) fn cover(&self, other: &Orders) -> bool {
        let all = |theirs: &[String], ours: &[String]| theirs.iter().all(|spec| ours.contains(spec));
        all(&other.install, &self.install)
            && all(&other.downgrade, &self.downgrade)
            && all(&other.reinstall, &self.reinstall)
    }
}

/// Sorts what is wanted by what is installed. `installed` has, for each wanted package in order, those of its name,
/// or that provide it.
pub(super) fn orders(
    host: &str,
    offer: &Offer,
    wanted: &[Wanted],
    installed: &[Vec<RpmId>],
    options: &InstallOptions,
) -> Result<Orders, PackageError> {
    let mut orders = Orders::default();
    // What hosts of other platforms only are offered; all of it is told at once.
    let mut elsewhere = Vec::new();
    for (wanted, there) in wanted.iter().zip(installed) {
        match wanted {
            Wanted::Name(_) | Wanted::Version { .. } if !there.is_empty() => {
                orders.already.extend(there.iter().cloned())
            }
            Wanted::Name(name) if offer.has_name(name)? => orders.install.push(name.clone()),
            Wanted::Version { name, version } if offer.has_name(name)? => {
                orders.install.push(of_version(host, offer, name, version)?);
            }
            Wanted::Name(name) | Wanted::Version { name, .. } => {
                match offer.elsewhere(|other| other.has_name(name))? {
                    platforms if platforms.is_empty() => orders.own.push(wanted.spec()),
                    platforms => elsewhere.push((name.clone(), platforms)),
                }
            }
            Wanted::Rpm { id, .. } if there.contains(id) && !options.force_reinstall => orders.already.push(id.clone()),
            Wanted::Rpm { file_name, id, .. } if offer.has_file(file_name, id) => {
                orders.add_file(host, id, there, options)?;
            }
            Wanted::Rpm { file_name, id, .. } => match offer.elsewhere(|other| Ok(other.has_file(file_name, id)))? {
                platforms if platforms.is_empty() => {
                    let problems = vec![format!("{file_name} is neither in the bundle nor on the control host")];
                    return Err(PackageError::Unsolvable { host: host.into(), wanted: vec![spec_of(id)], problems });
                }
                platforms => elsewhere.push((file_name.clone(), platforms)),
            },
        }
    }
    if elsewhere.is_empty() {
        return Ok(orders);
    }
    Err(PackageError::OtherPlatform { host: host.into(), platform: offer.platform().to_owned(), packages: elsewhere })
}

/// The newest release of this version that the host is offered.
fn of_version(host: &str, offer: &Offer, name: &str, version: &str) -> Result<String, PackageError> {
    let of_name = || offer.packages().map(|(id, _)| id).filter(|id| id.name == name);
    let newest = of_name().filter(|id| id.version == version).max_by(|a, b| evr::compare(a, b));
    newest.map(spec_of).ok_or_else(|| {
        let offered: BTreeSet<String> = of_name().map(|id| id.version.clone()).collect();
        PackageError::OtherVersion { host: host.into(), wanted: format!("{name}-{version}"), offered }
    })
}

impl Orders {
    /// A package given with -f, where these of its name are installed.
    fn add_file(
        &mut self,
        host: &str,
        id: &RpmId,
        there: &[RpmId],
        options: &InstallOptions,
    ) -> Result<(), PackageError> {
        let spec = spec_of(id);
        let newest = there.iter().max_by(|a, b| evr::compare(a, b));
        match newest.map(|there| (there, evr::compare(there, id))) {
            Some((there, Ordering::Equal)) if !options.force_reinstall => self.already.push(there.clone()),
            Some((_, Ordering::Equal)) => self.reinstall.push(spec),
            Some((_, Ordering::Greater)) if options.allow_downgrade => self.downgrade.push(spec),
            Some((there, Ordering::Greater)) => {
                let (installed, wanted) = (evr::text(there), evr::text(id));
                return Err(PackageError::Newer { host: host.into(), name: id.name.clone(), installed, wanted });
            }
            Some((_, Ordering::Less)) | None => self.install.push(spec),
        }
        Ok(())
    }
}

/// A package in the package manager's spelling.
pub(super) fn spec_of(id: &RpmId) -> String {
    format!("{}-{}.{}", id.name, evr::text(id), id.arch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::offer::tests::{id, serving};

    fn name(name: &str) -> Wanted {
        Wanted::Name(name.into())
    }

    fn file(package: &str) -> Wanted {
        Wanted::Rpm { file_name: format!("{package}-1.noarch.rpm"), id: id(package), local: None }
    }

    /// The orders on a host of this platform that has none of it.
    fn ordered(packages: &[(&str, &str)], platform: &str, wanted: &[Wanted]) -> Result<Orders, PackageError> {
        let (_folder, server) = serving(packages, &[]);
        let there = vec![Vec::new(); wanted.len()];
        let offer = Offer::new(&server.place().stock, platform);
        orders("10.0.0.1", &offer, wanted, &there, &InstallOptions::default())
    }

    #[test]
    fn what_is_for_another_platform_is_refused_by_name_all_at_once() {
        let packages = [("", "tini-1"), ("el8", "runc-1"), ("f41", "runc-2"), ("el8", "etcd-3")];
        let wanted = [name("tini"), name("runc"), name("etcd-service"), file("etcd-3"), name("elsewhere")];
        let refused = ordered(&packages, "el9", &wanted).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "10.0.0.1 is el9, and the bundle has for other platforms only: runc (for el8, f41), etcd-service (for el8), \
             etcd-3-1.noarch.rpm (for el8)"
        );
        assert!(refused.help().unwrap().contains("bundle repack --platform el9 --add FILE"), "{:?}", refused.help());
        let refused = ordered(&packages, "", &wanted).unwrap_err();
        assert!(refused.to_string().starts_with("10.0.0.1 is of no known platform, "), "{refused}");
        assert!(!refused.help().unwrap().contains("--platform"), "{:?}", refused.help());
    }

    #[test]
    fn a_host_of_the_platform_is_given_it() {
        let packages = [("", "tini-1"), ("el8", "runc-1"), ("el8", "etcd-3")];
        let found =
            ordered(&packages, "el8", &[name("tini"), name("runc"), file("etcd-3"), name("elsewhere")]).unwrap();
        assert_eq!(found.install, ["tini", "runc", "etcd-3-1.noarch"]);
        assert_eq!(found.own, ["elsewhere"]);
    }

    #[test]
    fn a_version_is_chosen_among_those_offered() {
        let of = |version: &str| Wanted::Version { name: "runc".into(), version: version.into() };
        let packages = [("", "runc-1"), ("", "runc-2")];
        assert_eq!(ordered(&packages, "el9", &[of("1")]).unwrap().install, ["runc-1-1.noarch"]);
        let refused = ordered(&packages, "el9", &[of("3")]).unwrap_err();
        assert_eq!(refused.to_string(), "10.0.0.1 needs runc-3, and the bundle has it in other versions only: 1, 2");
        assert_eq!(ordered(&[("", "tini-1")], "el9", &[of("3")]).unwrap().own, ["runc-3"]);
        let (_folder, server) = serving(&packages, &[]);
        let offer = Offer::new(&server.place().stock, "el9");
        let there = [vec![id("runc-2")]];
        let found = orders("10.0.0.1", &offer, &[of("1")], &there, &InstallOptions::default()).unwrap();
        assert!(found.none_of_ours() && found.already == [id("runc-2")], "one that is installed is enough");
    }

    #[test]
    fn what_is_installed_is_not_asked_for() {
        let (_folder, server) = serving(&[("el8", "runc-1"), ("el8", "etcd-3")], &[]);
        let offer = Offer::new(&server.place().stock, "el9");
        let (wanted, there) = ([name("runc"), file("etcd-3")], [vec![id("runc-1")], vec![id("etcd-3")]]);
        let found = orders("10.0.0.1", &offer, &wanted, &there, &InstallOptions::default()).unwrap();
        assert!(found.none_of_ours() && found.own.is_empty());
        assert_eq!(found.already, [id("runc-1"), id("etcd-3")]);
    }
}
