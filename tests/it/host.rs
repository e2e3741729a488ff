//! The SSH session against real hosts: every way to log in, and everything that can go wrong with a host under way.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails")]
#![allow(clippy::print_stdout, reason = "the time of a transfer, shown with --nocapture")]

mod faults;
mod login;
mod setup;
mod transfer;
