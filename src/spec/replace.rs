//! One host of a cluster replaced by another, in all of its roles.

use std::time::Duration;

use crate::flow::FlowError;
use crate::host::{HostId, Target};

use super::cluster::{ClusterSpec, EtcdSpec, Intent, KubernetesSpec, Request, Role};
use super::file::ClusterFile;
use super::stored::id;

/// A host and its replacement.
#[derive(Debug)]
pub struct Replacement {
    /// The host that leaves, under the roles that it was named with.
    pub old: Target,
    pub named: Vec<Role>,
    pub new: Target,
    /// Others of the cluster, for their credentials.
    pub also: Vec<Target>,
    /// The host that leaves may be gone for good: then it leaves first, so that etcd counts it no longer when the new one joins.
    pub force: bool,
    pub drain_timeout: Option<Duration>,
}

impl Replacement {
    /// The requests that it comes to, in the order in which they are to run: none when it is done already.
    ///
    /// # Errors
    /// When the cluster has no such host, or it cannot be replaced.
    pub fn requests(&self, stored: &ClusterFile) -> Result<Vec<Request>, FlowError> {
        let (old, new) = (self.old.id(), self.new.id());
        if old == new {
            return Err(FlowError::request(format!("{old} cannot take its own place")));
        }
        let roles = roles(stored, &old);
        if roles.is_empty() {
            let taken = roles_of(stored, &new);
            if self.named.iter().all(|role| taken.contains(role)) {
                return Ok(Vec::new());
            }
            return Err(FlowError::request_with_help(
                format!("{old} is no host of the environment's cluster"),
                "`cluster show` prints its hosts; a new one joins with `cluster add`",
            ));
        }
        if let Some(role) = self.named.iter().find(|role| !roles.contains(role)) {
            let has: Vec<&str> = roles.iter().map(|role| role.name()).collect();
            return Err(FlowError::request(format!("{old} has not the role {role}, it is {}", has.join(", "))));
        }
        let mut join = self.spec(stored, &roles, &self.new)?;
        let mut leave = self.spec(stored, &roles, &self.old)?;
        // API servers that stay are restarted once, with the members that are there in the end.
        let (first, last, beside) =
            if self.force { (&mut leave, &mut join, None) } else { (&mut join, &mut leave, Some(&self.new)) };
        first.api_servers_later = true;
        last.name(self.also.iter().chain(beside).cloned().collect())?;
        let join = Request { spec: join, intent: Intent::Add };
        let intent = Intent::Remove { force: self.force, drain_timeout: self.drain_timeout };
        let leave = Request { spec: leave, intent };
        Ok(if self.force { vec![leave, join] } else { vec![join, leave] })
    }

    fn spec(&self, stored: &ClusterFile, roles: &[Role], host: &Target) -> Result<ClusterSpec, FlowError> {
        let mut spec = ClusterSpec::of_etcd(EtcdSpec::default());
        spec.kubernetes = stored.kubernetes.as_ref().map(|_| KubernetesSpec::default());
        for role in roles {
            spec.add(*role, vec![host.clone()])?;
        }
        Ok(spec)
    }
}

/// What a host is in the cluster. A registry stays where its images are.
fn roles(stored: &ClusterFile, host: &HostId) -> Vec<Role> {
    roles_of(stored, host).into_iter().filter(|role| *role != Role::Registry).collect()
}

fn roles_of(stored: &ClusterFile, host: &HostId) -> Vec<Role> {
    let found = stored.hosts.iter().find(|known| id(known).as_ref() == Some(host));
    found.map(|known| known.roles.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use crate::flow::request::Operation;
    use crate::host::TargetDefaults;
    use crate::spec::{HostFields, KubernetesFields, of_all};

    use super::*;

    fn target(host: &str) -> Target {
        Target::parse(host, &TargetDefaults::default()).unwrap()
    }

    fn stored(hosts: &[(&str, &[Role])]) -> ClusterFile {
        let host = |(address, roles): &(&str, &[Role])| HostFields {
            address: (*address).to_owned(),
            roles: roles.to_vec(),
            ..HostFields::default()
        };
        ClusterFile {
            hosts: hosts.iter().map(host).collect(),
            kubernetes: Some(KubernetesFields::default()),
            ..ClusterFile::default()
        }
    }

    fn replacement(old: &str, named: &[Role], new: &str, force: bool) -> Replacement {
        Replacement {
            old: target(old),
            named: named.to_vec(),
            new: target(new),
            also: vec![target("root:c@10.0.0.3")],
            force,
            drain_timeout: None,
        }
    }

    const ALL: &[Role] = &[Role::Etcd, Role::ControlPlane, Role::Worker, Role::Registry];

    #[test]
    fn the_new_host_takes_all_roles_before_the_old_one_leaves() {
        let known = stored(&[("10.0.0.1", ALL), ("10.0.0.3", ALL)]);
        let asked = replacement("root:a@10.0.0.1", &[Role::ControlPlane], "root:b@10.0.0.2", false);
        let operations = of_all(&asked.requests(&known).unwrap());
        let [Operation::ClusterAdd(add), Operation::ClusterRemove(remove)] = &operations[..] else {
            panic!("{operations:?}")
        };
        let new = vec![asked.new.clone()];
        assert!(add.control_plane == new && add.workers == new && add.etcd == new);
        let old = vec![asked.old.clone()];
        assert!(remove.control_plane == old && remove.workers == old && remove.etcd == old && !remove.force);
        assert!(add.api_servers_later && !remove.api_servers_later && remove.also.contains(&asked.new));

        let asked = replacement("root:a@10.0.0.1", &[Role::ControlPlane], "root:b@10.0.0.2", true);
        let operations = of_all(&asked.requests(&known).unwrap());
        let [Operation::ClusterRemove(remove), Operation::ClusterAdd(add)] = &operations[..] else {
            panic!("{operations:?}")
        };
        assert!(remove.force && remove.api_servers_later && !add.api_servers_later);
        assert!(!add.also.contains(&asked.old), "a host that is gone is asked nothing");
    }

    #[test]
    fn a_replacement_that_is_done_is_nothing_and_a_wrong_one_is_refused() {
        let known = stored(&[("10.0.0.2", &[Role::ControlPlane]), ("10.0.0.3", &[Role::Worker])]);
        let of = |old: &str, role: Role, new: &str| replacement(old, &[role], new, false).requests(&known);
        assert!(of("10.0.0.1", Role::ControlPlane, "10.0.0.2").unwrap().is_empty());
        let error = |old: &str, role: Role, new: &str| of(old, role, new).unwrap_err().to_string();
        assert_eq!(
            error("10.0.0.1", Role::ControlPlane, "10.0.0.3"),
            "10.0.0.1 is no host of the environment's cluster"
        );
        assert!(error("10.0.0.3", Role::ControlPlane, "10.0.0.4").contains("it is worker"));
        assert!(error("10.0.0.2", Role::ControlPlane, "10.0.0.2").contains("its own place"));
    }
}
