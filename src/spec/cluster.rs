//! The description itself: hosts with roles, and what etcd and Kubernetes are made with.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::flow::FlowError;
use crate::flow::request::{ClusterSettings, RegistrySettings, SiteRegistrySettings};
use crate::host::{HostId, Target};

/// What a host is in a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    Etcd,
    #[serde(alias = "master")]
    ControlPlane,
    #[serde(alias = "node")]
    Worker,
    Registry,
}

impl Role {
    pub const ALL: [Self; 4] = [Self::Etcd, Self::ControlPlane, Self::Worker, Self::Registry];

    /// As the file has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ControlPlane => "control-plane",
            Self::Worker => "worker",
            Self::Registry => "registry",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A cluster: its hosts with their roles and logins, and what it is made with.
///
/// A host is known by its address alone, as the state of environments has it. Roles keep the order in which hosts were named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterSpec {
    hosts: BTreeMap<HostId, Target>,
    roles: BTreeMap<Role, Vec<HostId>>,
    /// Hosts that are named for their credentials, whether they have a role or not.
    named: Vec<HostId>,
    pub etcd: EtcdSpec,
    pub registry: RegistrySettings,
    /// `None`: nothing is said of it, and it stays what it is.
    pub site_registry: Option<SiteRegistry>,
    /// The request behind this one updates etcd's members in the API servers that stay.
    pub api_servers_later: bool,
    /// `None`: this is about etcd only.
    pub kubernetes: Option<KubernetesSpec>,
}

/// What nodes are to know of a registry that the site runs itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SiteRegistry {
    Use(SiteRegistrySettings),
    Forget,
}

/// What an etcd cluster is made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdSpec {
    pub tls: bool,
    /// Install from these files (a path on the control host, else a file name of the bundle) instead of by name.
    pub rpms: Vec<String>,
}

impl Default for EtcdSpec {
    fn default() -> Self {
        Self { tls: true, rpms: Vec::new() }
    }
}

/// What a Kubernetes cluster is made with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KubernetesSpec {
    pub settings: ClusterSettings,
    /// These are from a file, which says all that is to be set on components.
    pub described: bool,
    /// Members of an existing etcd cluster to use instead of hosts with the role etcd.
    pub external_etcd: Vec<Target>,
    pub control_plane_rpms: Vec<String>,
    pub worker_rpms: Vec<String>,
}

/// What is to be done with a [`ClusterSpec`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intent {
    /// Make the cluster what the spec says. Hosts that it does not name stay as they are.
    Converge {
        /// Addresses of members whose foreign or old data may be deleted.
        wipe_data: Vec<String>,
    },
    /// Hosts with roles join the environment's cluster.
    Add,
    /// They leave it: either those that are its registry, or those with other roles.
    Remove {
        /// Go on when a drain does not end in time, and when a host does not answer.
        force: bool,
        drain_timeout: Option<Duration>,
    },
    /// New certificates; hosts are named for their credentials.
    Renew,
    /// What the hosts named, or all that run pods, lack of the bundle's images is brought back.
    SyncImages,
    /// The hosts named, or all of the environment, become what they were before.
    Reset {
        /// Addresses of hosts whose etcd data goes too.
        wipe_data: Vec<String>,
        wipe_all: bool,
        /// Environments whose objects go as if they were this one's.
        recorded_by: Vec<String>,
    },
}

impl Intent {
    /// [`Intent::Converge`] that deletes no data.
    pub fn converge() -> Self {
        Self::Converge { wipe_data: Vec::new() }
    }
}

/// What an interface read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub spec: ClusterSpec,
    pub intent: Intent,
}

impl ClusterSpec {
    /// A description of etcd only, without a host so far.
    pub fn of_etcd(etcd: EtcdSpec) -> Self {
        Self { etcd, ..Self::default() }
    }

    /// Gives hosts a role.
    ///
    /// # Errors
    /// When a host is known with another login.
    pub fn add(&mut self, role: Role, targets: Vec<Target>) -> Result<(), FlowError> {
        for target in targets {
            let address = self.learn(target)?;
            let hosts = self.roles.entry(role).or_default();
            if !hosts.contains(&address) {
                hosts.push(address);
            }
        }
        Ok(())
    }

    /// Names hosts for their credentials.
    ///
    /// # Errors
    /// When a host is known with another login.
    pub fn name(&mut self, targets: Vec<Target>) -> Result<(), FlowError> {
        for target in targets {
            let address = self.learn(target)?;
            if !self.named.contains(&address) {
                self.named.push(address);
            }
        }
        Ok(())
    }

