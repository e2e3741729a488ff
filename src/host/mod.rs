//! One SSH session to one host: run commands, write files, upload, forward a port, ask for facts.
//!
//! In flow a [`Target`] and [`Command`]s, out flow [`Output`]s and [`HostError`]s that say which host, what was tried and
//! why it failed. Nothing here knows what the commands are for.

mod address;
mod auth;
mod descriptors;
mod error;
mod exec;
mod facts;
mod fence;
mod forward;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod id;
mod known_hosts;
mod login;
mod mounts;
mod pace;
mod platform;
mod pool;
mod secret;
mod session;
mod shell;
mod target;
mod text;
mod transfer;
mod watchdog;

pub use address::Address;
pub use descriptors::{Need, raise as raise_descriptors};
pub use error::HostError;
pub use facts::{Evr, Facts, FoundFile, Interface, Listening, PackageManager, PodInterface, Probe, Route, UnitState};
pub use forward::Forward;
pub use id::HostId;
pub use known_hosts::HostKeyPolicy;
pub use mounts::Mount;
pub use pool::{for_each, for_each_as_it_comes};
pub use secret::Secret;
pub use session::{Connect, Host, Told, Watch};
pub use shell::{Command, Output};
pub(crate) use target::masked;
pub use target::{Auth, Target, TargetDefaults, TargetError};
pub(crate) use text::{harmless, one_line, record, tail};
pub use transfer::{FileMeta, NewFile};
