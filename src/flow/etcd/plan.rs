//! From request and facts to steps. [`settle`] decides who is a member and how each comes in; [`make_plan`] is what to do.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::flow::error::FlowError;
use crate::flow::pki::Authority;
use crate::flow::request::EtcdCreate;
use crate::flow::scene::Scene;
use crate::host::{Target, for_each};
use crate::plan::work::{Files, FirewallPorts, Packages, RepositoryOff, Unit};
use crate::plan::{Plan, Step, StepId};
use crate::repo::Wanted;

use super::config::{MemberKeys, login_files, member_keys, service_files};
use super::join::{Join, Promote};
use super::preflight::member_address;
use super::probe::Found;
use super::state::{CLIENT_PORT, Cluster, Joining, Member, PEER_PORT};
use super::verify::{Answers, Wipe};

/// The cluster as it is to be: the one that is kept, or a new one, with a place for every host of the request.
///
/// # Errors
/// When a first start was begun with other members, or a host cannot be asked.
pub(super) fn settle(request: &EtcdCreate, known: Option<&Cluster>, scene: &Scene<'_>) -> Result<Cluster, FlowError> {
    let data = own_data(request, known, scene)?;
    match known {
        Some(cluster) if cluster.standing => grow(cluster.clone(), request, &data, scene),
        Some(cluster)
            if cluster.members.keys().all(|h| data.contains_key(h)) && data.len() == cluster.members.len() =>
        {
            Ok(cluster.clone())
        }
        Some(cluster) if data.values().any(|has_data| *has_data) => {
            let members: Vec<_> = cluster.members.keys().map(String::as_str).collect();
            Err(FlowError::request_with_help(
                format!("this cluster's first start was begun with other members: {}", members.join(", ")),
                "run it again with those, then add or remove members",
            ))
        }
        _ => bootstrap(request, scene),
    }
}

/// Whether each host holds data of this cluster.
fn own_data(
    request: &EtcdCreate,
    known: Option<&Cluster>,
    scene: &Scene<'_>,
) -> Result<BTreeMap<String, bool>, FlowError> {
    let names = request.members.iter().map(|target| target.address.to_string());
    let hosts: Vec<_> = names.filter_map(|name| scene.hosts.get(&name).map(|h| (name, &h.host))).collect();
    let looks = for_each(&hosts, scene.options.forks, |(_, host)| Found::on(host));
    let mut data = BTreeMap::new();
    for ((name, _), look) in hosts.iter().zip(looks) {
        let lost =
            || FlowError::Failed { error: format!("{name}: the look at its data ended unexpectedly"), help: None };
        let found = look.ok_or_else(lost)?;
        let found = found.map_err(|e| FlowError::Failed { error: e.to_string(), help: e.help() })?;
        data.insert(name.clone(), found.is_of(known.map(|c| c.token.as_str())));
    }
    Ok(data)
}

fn new_member(target: &Target, scene: &Scene<'_>) -> Result<(String, Member), FlowError> {
    let host = target.address.to_string();
    let facts = scene.hosts.get(&host).map(|h| &h.facts);
    let address = facts.and_then(|f| member_address(target, f));
    let (Some(facts), Some(address)) = (facts, address) else {
        return Err(FlowError::Failed {
            error: format!("{host} has no address that other members could reach"),
            help: Some("give it an address and a default route".to_owned()),
        });
    };
    Ok((host, Member { name: facts.hostname.clone(), address, joining: Joining::New(String::new()) }))
}

fn bootstrap(request: &EtcdCreate, scene: &Scene<'_>) -> Result<Cluster, FlowError> {
    let members = request.members.iter().map(|t| new_member(t, scene)).collect::<Result<BTreeMap<_, _>, _>>()?;
    let token = format!("sunshine-{:016x}", rand::random::<u64>());
    let mut cluster = Cluster { token, tls: request.tls, standing: false, members };
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
    data: &BTreeMap<String, bool>,
    scene: &Scene<'_>,
) -> Result<Cluster, FlowError> {
    for target in &request.members {
        let host = target.address.to_string();
        if cluster.members.contains_key(&host) && data.get(&host) == Some(&true) {
            continue;
        }
        let (host, mut member) = new_member(target, scene)?;
        let mut set: Vec<_> =
            cluster.members.iter().filter(|(h, _)| **h != host).map(|(_, m)| (m.name.as_str(), m.address)).collect();
        set.push((&member.name, member.address));
        member.joining = Joining::Existing(cluster.initial(&set));
        cluster.members.insert(host, member);
    }
    Ok(cluster)
}

