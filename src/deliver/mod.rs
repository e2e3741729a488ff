//! The bundle's packages and images on their way to the hosts: the temporary yum repository and the registry that a run
//! serves, and what a host needs to reach them by one of the routes.
//!
//! In: the bundle and rpms given with -f. Out: one listener per run, its `.repo` file and keys on a host, or the files
//! themselves over SSH. Which packages are wanted, and how a package manager takes them, is `packages`' business.

mod archive_server;
pub(crate) mod catalogue;
mod content;
mod delivery;
mod error;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod http;
mod image_archive;
pub(crate) mod images;
mod kept;
mod layout_tar;
mod listener;
mod local;
pub(crate) mod offer;
mod path;
pub(crate) mod probe;
pub(crate) mod push;
mod range;
pub(crate) mod reach;
mod registry;
pub(crate) mod repofile;
pub(crate) mod repository;
mod route;
pub(crate) mod server;
mod signing;
pub(crate) mod site;
mod stream;

#[cfg(test)]
mod server_tests;

pub use archive_server::ArchiveServer;
pub use delivery::Delivery;
pub use error::DeliverError;
pub use listener::{CONNECTIONS, listen};
pub use route::{Route, RouteChoice};
pub use server::{Place, Server};
