//! Hosts on EC2: made, watched until their checks pass, asked for, terminated, handed on to a cluster.
//!
//! The same road as every other operation ([`crate::flow::run_job`]), with steps of the control host only. Everything made
//! is tagged with the environment and with a number that only the control host's environment has; nothing else is ever
//! touched. Only [`cloud`] names types of the SDK; a build without the feature `ec2` has `absent.rs` in its place.

#![cfg_attr(not(feature = "ec2"), allow(dead_code, reason = "only the real cloud uses it"))]

#[cfg_attr(not(feature = "ec2"), path = "absent.rs")]
mod cloud;
mod create;
mod error;
mod instance;
pub mod join;
mod known;
mod making;
mod request;
mod status;
mod terminate;
mod wait;

pub(super) use create::Create;
pub use instance::Instance;
pub use request::{Access, Ec2Create, Ec2Terminate, INSTANCE_TYPE};
pub use status::{made, status};
pub(super) use terminate::Terminate;
