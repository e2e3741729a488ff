//! Package managers: what is wanted on a host, what the host's package manager would do about it, and its transaction.
//!
//! In: the run's repository (`deliver`), what is wanted on a host, and a session with that host. Out: the wanted packages
//! installed there, or what stands against it; nothing of a run is left on the host.

mod error;
mod evr;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod held;
mod hostrepo;
mod installation;
mod installed;
mod manager;
mod package_run;
mod problem;
mod reach;
mod rpm_test;
mod rpmonly;
mod signatures;
mod transaction;
mod trial;
mod wanted;

pub use error::PackageError;
pub use hostrepo::{HostRepo, Installed};
pub(crate) use installed::query as query_installed;
pub use problem::way_out_of;
pub use transaction::Transaction;
pub use wanted::{InstallOptions, Recorder, Wanted};
