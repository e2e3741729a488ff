//! The options of Kubernetes' programs as systemd services, by its minor version: one that a version does not know is never
//! written, for it would keep the program from starting.
//!
//! Every row of the tables in this folder names the minor versions in which an option is written, from the first to the last: in
//! which the program knows it, and does not do the same without it. [`since`] has what else depends on the version. The tests hold
//! the tables against a list of when upstream's sources got and lost each option.

mod control_plane;
mod kubelet;
mod policy;
#[cfg(test)]
pub(super) mod rendered;
pub(super) mod since;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod upstream;

use std::ops::{Bound, RangeBounds};

use crate::flow::problem::Problem;

use super::version;

pub(super) use control_plane::{api_server, controller_manager, scheduler};
pub(super) use kubelet::{IMAGES_STAY, configuration, kube_proxy, kubelet, with_containerd, with_docker};
pub(super) use policy::policy;

/// The oldest and the newest minor version that the tables have been written for.
const KNOWN: (u32, u32) = (5, 36);

/// A row of a table.
struct Row<T> {
    first: u32,
    last: u32,
    value: T,
}

/// A row for these minor versions.
fn row<T>(minors: impl RangeBounds<u32>, value: T) -> Row<T> {
    let first = match minors.start_bound() {
        Bound::Included(first) => *first,
        Bound::Excluded(before) => before + 1,
        Bound::Unbounded => 0,
    };
    let last = match minors.end_bound() {
        Bound::Included(last) => *last,
        Bound::Excluded(behind) => behind - 1,
        Bound::Unbounded => u32::MAX,
    };
    Row { first, last, value }
}

/// A row with an option of a command line.
fn option(minors: impl RangeBounds<u32>, option: impl Into<String>) -> Row<String> {
    row(minors, option.into())
}

/// What a version gets of a table, in its order. One that is not known gets what the nearest older one gets, or the oldest.
fn of<T>(minor: u32, table: Vec<Row<T>>) -> Vec<T> {
    let minor = minor.clamp(KNOWN.0, KNOWN.1);
    let is_written = |row: &Row<T>| (row.first..=row.last).contains(&minor);
    table.into_iter().filter(is_written).map(|row| row.value).collect()
}

/// What every program gets: where it logs to. It is the default since long, deprecated from 1.23 on and unknown from 1.26 on.
pub(super) fn logging(minor: u32) -> Vec<String> {
    of(minor, vec![option(5..=22, "--logtostderr=true")])
}

/// What is to be said of a version that the tables have not been written for. `version`: that of the package `name`, as far as
/// it is known; `fallback`: the minor version that is written for when it is not.
pub(super) fn check_version(name: &str, version: Option<&str>, fallback: u32) -> Option<Problem> {
    let (oldest, newest) = KNOWN;
    let minor = version.and_then(version::minor);
    let (text, of) = match (version, minor) {
        (None, _) => (format!("the version of {name} is not known before it is installed"), fallback),
        (Some(version), None) => (format!("{name} {version}: this is no version of Kubernetes 1"), fallback),
        (Some(_), Some(minor)) if (oldest..=newest).contains(&minor) => return None,
        (Some(version), Some(minor)) if minor < oldest => {
            (format!("{name} {version} is older than all that is supported"), oldest)
        }
        (Some(version), Some(_)) => (format!("{name} {version} is newer than all that is supported"), newest),
    };
    let text = format!("{text}; its services get the options of Kubernetes 1.{of}");
    let help = format!("where they do not start, use a version from 1.{oldest} to 1.{newest}, from the bundle");
    Some(Problem::warning(None, text, Some(help)))
}
