//! Integration tests, by feature, in one binary.

mod bundle;
mod cli;
mod cluster;
mod etcd;
mod ground;
mod host;
mod lab;
mod repo;
mod rest;
mod site;
