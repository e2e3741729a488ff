//! Integration tests, by feature, in one binary.

mod bare;
mod chance;
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
mod lease;
mod packed;
mod pure;
mod repo;
mod rest;
mod site;
