//! A registry of container images on hosts of the site: the distribution server, with TLS by an authority of the environment
//! and users. It is an operation of its own, as etcd is: a site may have one without Kubernetes. What makes the hosts of a
//! cluster trust it is a component of theirs. A registry that the site runs itself is known to the nodes the same way.

mod answers;
mod certificate;
mod collect;
mod config;
mod converge;
mod package;
mod plan;
mod remove;
mod served;
mod site;
mod state;
mod status;
mod storage;
mod users;

pub(super) use answers::Answers;
pub use collect::Collect;
pub(super) use config::certificate;
pub use converge::Converge;
pub use remove::Remove;
pub(crate) use served::{Registries, Served};
pub(crate) use site::Site;
pub use site::{SiteRegistry, Use};
pub use state::Registry;
pub use status::{Status, status};
