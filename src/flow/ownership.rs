//! Whose is what stands on a host, asked before anything of it is undone: an environment takes away what it put there itself,
//! and nothing of another environment or of a cluster that this product did not make.
//!
//! The host's change record names the environment of each line. Where the node there trusts another authority than the
//! environment's, or a member of another etcd cluster runs, the record is older than that, and the host is left alone. Lines of
//! the record's first format name nobody: they are the environment's where its authority or its etcd's token is found on the
//! host, or where it keeps the host and nothing speaks against it.

use std::collections::BTreeSet;

use crate::host::{Command, Host, HostError, HostId, for_each};
use crate::plan::RunHost;
use crate::resource::{NOBODYS, READS_RECORD};

use super::error::FlowError;
use super::etcd;
use super::kubernetes;
use super::pki::Purpose;
use super::problem::Problem;
use super::registry::Registry;
use super::scene::{Scene, Seen};

const LOOK: &str = include_str!("ownership.sh");

/// What of a host an environment may undo. Nothing, until it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Share {
    /// The Kubernetes node there.
    pub node: bool,
    /// The lines of its own in the change record, and those of these others; `None` where the host is left alone.
    pub undo: Option<Vec<String>>,
    /// etcd's data there is of the environment's cluster.
    pub data: bool,
    /// Whose the data is that is there and is not, in words.
    pub foreign_data: Option<String>,
}

/// What a host tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Environments that have lines in its change record.
    lines: BTreeSet<String>,
    /// Those of them that made a Kubernetes node of it.
    nodes: BTreeSet<String>,
    /// Those of them that made an etcd member of it.
    members: BTreeSet<String>,
    /// Fingerprints of the authorities that its kubelet trusts.
    authorities: BTreeSet<String>,
    etcd: etcd::Found,
}

impl Found {
    fn on(host: &Host) -> Result<Self, HostError> {
        let look = Command::script_with(READS_RECORD, LOOK).label("look whose is what is on the host");
        Ok(Self { etcd: etcd::Found::on(host)?, ..Self::parse(&host.run_ok(&look)?.text()) })
    }

    pub(super) fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for (what, whose) in text.lines().filter_map(|line| line.split_once('\t')) {
            let of = match what {
                "line" => &mut found.lines,
                "node" => &mut found.nodes,
                "member" => &mut found.members,
                "authority" => &mut found.authorities,
                _ => continue,
            };
            of.insert(whose.to_owned());
        }
        found
    }
}

/// Who asks.
#[derive(Debug, Clone, Default)]
struct Asking {
    environment: String,
    /// Environments, [`NOBODYS`] among them, whose lines the request names as its own.
    named: Vec<String>,
    /// The fingerprint of its Kubernetes authority, once that has been made.
    authority: Option<String>,
    /// The token of its etcd cluster.
    token: Option<String>,
    /// Hosts that it keeps.
    hosts: BTreeSet<HostId>,
}

/// What a host holds of the environment's clusters, in words: data of the etcd with this token, or a kubelet at work that trusts
/// this authority. What files of a first, failed attempt leave is nothing that a cluster would miss.
pub(super) fn held(host: &RunHost, token: &str, authority: Option<&str>) -> Result<Option<&'static str>, HostError> {
    let found = Found::on(&host.host)?;
    Ok(found.held(token, authority, host.facts.is_active("kubelet")))
}

/// Asks these hosts, tells what is not the environment's, and keeps what is ([`Seen::shares`]). `named` are environments whose
/// lines the request takes for its own.
///
/// # Errors
/// When a host cannot be asked.
pub(super) fn observe<'h>(
    hosts: impl Iterator<Item = &'h HostId>,
    named: &[String],
    scene: &Scene<'_>,
    seen: &mut Seen<'_>,
) -> Result<(), FlowError> {
    let hosts: Vec<_> = hosts.filter_map(|id| scene.hosts.get(id)).collect();
    let Some(owner) = hosts.first().map(|host| host.owner.environment.clone()) else { return Ok(()) };
    let asking = Asking::of(scene, owner, named)?;
    let looks = for_each(&hosts, scene.options.forks, |host| Found::on(&host.host));
    for (host, look) in hosts.iter().zip(looks) {
        let name = host.host.name();
        let lost = || FlowError::Failed { error: format!("{name}: the look at it ended unexpectedly"), help: None };
        let found = look.ok_or_else(lost)?;
        let found = found.map_err(|e| FlowError::Failed { error: e.to_string(), help: e.help() })?;
        let (share, problems) = asking.decide(name, &found);
        if seen.shares.insert(name.clone(), share).is_none() {
            for Problem { host, level, text, help } in problems {
                scene.events.note(host.as_deref(), level, text, help);
            }
        }
    }
    Ok(())
}

impl Found {
    fn held(&self, token: &str, authority: Option<&str>, has_kubelet: bool) -> Option<&'static str> {
        // Data that nothing names may be the cluster's.
        let is_data = self.etcd.has_data && self.etcd.token.as_deref().is_none_or(|there| there == token);
        let is_node = has_kubelet && authority.is_some_and(|own| self.authorities.contains(own));
        match (is_data, is_node) {
            (true, _) => Some("holds etcd data that may be its own"),
            (_, true) => Some("is a node of it"),
            _ => None,
        }
    }
}

