//! What is kept of an environment's etcd cluster, in the document `etcd`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::flow::error::FlowError;
use crate::flow::state::Environment;
use crate::host::HostId;

/// The ports of etcd's own documentation.
pub const CLIENT_PORT: u16 = 2379;
pub(super) const PEER_PORT: u16 = 2380;

/// An etcd cluster as it was set up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// `ETCD_INITIAL_CLUSTER_TOKEN`: made once, tells this cluster's data from any other's.
    pub token: String,
    pub tls: bool,
    /// A quorum of these members has answered; from now on a member without data joins, it does not bootstrap.
    pub standing: bool,
    /// flannel's package keeps its subnets here: members answer by etcd's version 2 API too.
    #[serde(default)]
    pub flannel: bool,
    /// By host.
    pub members: BTreeMap<HostId, Member>,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// `ETCD_NAME`: the host's own name, lower case.
    pub name: String,
    /// The address the other members see.
    pub address: IpAddr,
    pub joining: Joining,
}

/// How a member comes into its cluster: the two lines of its configuration that etcd reads at its first start only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Joining {
    /// With the others of the first set, whose `NAME=URL,…` this is.
    New(String),
    /// Into a running cluster, as etcd answered when the member was added.
    Existing(String),
}

impl Cluster {
    const DOCUMENT: &'static str = "etcd";

    pub fn load(environment: &Environment) -> Result<Option<Self>, FlowError> {
        environment.load(Self::DOCUMENT)
    }

    pub fn save(&self, environment: &Environment) -> Result<(), FlowError> {
        environment.save(Self::DOCUMENT, self)
    }

    fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }

    /// Members ask who a client is: flannel's certificate, which every node has, is limited to flannel's own keys.
    pub fn asks_for_users(&self) -> bool {
        self.flannel && self.tls
    }

    /// `https://10.8.14.200:2379`
    pub fn client_url(&self, address: IpAddr) -> String {
        format!("{}://{}", self.scheme(), std::net::SocketAddr::new(address, CLIENT_PORT))
    }

    pub fn peer_url(&self, address: IpAddr) -> String {
        format!("{}://{}", self.scheme(), std::net::SocketAddr::new(address, PEER_PORT))
    }

    /// All members' client URLs, in the order of their hosts.
    pub fn endpoints(&self) -> Vec<String> {
        self.members.values().map(|m| self.client_url(m.address)).collect()
    }

    /// `NAME=PEER-URL,…` of these members, as etcd's `initial-cluster` wants it.
    pub fn initial(&self, members: &[(&str, IpAddr)]) -> String {
        let parts: Vec<_> = members.iter().map(|(name, addr)| format!("{name}={}", self.peer_url(*addr))).collect();
        parts.join(",")
    }
}
