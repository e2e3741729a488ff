//! The deployer. `docs/architecture.md` has the order of its modules: a lower one never names a higher one.

pub mod flow;
pub mod host;
pub mod interface;
pub mod plan;
pub mod repo;
pub mod resource;
pub mod spec;
pub mod store;
