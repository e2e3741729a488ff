//! The repository and the ways to it, on real hosts: what is installed, by which way, and that nothing is left.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is how a test fails"
)]

mod faults;
mod held;
mod install;
mod platforms;
pub(crate) mod serve;
pub(crate) mod setup;
mod signed;
mod speed;
mod tried;
