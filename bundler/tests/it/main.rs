//! The bundler as its users run it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod build;
mod collect;
mod etcd_image;
mod setup;
