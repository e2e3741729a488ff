//! Tests of the bundle format, by feature, in one binary.
// A test's helpers fail as its own lines do; clippy.toml frees only the functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rpmbuild;
mod support;
mod xml;

mod damage;
mod images;
mod install;
mod metadata;
mod platforms;
mod roundtrip;
mod space;
mod split;
