//! A registry of container images on hosts of the site: the distribution server, with TLS by an authority of the environment
//! and users. It is an operation of its own, as etcd is: a site may have one without Kubernetes. What makes the hosts of a
//! cluster trust it is a component of theirs.

mod answers;
mod config;
mod converge;
mod package;
mod plan;
mod state;
mod storage;
mod users;

pub use converge::Converge;
pub use state::Registry;
pub(crate) use users::NodeLogin;
