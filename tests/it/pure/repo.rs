//! The repository, on this machine's loopback.

#![allow(clippy::unwrap_used, reason = "helpers of tests: a panic is how a test fails")]

mod readers;
mod registry;
mod serve;
