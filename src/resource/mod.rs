//! What steps make on hosts: files, units, packages, ports, images, what the kernel does. Each resource checks, applies and
//! verifies itself, and brings the kinds of objects that it records with how they are undone. In flow what a component
//! wants; out flow commands for a host.

mod entries;
mod fapolicy;
mod files;
mod firewall;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod hold;
mod image;
mod image_copy;
mod image_store;
mod kept;
mod kernel;
pub mod kind;
mod link;
mod only_files;
mod packages;
mod program;
mod record;
mod selinux;
#[cfg(test)]
mod trial;
mod undo;
mod unit;

pub use entries::Entries;
pub use files::{Content, FileSpec, Files};
pub use firewall::FirewallPorts;
pub use hold::Hold;
pub use image::{Contents, Image, Images, archive_size, space_for};
pub use image_copy::ImageCopy;
pub use image_store::{CONTAINERD, DOCKER, Store};
pub use kernel::{Brings, Kernel, Module};
pub use link::Link;
pub use only_files::OnlyFiles;
pub use packages::{Packages, RepositoryOff};
pub use record::{DELETES, NOBODYS, READS_RECORD, RECORD_DIR, Record, RecordLine};
pub use selinux::SeBool;
pub use undo::{Undo, lost};
pub use unit::{Reads, Unit};

/// What [`Unit`]s are called among what steps own ([`crate::plan::Owned`]).
pub const UNIT: &str = unit::UNIT.name;
