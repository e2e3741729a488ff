//! What can go wrong between a host and its packages.

use std::collections::BTreeSet;

use payload::Platform;

use crate::deliver::{DeliverError, Route};
use crate::host::{HostError, HostId};

/// An error of this module. Its text says what was tried, on which host, and why it failed; [`PackageError::help`] what
/// the user can do.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The repository, or the way there.
    #[error(transparent)]
    Deliver(#[from] DeliverError),
    /// The session with the host.
    #[error(transparent)]
    Host(#[from] HostError),
    /// Neither dnf5, dnf, yum nor rpm.
    #[error("{host} has no package manager that is known here (dnf5, dnf, yum, rpm)")]
    NoPackageManager { host: HostId },
    /// Packages from the host's own repositories, on a host that has only rpm.
    #[error("{host} has only rpm, which cannot fetch {} from the host's own repositories", .names.join(", "))]
    NoOwn { host: HostId, names: Vec<String> },
    /// None of the routes allowed works.
    #[error("{host} cannot reach the repository: {}", .tried.iter().map(|(route, why)| format!("{route}: {why}")).collect::<Vec<_>>().join("; "))]
    NoRoute { host: HostId, tried: Vec<(Route, String)> },
    /// A newer version is there already.
    #[error("{host} has {name} {installed} installed, newer than {wanted}")]
    Newer { host: HostId, name: String, installed: String, wanted: String },
    /// The bundle has packages for hosts of other platforms only: a name or a file's name, and for which.
    #[error("{}", other_platform(host, platform, packages))]
    OtherPlatform { host: HostId, platform: String, packages: Vec<(String, Vec<Platform>)> },
    /// The bundle has the package in other versions.
    #[error("{host} needs {wanted}, and the bundle has it in other versions only: {}", .offered.iter().map(String::as_str).collect::<Vec<_>>().join(", "))]
    OtherVersion { host: HostId, wanted: String, offered: BTreeSet<String> },
    /// The package manager found no solution; nothing was changed.
    #[error("{host} cannot install {}: {}", .wanted.join(", "), .problems.join("; "))]
    Unsolvable { host: HostId, wanted: Vec<String>, problems: Vec<String> },
    /// Another package manager did not finish in time.
    #[error("{host}: {holder} holds the package manager's lock, waited {waited} s for it")]
    Locked { host: HostId, holder: String, waited: u64 },
    /// The packages did not arrive.
    #[error("{host} could not fetch packages by {route}: {detail}")]
    Download { host: HostId, route: Route, detail: String },
    /// The package manager failed in another way.
    #[error("{host}: `{command}` ended with status {status}: {detail}")]
    Failed { host: HostId, command: String, status: i32, detail: String },
    /// The transaction ended well, but the package is not there.
    #[error("{host}: {package} is still not installed although `{command}` reported success")]
    NotThere { host: HostId, package: String, command: String },
}

impl PackageError {
    /// What the user can do about it.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Deliver(error) => error.help(),
            Self::Host(error) => error.help(),
            Self::NoRoute { .. } => {
                Some("--repo-route auto tries every route; `push` needs no more than the SSH session itself".into())
            }
            Self::Newer { name, .. } => Some(format!(
                "take {name} off the list, or give --allow-downgrade to put the older version in its place"
            )),
            Self::OtherPlatform { platform, .. } if platform.is_empty() => Some(
                "put packages for all hosts into the bundle (`bundle repack --add FILE`), name rpms of the control host with -f, \
                 or leave the host out"
                    .into(),
            ),
            Self::OtherPlatform { platform, .. } => Some(format!(
                "put {platform}'s packages into the bundle (`bundle repack --platform {platform} --add FILE`), or leave the host \
                 out; where hosts differ, leave -f, -fm and -fn away: by name each gets what is for it"
            )),
            Self::OtherVersion { .. } => Some(
                "a cluster keeps its version of Kubernetes: use the bundle that it was made with, or put packages of that \
                 version into this one (`bundle repack --add FILE`)"
                    .into(),
            ),
            Self::Unsolvable { problems, .. } => super::problem::way_out(problems),
            Self::Locked { .. } => {
                Some("wait until it has finished (an automatic update, perhaps), then run again".into())
            }
            Self::Download { .. } => {
                Some("run the same command again once the host is reachable: it continues where it stopped".into())
            }
            Self::NoOwn { .. } => Some("put the packages into the bundle, or give them with -f".into()),
            Self::NoPackageManager { .. } => {
                Some("RHEL, CentOS, Rocky, AlmaLinux, Fedora and their relatives are supported".into())
            }
            _ => None,
        }
    }

    /// The host was not there, or went away: nothing is known to be wrong with it.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Host(error) => error.is_unreachable(),
            Self::Deliver(error) => error.is_unreachable(),
            _ => false,
        }
    }

    /// Whether the bundle, or what a host got of it, is damaged (exit code 3).
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Deliver(error) if error.is_damage())
    }
}

fn other_platform(host: &HostId, platform: &str, packages: &[(String, Vec<Platform>)]) -> String {
    let platforms = |all: &[Platform]| all.iter().map(Platform::as_str).collect::<Vec<_>>().join(", ");
    let packages = packages.iter().map(|(package, all)| format!("{package} (for {})", platforms(all)));
    let packages = packages.collect::<Vec<_>>().join(", ");
    let platform = if platform.is_empty() { "of no known platform" } else { platform };
    format!("{host} is {platform}, and the bundle has for other platforms only: {packages}")
}
