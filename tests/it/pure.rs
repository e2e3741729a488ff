//! Tests that boot no host of the lab. They run beside those that do, which wait for each other: `.config/nextest.toml` tells
//! them apart by this module's name, and [`crate::lab`] refuses to boot a host for a test in here.

mod ask;
mod bundle;
mod cli;
mod cluster_file;
pub(crate) mod ec2;
mod modules;
mod repo;
mod rest;
mod ssh;