/// The steps that make it so.
///
/// # Errors
/// When certificates cannot be made.
pub(super) fn make_plan(
    cluster: &Cluster,
    request: &EtcdCreate,
    wanted: &[Wanted],
    scene: &Scene<'_>,
) -> Result<Plan, FlowError> {
    let authority = if cluster.tls {
        Some(Authority::open_or_create(&scene.environment.pki("etcd"), "sunshine etcd CA")?)
    } else {
        None
    };
    let mut plan = Plan::default();
    // In a cluster that stands one member at a time is restarted or joins, and only when the one before it answers.
    let mut before: Option<StepId> = None;
    for target in &request.members {
        let host = target.address.to_string();
        let (Some(member), Some(run_host)) = (cluster.members.get(&host), scene.hosts.get(&host)) else { continue };
        let keys = authority.as_ref().map(|ca| member_keys(ca, member, &host)).transpose()?;
        let one = OneMember { host: &host, member, cluster, keys: keys.as_ref(), wanted, before: before.clone() };
        let last = one.push_steps(&mut plan, request, run_host.facts.firewalld(), scene);
        if cluster.standing {
            before = Some(last);
        }
    }
    Ok(plan)
}

struct OneMember<'a> {
    host: &'a str,
    member: &'a Member,
    cluster: &'a Cluster,
    keys: Option<&'a MemberKeys>,
    wanted: &'a [Wanted],
    before: Option<StepId>,
}

impl OneMember<'_> {
    /// Adds this member's steps; the last of them.
    fn push_steps(&self, plan: &mut Plan, request: &EtcdCreate, firewalld: bool, scene: &Scene<'_>) -> StepId {
        let host = self.host;
        let packages = Packages { wanted: self.wanted.to_vec(), options: scene.install.clone() };
        plan.push(Step::on(host, "etcd.install", "install etcd", packages).weight(8));
        if request.wipe_data.iter().any(|h| h == host) {
            let wipe = Wipe { token: self.cluster.token.clone() };
            plan.push(Step::on(host, "etcd.wipe", "delete etcd data that is not this cluster's", wipe));
        }
        if firewalld {
            let ports = FirewallPorts(vec![format!("{CLIENT_PORT}/tcp"), format!("{PEER_PORT}/tcp")]);
            plan.push(Step::on(host, "etcd.firewall", "open etcd's ports in firewalld", ports));
        }
        let service = service_files(self.cluster, self.member, self.keys);
        let mut all = login_files(self.cluster, self.member, self.keys).0;
        all.extend(service.0.clone());
        plan.push(Step::on(host, "etcd.configure", "write etcd's configuration and certificates", Files(all)));
        let joins = matches!(self.member.joining, Joining::Existing(_));
        let peers = self.other_endpoints();
        if joins {
            let join = Join { endpoints: peers.clone(), name: self.member.name.clone(), peer_url: self.peer_url() };
            plan.push(Step::on(host, "etcd.join", "join the etcd cluster", join).after(self.before.clone()));
        }
        let unit = Unit {
            name: "etcd.service".to_owned(),
            config: service.digest(),
            timeout: Duration::from_secs(90),
            // The first members wait for each other: none is ready before a quorum has started.
            wait: self.cluster.standing,
        };
        plan.push(Step::on(host, "etcd.start", "start etcd", unit).after(self.before.clone()).weight(2));
        // While the members choose a leader there is nothing else to do here; other operations may still need it.
        if scene.install.hold {
            plan.push(Step::on(host, "etcd.tidy", "remove the temporary repository", RepositoryOff));
        }
        if joins {
            let promote = Promote { endpoints: peers, peer_url: self.peer_url() };
            plan.push(Step::on(host, "etcd.promote", "make it a voting member", promote).weight(2));
        }
        let answers = Answers { endpoint: self.cluster.client_url(self.member.address), config: service.digest() };
        let last = Step::on(host, "etcd.answers", "write and read through this member", answers).weight(2);
        let id = last.id.clone();
        plan.push(last);
        id
    }

    fn peer_url(&self) -> String {
        self.cluster.peer_url(self.member.address)
    }

    /// The client URLs of the others, by which this one is added.
    fn other_endpoints(&self) -> String {
        let others = self.cluster.members.iter().filter(|(h, _)| *h != self.host);
        others.map(|(_, m)| self.cluster.client_url(m.address)).collect::<Vec<_>>().join(",")
    }
}
