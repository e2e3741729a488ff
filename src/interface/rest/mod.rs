//! The REST listener (contract, section 3): requests in, tasks started and read. It translates, as every api does; the
//! work is [`crate::flow::run_job`]'s, and what is known of it the store's.

mod answer;
mod auth;
mod body;
mod caller;
mod ec2;
mod events;
#[cfg(any(test, feature = "fuzz"))]
pub(super) mod fuzz;
mod handlers;
mod job;
mod listener;
mod memory;
mod messages;
mod metrics;
mod openapi;
mod page;
mod recent;
mod routes;
mod runner;
mod seats;
mod status;

pub(crate) use auth::Auth;
pub(crate) use listener::{Tls, serve};
pub(crate) use memory::Memory;
pub(crate) use recent::Recent;
pub(crate) use routes::RestApi;
pub(crate) use runner::Runner;
