//! Requests and facts in, steps out: what the product is for.
//!
//! [`run_job`] is the one way in: it locks the environment, connects to the hosts, finds every problem before anything
//! changes, makes the plan and has it run.

#[cfg(feature = "bench")]
pub mod bench;
mod certs;
mod clocks;
mod connect;
#[cfg(any(test, feature = "bench"))]
pub mod constructed;
mod descriptors;
mod disk_space;
pub mod ec2;
mod error;
pub mod etcd;
mod files;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
pub mod hosts;
mod job;
pub mod kubernetes;
mod logins;
mod loss;
mod lost;
mod masked;
mod names;
pub mod networks;
mod older;
mod operations;
mod ownership;
mod packages;
pub mod pki;
#[cfg(test)]
mod plan_tests;
mod problem;
pub mod registry;
pub mod request;
mod reset;
mod retry;
pub mod rpms;
mod scene;
mod state;
mod tlsclient;
mod trusted;
#[cfg(test)]
mod wrong_server;

pub use error::FlowError;
pub use job::{JobReport, Setup, run_job};
pub use logins::Logins;
pub use loss::loss;
pub use problem::Problem;
pub use state::{Environment, Forgotten, forget_environment, state_dir, user_state_dir};
pub use trusted::trusted;
