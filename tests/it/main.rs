//! Integration tests, by feature, in one binary.

mod bundle;
mod cli;
mod host;
mod lab;
mod repo;
