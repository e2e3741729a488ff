//! etcd clusters: created, grown, shrunk, asked how they are.
//!
//! The cluster's members and their token are kept in the environment's document `etcd` *before* the first member starts, so
//! a run that is killed anywhere starts the same cluster again and never a second one over the same data.

mod client;
mod config;
mod converge;
mod decide;
mod etcdctl;
#[cfg(any(test, feature = "fuzz"))]
pub(super) mod fuzz;
mod join;
mod plan;
mod preflight;
mod probe;
mod remove;
mod state;
mod status;
mod users;
mod verify;

pub(crate) use client::{health, version};
pub(crate) use config::{authority, client_keys};
pub use converge::Converge;
pub(crate) use plan::{answers, knows_users};
pub(crate) use preflight::member_address;
pub(crate) use probe::{Found, MarkData, PROBE};
pub use remove::Remove;
pub use state::{CLIENT_PORT, Cluster, Joining, Member};
pub use status::{MemberStatus, Status, status};
pub(crate) use verify::WipeOwn;
