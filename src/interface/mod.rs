//! The interfaces: what users and programs call. Each reads words and gives one [`crate::flow::request::Job`]; an interface
//! translates, it has no logic of its own.

mod accepts;
mod argv;
mod ask;
pub mod bundle;
mod bundle_text;
mod cli;
mod cluster;
mod cluster_file;
mod cluster_replace;
mod cluster_show;
mod core_dump;
mod credentials;
mod deploy;
mod ec2;
mod etcd;
mod exit;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod hosts;
mod ini;
mod legacy;
mod log;
mod login;
mod man;
mod onekey;
mod record;
mod registry;
mod registry_own;
mod registry_serve;
pub mod repo;
mod rest;
mod serve;
mod signals;
mod start;
mod support;
mod terminal;
mod unfinished;
mod unit;

pub use cli::main;
