//! The deployer. `docs/architecture.md` has the order of its modules: a lower one never names a higher one.

pub mod deliver;
pub mod flow;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod host;
pub mod interface;
pub mod packages;
pub mod plan;
pub mod registry;
pub mod resource;
pub mod spec;
pub mod store;
