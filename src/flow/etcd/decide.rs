//! From request and what was found on the hosts to the cluster that is to be: who is a member, and how each comes in.

use std::collections::BTreeMap;

use crate::flow::error::FlowError;
use crate::flow::request::EtcdCreate;
use crate::flow::scene::Seen;
use crate::host::{HostId, Target};

use super::preflight::member_address;
use super::state::{Cluster, Joining, Member};

/// A token for a cluster that begins, unlike that of any other.
pub(super) fn fresh_token() -> String {
    format!("sunshine-{:016x}", rand::random::<u64>())
}

/// The cluster as it is to be: the one that is kept, or a new one, with a place for every host of the request.
///
/// # Errors
/// When a first start was begun with other members, or a host has no address for the others.
pub(super) fn decide(request: &EtcdCreate, known: Option<&Cluster>, seen: &Seen<'_>) -> Result<Cluster, FlowError> {
    let token = known.map(|c| c.token.as_str());
    // Whether each host holds data of this cluster.
    let of_request = request.members.iter().map(Target::id);
    let found = of_request.filter_map(|host| seen.etcd_found.get_key_value(&host));
    let data: BTreeMap<&HostId, bool> = found.map(|(host, found)| (host, found.is_of(token))).collect();
    match known {
        Some(cluster) if cluster.standing => grow(cluster.clone(), request, &data, seen),
        Some(cluster)
            if cluster.members.keys().all(|h| data.contains_key(h)) && data.len() == cluster.members.len() =>
        {
            Ok(cluster.clone())
        }
        Some(cluster) if data.values().any(|has_data| *has_data) => {
            let members: Vec<_> = cluster.members.keys().map(HostId::as_str).collect();
            Err(FlowError::request_with_help(
                format!("this cluster's first start was begun with other members: {}", members.join(", ")),
                "run it again with those, then add or remove members",
            ))
        }
        _ => bootstrap(request, seen),
    }
}

fn new_member(target: &Target, seen: &Seen<'_>) -> Result<(HostId, Member), FlowError> {
    let host = target.id();
    let facts = seen.facts.get(&host).copied();
    let address = facts.and_then(|f| member_address(target, f));
    let (Some(facts), Some(address)) = (facts, address) else {
        return Err(FlowError::Failed {
            error: format!("{host} has no address that other members could reach"),
            help: Some("give it an address and a default route".to_owned()),
        });
    };
    Ok((host, Member { name: facts.hostname.to_ascii_lowercase(), address, joining: Joining::New(String::new()) }))
}

fn bootstrap(request: &EtcdCreate, seen: &Seen<'_>) -> Result<Cluster, FlowError> {
    let members = request.members.iter().map(|t| new_member(t, seen)).collect::<Result<BTreeMap<_, _>, _>>()?;
    let mut cluster =
        Cluster { token: seen.fresh_token.clone(), tls: request.tls, standing: false, flannel: false, members };
    let set: Vec<_> = cluster.members.values().map(|m| (m.name.as_str(), m.address)).collect();
    let initial = cluster.initial(&set);
    for member in cluster.members.values_mut() {
        member.joining = Joining::New(initial.clone());
    }
    Ok(cluster)
}

/// A cluster that stands keeps its members; hosts that are new, or lost their data, join it one after another.
fn grow(
    mut cluster: Cluster,
    request: &EtcdCreate,
    data: &BTreeMap<&HostId, bool>,
    seen: &Seen<'_>,
) -> Result<Cluster, FlowError> {
    for target in &request.members {
        let host = target.id();
        if cluster.members.contains_key(&host) && data.get(&host) == Some(&true) {
            continue;
        }
        let (host, mut member) = new_member(target, seen)?;
        let mut set: Vec<_> =
            cluster.members.iter().filter(|(h, _)| **h != host).map(|(_, m)| (m.name.as_str(), m.address)).collect();
        set.push((&member.name, member.address));
        member.joining = Joining::Existing(cluster.initial(&set));
        cluster.members.insert(host, member);
    }
    Ok(cluster)
}
