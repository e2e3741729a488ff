//! Integration tests, by feature, in one binary.

mod chance;
mod cluster;
mod ec2;
mod etcd;
mod etcd_killed;
mod etcd_members;
mod etcd_preflight;
mod faults;
mod firewall;
mod ground;
mod host;
mod lab;
mod lease;
mod odd_hosts;
mod packed;
mod pure;
mod registry;
mod repo;
mod rest;
mod site;

/// The checkout that this test was started from. Build output outlives a checkout, so the path it was compiled at may be
/// that of another one.
#[allow(clippy::expect_used, reason = "a helper of tests: a panic is how a test fails")]
fn checkout() -> std::path::PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo starts the tests").into()
}
