//! The bundle's packages on their way to the hosts: the temporary yum repository that a run serves, and what a host needs to
//! reach it by one of the routes.
//!
//! In: the bundle and rpms given with -f. Out: one listener per run, its `.repo` file and keys on a host, or the files
//! themselves over SSH. Which packages are wanted, and how a package manager takes them, is `packages`' business.

pub(crate) mod catalogue;
mod content;
mod error;
mod http;
mod kept;
mod listener;
mod local;
mod path;
pub(crate) mod probe;
pub(crate) mod push;
mod range;
pub(crate) mod repofile;
mod route;
pub(crate) mod server;
mod signing;
pub(crate) mod site;
mod stream;

#[cfg(test)]
mod server_tests;

pub use error::DeliverError;
pub use listener::CONNECTIONS;
pub use route::{Route, RouteChoice};
pub use server::Server;
