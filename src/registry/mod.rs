//! A registry of the site (Harbor, Nexus, the distribution server), spoken to as the OCI distribution specification 1.1 has
//! it: images of a bundle are pushed there, and what is there is listed. Images and a [`Registry`] flow in, reports and
//! errors that name the registry flow out.

mod challenge;
mod client;
mod error;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod list;
mod place;
mod push;

pub use client::{Client, Login, Registry};
pub use error::RegistryError;
pub use list::{Repository, list};
pub use place::Place;
pub use push::{Destination, Pushed, clashes, push};
