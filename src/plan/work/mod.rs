//! Work that every flow needs: files, units, packages, and taking them back.

mod files;
mod firewall;
mod made;
mod packages;
mod undo;
mod unit;

pub use files::{Content, FileSpec, Files};
pub use firewall::FirewallPorts;
pub use made::{Made, make_first};
pub use packages::{Packages, RepositoryOff};
pub use undo::{Undo, lost};
pub use unit::{Reads, Unit};
