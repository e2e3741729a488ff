//! What is wanted on a host, and what that means given what is installed there.

use std::cmp::Ordering;
use std::time::Duration;

use camino::Utf8PathBuf;
use payload::RpmId;

use super::error::PackageError;
use super::evr;
use crate::deliver::server::Stock;

/// One package wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// By name: whatever version the repository has; one that is installed is enough.
    Name(String),
    /// This very package, given with -f: a file of the control host, or of the bundle.
    Rpm { file_name: String, id: RpmId, local: Option<Utf8PathBuf> },
}

impl Wanted {
    /// The package's name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Wanted::Name(name) => name,
            Wanted::Rpm { id, .. } => &id.name,
        }
    }

    /// Whether it is installed again where it is there already.
    #[must_use]
    pub fn is_again(&self, options: &InstallOptions) -> bool {
        options.force_reinstall && matches!(self, Wanted::Rpm { .. })
    }

    /// Whether these installed packages are what is wanted.
    pub(super) fn is_met_by(&self, there: &[RpmId]) -> bool {
        match self {
            Wanted::Name(_) => !there.is_empty(),
            Wanted::Rpm { id, .. } => there.contains(id),
        }
    }
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
}

impl Default for InstallOptions {
    fn default() -> InstallOptions {
        InstallOptions {
            allow_downgrade: false,
            force_reinstall: false,
            hold: false,
            lock_wait: Duration::from_secs(300),
            timeout: Duration::from_secs(1800),
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
    stock: &Stock,
    wanted: &[Wanted],
    installed: &[Vec<RpmId>],
    options: &InstallOptions,
) -> Result<Orders, PackageError> {
    let mut orders = Orders::default();
    for (wanted, there) in wanted.iter().zip(installed) {
        match wanted {
            Wanted::Name(name) => match there.first() {
                Some(_) => orders.already.extend(there.iter().cloned()),
                None if stock.has_name(name)? => orders.install.push(name.clone()),
                None => orders.own.push(name.clone()),
            },
            Wanted::Rpm { file_name, id, .. } => {
                let spec = format!("{}-{}.{}", id.name, evr::text(id), id.arch);
                let newest = there.iter().max_by(|a, b| evr::compare(a, b));
                match newest.map(|there| (there, evr::compare(there, id))) {
                    _ if !stock.has_file(file_name, id) => {
                        let problems = vec![format!("{file_name} is neither in the bundle nor on the control host")];
                        return Err(PackageError::Unsolvable { host: host.into(), wanted: vec![spec], problems });
                    }
                    Some((there, Ordering::Equal)) if !options.force_reinstall => orders.already.push(there.clone()),
                    Some((_, Ordering::Equal)) => orders.reinstall.push(spec),
                    Some((_, Ordering::Greater)) if options.allow_downgrade => orders.downgrade.push(spec),
                    Some((there, Ordering::Greater)) => {
                        let (installed, wanted) = (evr::text(there), evr::text(id));
                        return Err(PackageError::Newer {
                            host: host.into(),
                            name: id.name.clone(),
                            installed,
                            wanted,
                        });
                    }
                    Some((_, Ordering::Less)) | None => orders.install.push(spec),
                }
            }
        }
    }
    Ok(orders)
}
