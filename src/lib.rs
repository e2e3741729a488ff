//! The deployer, from the ground up; a lower room never names a higher one.

pub mod host;
pub mod repo;