    fn learn(&mut self, target: Target) -> Result<HostId, FlowError> {
        let id = target.id();
        match self.hosts.get(&id) {
            Some(known) if !known.same_login(&target) => {
                return Err(FlowError::request(format!("{id} is given twice with different credentials")));
            }
            Some(_) => {}
            None => {
                self.hosts.insert(id.clone(), target);
            }
        }
        Ok(id)
    }

    /// The hosts of a role, in the order in which they were named.
    pub fn hosts(&self, role: Role) -> Vec<Target> {
        self.targets(self.roles.get(&role).map_or(&[], Vec::as_slice))
    }

    /// The hosts named for their credentials.
    pub fn named(&self) -> Vec<Target> {
        self.targets(&self.named)
    }

    /// Every host.
    pub fn all(&self) -> impl Iterator<Item = &Target> {
        self.hosts.values()
    }

    /// The same, to complete logins.
    pub fn all_mut(&mut self) -> impl Iterator<Item = &mut Target> {
        self.hosts.values_mut()
    }

    fn targets(&self, hosts: &[HostId]) -> Vec<Target> {
        hosts.iter().filter_map(|id| self.hosts.get(id).cloned()).collect()
    }

    /// Whether a host has this role. Without any worker the control plane nodes are workers too.
    pub fn has(&self, host: &HostId, role: Role) -> bool {
        let is = |role| self.roles.get(&role).into_iter().flatten().any(|id| id == host);
        let no_worker = self.roles.get(&Role::Worker).is_none_or(Vec::is_empty);
        is(role) || role == Role::Worker && no_worker && is(Role::ControlPlane)
    }

    /// Both descriptions as one: one of them says how etcd is made, the other how Kubernetes is.
    ///
    /// # Errors
    /// When they name a host with different logins.
    pub fn merge(mut self, other: Self) -> Result<Self, FlowError> {
        for role in Role::ALL {
            self.add(role, other.hosts(role))?;
        }
        self.name(other.named())?;
        let (etcd, registry) = (other.hosts(Role::Etcd), other.hosts(Role::Registry));
        if !etcd.is_empty() {
            self.etcd = other.etcd;
        }
        if !registry.is_empty() {
            self.registry = other.registry;
        }
        self.site_registry = self.site_registry.or(other.site_registry);
        self.kubernetes = self.kubernetes.or(other.kubernetes);
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::TargetDefaults;

    fn targets(texts: &[&str]) -> Vec<Target> {
        texts.iter().map(|t| Target::parse(t, &TargetDefaults::default()).unwrap()).collect()
    }

    #[test]
    fn roles_keep_the_order_in_which_hosts_were_named() {
        let mut spec = ClusterSpec::default();
        spec.add(Role::ControlPlane, targets(&["10.0.0.3"])).unwrap();
        spec.add(Role::Worker, targets(&["10.0.0.2", "10.0.0.3", "10.0.0.1", "10.0.0.2"])).unwrap();
        assert_eq!(spec.hosts(Role::Worker), targets(&["10.0.0.2", "10.0.0.3", "10.0.0.1"]));
        assert_eq!(spec.all().count(), 3);
        assert!(spec.has(&"10.0.0.3".into(), Role::ControlPlane) && !spec.has(&"10.0.0.1".into(), Role::ControlPlane));
    }

    #[test]
    fn without_workers_the_control_plane_nodes_are_workers() {
        let mut spec = ClusterSpec::default();
        spec.add(Role::ControlPlane, targets(&["10.0.0.1"])).unwrap();
        assert!(spec.has(&"10.0.0.1".into(), Role::Worker));
        spec.add(Role::Worker, targets(&["10.0.0.2"])).unwrap();
        assert!(!spec.has(&"10.0.0.1".into(), Role::Worker));
    }

    #[test]
    fn one_host_has_one_login() {
        let mut spec = ClusterSpec::default();
        spec.add(Role::Etcd, targets(&["root:a@10.0.0.1"])).unwrap();
        let error = spec.add(Role::Worker, targets(&["root:geheim@10.0.0.1"])).unwrap_err().to_string();
        assert_eq!(error, "10.0.0.1 is given twice with different credentials");
        spec.name(targets(&["root:b@10.0.0.1:23"])).unwrap();
        assert_eq!(spec.all().count(), 2, "another port is another host");
        let mut other = ClusterSpec::default();
        other.add(Role::Worker, targets(&["root:b@10.0.0.1"])).unwrap();
        assert!(spec.merge(other).is_err());
    }
}
