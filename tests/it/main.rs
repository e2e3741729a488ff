//! Integration tests, by feature, in one binary.

mod bare;
mod bundle;
mod chance;
mod cli;
mod cluster;
mod ec2;
mod etcd;
mod etcd_killed;
mod etcd_members;
mod etcd_preflight;
mod firewall;
mod ground;
mod host;
mod lab;
mod packed;
mod repo;
mod rest;
mod site;
