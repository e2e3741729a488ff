//! Where the API servers keep their data: the etcd cluster of the environment, or one that the site runs.

use crate::flow::error::FlowError;
use crate::flow::etcd;
use crate::host::Target;

use super::state::{Cluster, EtcdAccess};

/// For a new cluster: the members named, else the environment's own etcd.
pub(super) fn first(named: &[Target], own: Option<&etcd::Cluster>, environment: &str) -> Result<EtcdAccess, FlowError> {
    let given: Vec<_> = named.iter().map(Target::id).collect();
    match own {
        Some(cluster) if given.iter().all(|host| cluster.members.contains_key(host)) => Ok(of(cluster)),
        _ if !given.is_empty() => {
            let url = |t: &Target| format!("http://{}:{}", t.address.before_port(), etcd::CLIENT_PORT);
            Ok(EtcdAccess { endpoints: named.iter().map(url).collect(), tls: false })
        }
        _ => Err(FlowError::request_with_help(
            format!("environment {environment} has no etcd cluster, and none is named"),
            "create one on the same line with -create_etcd_cluster, or name its members with -enl",
        )),
    }
}

/// For a cluster that is there: its own etcd may have other members by now.
pub(super) fn again(known: &Cluster, own: Option<&etcd::Cluster>) -> EtcdAccess {
    match own {
        Some(cluster) if cluster.endpoints().iter().any(|url| known.etcd.endpoints.contains(url)) => of(cluster),
        _ => known.etcd.clone(),
    }
}

fn of(cluster: &etcd::Cluster) -> EtcdAccess {
    EtcdAccess { endpoints: cluster.endpoints(), tls: cluster.tls }
}
