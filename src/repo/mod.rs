//! The temporary yum repository, and the way each host reaches it.
//!
//! In: the bundle, rpms given with -f, what is wanted on a host, and a session with that host. Out: the wanted
//! packages installed there, or what stands against it; nothing of this module is left on the host.

mod catalogue;
mod content;
mod error;
mod evr;
mod held;
mod hostrepo;
mod http;
mod installation;
mod installed;
mod kept;
mod listener;
mod local;
mod manager;
mod package_run;
mod path;
mod probe;
mod problem;
mod range;
mod repofile;
mod route;
mod rpmonly;
mod server;
mod signatures;
mod signing;
mod site;
mod stream;
mod transaction;
mod trial;
mod upload;
mod wanted;
mod way;

#[cfg(test)]
mod server_tests;

pub use error::RepoError;
pub use hostrepo::{HostRepo, Installed};
pub use listener::CONNECTIONS;
pub use route::{Route, RouteChoice};
pub use server::Server;
pub use transaction::Transaction;
pub use wanted::{InstallOptions, Wanted};

/// A checksum as yum metadata writes it.
fn sha256_hex(bytes: &[u8]) -> String {
    payload::Sha256::of(bytes).to_string()
}
