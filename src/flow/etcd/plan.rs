//! The steps of etcd's members.

use std::time::Duration;

use crate::flow::request::EtcdCreate;
use crate::flow::scene::Seen;
use crate::host::{Facts, HostId};
use crate::packages::{InstallOptions, Wanted};
use crate::plan::{Owned, Plan, Step, StepId, make_first};
use crate::resource::{Files, FirewallPorts, Hold, Packages, Reads, RepositoryOff, Unit};

use super::config::{MemberKeys, login_files, member_keys, service_files};
use super::converge::PACKAGE;
use super::join::{Join, Promote};
use super::state::{CLIENT_PORT, Cluster, Joining, Member, PEER_PORT};
use super::users::Users;
use super::verify::{Answers, Wipe};

/// The step after which a host's member answers.
pub(crate) fn answers(host: &HostId) -> StepId {
    StepId::on(host, "etcd.answers")
}

/// The step after which members that ask who a client is know the cluster's users; one of the hosts may have it.
pub(crate) fn knows_users(host: &HostId) -> StepId {
    StepId::on(host, "etcd.users")
}

/// The steps that make it so, on the hosts of the request.
pub(super) fn make_plan(cluster: &Cluster, request: &EtcdCreate, wanted: &[Wanted], seen: &Seen<'_>) -> Plan {
    let mut plan = Plan::default();
    // In a cluster that stands one member at a time is restarted or joins, and only when the one before it answers.
    let mut before: Option<StepId> = None;
    let mut all: Vec<(&HostId, &Member)> = Vec::new();
    for target in &request.members {
        let host = target.id();
        let Some(facts) = seen.facts.get(&host).copied() else { continue };
        let Some(one) = OneMember::of(cluster, &host, facts, seen) else { continue };
        let one = OneMember { wanted, before: before.clone(), ..one };
        all.extend(cluster.members.get_key_value(&host));
        plan.steps.extend(one.steps(request, &seen.install));
        if cluster.standing {
            before = Some(answers(&host));
        }
    }
    plan.steps.extend(users(cluster, &all, seen));
    make_first("etcd.certificates", "make etcd's keys and certificates", plan)
}

/// What limits flannel's certificate, on one of these members, when all of them answer.
fn users(cluster: &Cluster, members: &[(&HostId, &Member)], seen: &Seen<'_>) -> Option<Step> {
    let (host, member) = members.first().filter(|_| cluster.asks_for_users())?;
    let users = Users { endpoint: cluster.client_url(member.address), password: seen.pki.etcd_password() };
    let step = Step::on(host, "etcd.users", "limit flannel's certificate to its own keys", users);
    Some(step.after(members.iter().map(|(host, _)| answers(host))))
}

/// What a host has as a member.
pub(super) fn owned(cluster: &Cluster, host: &HostId, facts: &Facts, seen: &Seen<'_>) -> Vec<Owned> {
    let request = EtcdCreate { members: Vec::new(), rpms: Vec::new(), tls: cluster.tls, wipe_data: Vec::new() };
    let one = OneMember::of(cluster, host, facts, seen);
    let steps = one.map_or_else(Vec::new, |one| one.steps(&request, &seen.install));
    steps.iter().flat_map(|step| step.work.owns()).collect()
}

struct OneMember<'a> {
    host: &'a HostId,
    member: &'a Member,
    cluster: &'a Cluster,
    facts: &'a Facts,
    keys: Option<MemberKeys>,
    wanted: &'a [Wanted],
    before: Option<StepId>,
}

impl<'a> OneMember<'a> {
    /// This host's member, when it is one.
    fn of(cluster: &'a Cluster, host: &'a HostId, facts: &'a Facts, seen: &Seen<'_>) -> Option<Self> {
        let member = cluster.members.get(host)?;
        let keys = cluster.tls.then(|| member_keys(&seen.pki, member, host));
        Some(Self { host, member, cluster, facts, keys, wanted: &[], before: None })
    }

    /// This member's steps; the last of them is that it [`answers`].
    fn steps(&self, request: &EtcdCreate, install: &InstallOptions) -> Vec<Step> {
        let host = self.host;
        let mut steps = Vec::new();
        let packages = Packages { wanted: self.wanted.to_vec(), options: install.clone() };
        steps.push(Step::on(host, "etcd.install", "install etcd", packages).weight(8));
        let hold = Hold(vec![PACKAGE.to_owned()]);
        steps.push(Step::on(host, "etcd.hold", "keep the host's updates from changing etcd", hold));
        if request.wipes(host) {
            let wipe = Wipe { token: self.cluster.token.clone() };
            steps.push(Step::on(host, "etcd.wipe", "delete etcd data that is not this cluster's", wipe));
        }
        if self.facts.firewalld() {
            let ports = FirewallPorts {
                ports: vec![format!("{CLIENT_PORT}/tcp"), format!("{PEER_PORT}/tcp")],
                at: self.member.address,
            };
            steps.push(Step::on(host, "etcd.firewall", "open etcd's ports in firewalld", ports));
        }
        let service = service_files(self.cluster, self.member, self.keys.as_ref());
        let mut all = login_files(self.cluster, self.member, self.keys.as_ref()).0;
        all.extend(service.0.clone());
        steps.push(Step::on(host, "etcd.configure", "write etcd's configuration and certificates", Files(all)));
        let joins = matches!(self.member.joining, Joining::Existing(_));
        let peers = self.other_endpoints();
        if joins {
            let join = Join { endpoints: peers.clone(), name: self.member.name.clone(), peer_url: self.peer_url() };
            steps.push(Step::on(host, "etcd.join", "join the etcd cluster", join).after(self.before.clone()));
        }
        let unit = Unit {
            name: "etcd.service".to_owned(),
            reads: Reads::Files(service.clone()),
            timeout: Duration::from_secs(90),
            // The first members wait for each other: none is ready before a quorum has started.
            wait: self.cluster.standing,
        };
        steps.push(Step::on(host, "etcd.start", "start etcd", unit).after(self.before.clone()).weight(2));
        // While the members choose a leader there is nothing else to do here; other operations may still need it.
        if install.hold {
            steps.push(Step::on(host, "etcd.tidy", "remove the temporary repository", RepositoryOff));
        }
        if joins {
            let promote = Promote { endpoints: peers, peer_url: self.peer_url() };
            steps.push(Step::on(host, "etcd.promote", "make it a voting member", promote).weight(2));
        }
        let answers = Answers { endpoint: self.cluster.client_url(self.member.address), reads: Reads::Files(service) };
        steps.push(Step::on(host, "etcd.answers", "write and read through this member", answers).weight(2));
        steps
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
