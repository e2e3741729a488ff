//! Integration tests, by feature, in one binary.

mod bundle;
mod lab;
mod repo;
