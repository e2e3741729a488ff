//! Work that every flow needs: files, units, packages, and taking them back.

mod files;
mod firewall;
mod packages;
mod undo;
mod unit;

pub use files::{FileSpec, Files};
pub use firewall::FirewallPorts;
pub use packages::{Packages, RepositoryOff};
pub use undo::Undo;
pub use unit::Unit;
