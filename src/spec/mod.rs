//! One description of a cluster and what to do about it, whichever interface it came through: every interface only parses
//! into a [`ClusterSpec`] and an [`Intent`]; [`operations()`] turns both into the operations that run.

mod cluster;
mod operations;

pub use cluster::{ClusterSpec, EtcdSpec, Intent, KubernetesSpec, Request, Role};
pub use operations::{of_all, operations};
