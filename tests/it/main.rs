//! Integration tests, by feature, in one binary.

mod bundle;
mod cli;
mod lab;
mod repo;
