//! The deployer, from the ground up; a lower room never names a higher one.

pub mod door;
pub mod flow;
pub mod host;
pub mod plan;
pub mod repo;
pub mod spec;
pub mod store;