impl Asking {
    fn of(scene: &Scene<'_>, environment: String, named: &[String]) -> Result<Self, FlowError> {
        let etcd = etcd::Cluster::load(scene.environment)?;
        let mut hosts: BTreeSet<HostId> = etcd.iter().flat_map(|cluster| cluster.members.keys().cloned()).collect();
        if let Some(cluster) = kubernetes::Cluster::load(scene.environment)? {
            hosts.extend(cluster.control_plane.into_keys().chain(cluster.workers.into_keys()));
        }
        hosts.extend(Registry::hosts_of(scene.environment)?);
        Ok(Self {
            environment,
            named: named.to_vec(),
            authority: scene.environment.pki().fingerprint(Purpose::Kubernetes),
            token: etcd.map(|cluster| cluster.token),
            hosts,
        })
    }

    fn is_own(&self, environment: &String) -> bool {
        *environment == self.environment || self.named.contains(environment)
    }

    fn decide(&self, host: &HostId, found: &Found) -> (Share, Vec<Problem>) {
        let claims = |of: &BTreeSet<String>| of.iter().any(|environment| self.is_own(environment));
        let another = |of: &BTreeSet<String>| {
            of.iter().find(|environment| !self.is_own(environment) && *environment != NOBODYS).cloned()
        };
        // Whether what the host holds is the environment's, where that can be told.
        let authority = self.authority.as_ref().filter(|_| !found.authorities.is_empty());
        let authority = authority.map(|own| found.authorities.contains(own));
        let token = found.etcd.token.as_ref().zip(self.token.as_ref()).map(|(there, own)| there == own);
        let proven = authority == Some(true) || token == Some(true) || self.hosts.contains(host);
        let disproven = authority == Some(false) || token == Some(false);
        let takes_nobodys = self.named.iter().any(|name| name == NOBODYS)
            || proven && !disproven && another(&found.nodes).is_none() && another(&found.members).is_none();
        let is_nobodys = |of: &BTreeSet<String>| of.contains(NOBODYS) && !claims(of);
        let has_node = claims(&found.nodes) || takes_nobodys && is_nobodys(&found.nodes);
        let has_member = claims(&found.members) || takes_nobodys && is_nobodys(&found.members);
        // Whoever names an environment knows what its hosts are.
        let is_named = self.named.iter().any(|name| found.nodes.contains(name) || found.members.contains(name));

        let mut problems = Vec::new();
        let foreign_node = if is_named || authority == Some(true) && has_node {
            None
        } else if let Some(other) = another(&found.nodes) {
            Some(of_environment(&other, host))
        } else if authority == Some(false) {
            Some(of_a_stranger(found))
        } else {
            None
        };
        let foreign_member = !is_named && token == Some(false) && found.etcd.running;
        if let Some((whose, help)) = &foreign_node {
            let text = format!("the Kubernetes node here belongs to {whose}: it is left alone");
            problems.push(Problem::warning(Some(host), text, Some(help.clone())));
        }
        let is_left = has_node && foreign_node.is_some() || has_member && foreign_member;
        if is_left {
            let what = if foreign_member { "a member of another etcd cluster runs" } else { "that node stands" };
            let text = format!("{what} where this environment once made its own: nothing is undone on this host");
            let help = "remove what is there with what made it (for etcd, stop and disable etcd.service), then run the same command again";
            problems.push(Problem::warning(Some(host), text, Some(help.to_owned())));
        }
        if found.lines.contains(NOBODYS) && !takes_nobodys {
            let text = "an earlier version changed this host without writing down for whom, and nothing proves that it was this \
                        environment: that stays";
            let help = format!("`cluster reset --host {host} --recorded-by -` undoes it");
            problems.push(Problem::warning(Some(host), text, Some(help)));
        }
        if let Some(other) = another(&found.lines).filter(|_| foreign_node.is_none()) {
            let text = format!("environment {other} uses this host too: what it put there stays");
            problems.push(Problem::info(host, text));
        }
        let also = self
            .named
            .iter()
            .cloned()
            .chain((takes_nobodys && !self.named.iter().any(|n| n == NOBODYS)).then(|| NOBODYS.to_owned()));
        let share = Share {
            node: foreign_node.is_none() && (has_node || authority == Some(true)),
            undo: (!is_left).then(|| also.filter(|name| found.lines.contains(name)).collect()),
            data: found.etcd.is_of(self.token.as_deref()),
            foreign_data: foreign_data(found, self.token.as_deref()),
        };
        (share, problems)
    }
}

/// Whose a node of another environment is, and what to do about it.
fn of_environment(id: &str, host: &HostId) -> (String, String) {
    // The name, and a part chosen at random.
    let name = id.rsplit_once('-').map_or(id, |(name, _)| name);
    let help = format!(
        "`cluster reset --environment {name} --host {host}` on the control host that made it; where that is lost, \
         `cluster reset --host {host} --recorded-by {id}`"
    );
    (format!("environment {id}"), help)
}

fn of_a_stranger(found: &Found) -> (String, String) {
    let prints: Vec<&str> = found.authorities.iter().map(|print| print.get(..16).unwrap_or(print)).collect();
    let whose = format!("another cluster than this environment's (sha256 of its authority: {}…)", prints.join("…, "));
    (whose, "remove it with what made it, such as `kubeadm reset`, where it is not needed any more".to_owned())
}

fn foreign_data(found: &Found, own: Option<&str>) -> Option<String> {
    if !found.etcd.has_data || found.etcd.is_of(own) {
        return None;
    }
    Some(match &found.etcd.token {
        Some(token) => format!("belongs to another cluster (token {token})"),
        None => "is of a cluster that nothing on the host names".to_owned(),
    })
}

#[cfg(test)]
mod tests;
