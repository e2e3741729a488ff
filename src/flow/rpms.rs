//! Which packages an operation installs: from files named on the command line, or by name.
//!
//! A path that does not exist on the control host is looked up in the bundle by its file name; in neither, it is an
//! error that names the path, before any host is touched (contract, section 1). A bare file name means the current folder, which
//! may be anybody's: a file there counts before the bundle's only where no other user could have put it there.

use camino::{Utf8Path, Utf8PathBuf};
use payload::{Bundle, RpmId};

use crate::host::Facts;
use crate::packages::Wanted;

use super::error::FlowError;
use super::trusted::trusted;

/// Where the files of packages are looked for.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a> {
    /// Whether the control host's own files count; else only the bundle's do.
    pub control_host: bool,
    pub bundle: Option<&'a Bundle>,
}

/// Finds the files given by `-f` and the like (`option` is what the user typed, for the message).
///
/// # Errors
/// Names every path that is in neither place, and every file that is no rpm.
pub fn from_files(paths: &[String], option: &str, places: Places<'_>) -> Result<Vec<Wanted>, FlowError> {
    let mut wanted = Vec::new();
    let mut missing = Vec::new();
    for path in paths {
        match find(path, places)? {
            Some(found) => wanted.push(found),
            None => missing.push(path.as_str()),
        }
    }
    if missing.is_empty() {
        return Ok(wanted);
    }
    Err(FlowError::request_with_help(
        match places.control_host {
            true => format!("{option}: neither on the control host nor in the bundle: {}", missing.join(", ")),
            false => format!("{option}: not in the bundle: {}", missing.join(", ")),
        },
        "`bundle list` shows the bundle's rpms; `bundle repack --add FILE` puts one in",
    ))
}

fn find(path: &str, places: Places<'_>) -> Result<Option<Wanted>, FlowError> {
    let local = Utf8Path::new(path);
    let file_name = local.file_name().unwrap_or(path).to_owned();
    if places.control_host && local.is_file() {
        if file_name == path {
            trusted(local)?;
        }
        let id = read_id(local)?;
        let absolute = local.canonicalize_utf8().unwrap_or_else(|_| Utf8PathBuf::from(path));
        return Ok(Some(Wanted::Rpm { file_name, id, local: Some(absolute) }));
    }
    // Its bytes are checked with all of the bundle, before any host is connected to.
    let id = places.bundle.map(|bundle| id_in(bundle, &file_name)).transpose()?.flatten();
    Ok(id.map(|id| Wanted::Rpm { file_name, id, local: None }))
}

/// Which package a file of the bundle is. Platforms may have files of the same name: which of them a host gets is seen where
/// hosts are, what matters here is that all of them are one package.
fn id_in(bundle: &Bundle, file_name: &str) -> Result<Option<RpmId>, FlowError> {
    let mut files = bundle.rpm_files(file_name).filter_map(|member| Some((member, member.rpm.as_ref()?)));
    let Some((first, id)) = files.next() else { return Ok(None) };
    match files.find(|(_, other)| *other != id) {
        None => Ok(Some(id.clone())),
        Some((other, another)) => Err(FlowError::request_with_help(
            format!("{file_name} means several packages: {} is {id}, {} is {another}", first.name, other.name),
            "give them file names of their own in the bundle, or leave the option away to install by name",
        )),
    }
}

fn read_id(path: &Utf8Path) -> Result<RpmId, FlowError> {
    let rpm = payload::yum::RpmFile::read(path, "").map_err(|e| FlowError::request(e.to_string()))?;
    Ok(rpm.id)
}

/// The local files among `wanted`, for the repository to serve.
pub fn local_files(wanted: &[Wanted]) -> impl Iterator<Item = &Utf8PathBuf> {
    wanted.iter().filter_map(|w| match w {
        Wanted::Rpm { local, .. } => local.as_ref(),
        Wanted::Name(_) | Wanted::Version { .. } => None,
    })
}

/// Packages by name.
pub fn by_name<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<Wanted> {
    names.into_iter().map(|n| Wanted::Name(n.to_owned())).collect()
}

/// Whether the bundle holds a package of this name, for whichever hosts.
pub fn in_bundle(bundle: Option<&Bundle>, name: &str) -> bool {
    bundle.is_some_and(|b| b.manifest().members.iter().any(|m| m.rpm.as_ref().is_some_and(|r| r.name == name)))
}

/// The packages that the bundle has for a host.
pub fn for_host<'a>(bundle: Option<&'a Bundle>, facts: &'a Facts) -> impl Iterator<Item = &'a RpmId> {
    let packages = bundle.into_iter().flat_map(|bundle| bundle.manifest().packages_for(&facts.platform));
    packages.filter_map(|member| member.rpm.as_ref())
}

/// The newest of the packages of this name, which a package manager chooses.
pub fn newest<'a>(packages: impl Iterator<Item = &'a RpmId>, name: &str) -> Option<&'a RpmId> {
    let full = |id: &RpmId| format!("{}:{}-{}", id.epoch, id.version, id.release);
    packages.filter(|id| id.name == name).max_by(|a, b| rpm_version::rpm_evr_compare(&full(a), &full(b)))
}

/// The version of this package that a request comes to, as far as it can be said without a host: where platforms have different
/// ones in the bundle, the newest.
pub fn version(package: &str, wanted: &[Wanted], bundle: Option<&Bundle>) -> Option<String> {
    let all = bundle.into_iter().flat_map(|b| &b.manifest().members).filter_map(|m| m.rpm.as_ref());
    let of_bundle = || newest(all, package).map(|id| id.version.as_str());
    asked_version(package, wanted).or_else(of_bundle).map(str::to_owned)
}

/// The version of this package that is asked for, by its file or as such.
pub fn asked_version<'a>(package: &str, wanted: &'a [Wanted]) -> Option<&'a str> {
    wanted.iter().find_map(|w| match w {
        Wanted::Rpm { id, .. } if id.name == package => Some(id.version.as_str()),
        Wanted::Version { name, version } if name == package => Some(version),
        _ => None,
    })
}

/// A version by its numbers, for comparing: `1.36.3`.
pub fn numbers(version: &str) -> Vec<u32> {
    let digits = |part: &str| {
        part.chars().map_while(|c| c.to_digit(10)).fold(0, |n: u32, d| n.saturating_mul(10).saturating_add(d))
    };
    version.split('.').map(digits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert!(numbers("1.36.3") > numbers("1.9.11") && numbers("1.20.2~rc1") == [1, 20, 2]);
    }
}
