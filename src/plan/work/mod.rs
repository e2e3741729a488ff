//! Work that every flow needs: files, units, packages.

mod files;
mod firewall;
mod packages;
mod unit;

pub use files::{FileSpec, Files};
pub use firewall::FirewallPorts;
pub use packages::Packages;
pub use unit::Unit;
