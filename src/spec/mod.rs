//! One description of a cluster and what to do about it, whichever interface it came through: every interface only parses
//! into a [`ClusterSpec`] and an [`Intent`]; [`operations()`] turns both into the operations that run.
//!
//! `cluster.yaml` is the description as a file: its text becomes a tree that knows its lines (`yaml`), which is held against the
//! table of fields (`fields`, `check`), read as a value (`file`), judged as a whole (`validate`) and given the secrets
//! that it refers to (`logins`). The same table makes the JSON schema (`schema`) and orders the file when it is written
//! (`write`). `stored` describes what an environment has, and what a file no longer names of it.

mod check;
mod cluster;
mod components;
mod describe;
mod fields;
mod file;
mod free;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod logins;
mod operations;
mod problem;
mod replace;
mod schema;
mod stored;
mod validate;
mod values;
mod write;
mod yaml;

#[cfg(test)]
mod tests;

pub use cluster::{ClusterSpec, EtcdSpec, Intent, KubernetesSpec, Request, Role, SiteRegistry};
pub use describe::{Described, describe};
pub use file::{
    ClusterFile, ConfigFields, DnsFields, EtcdFields, FlannelFields, HostFields, KubernetesFields, LoginFields,
    ProgramFields, RegistryFields, RegistryUserFields, SiteRegistryFields,
};
pub use logins::Surroundings;
pub use operations::{of_all, operations};
pub use replace::Replacement;
pub use schema::schema;
pub use stored::{Leaving, check_kept, keep, leaving, removal, stored};
pub use write::to_yaml;
