//! Whether the environment's clusters are lost: all their hosts were reinstalled, and only the control host still knows them. The
//! line that made them could never bring them back, for its members would join a cluster that nobody is in.
//!
//! They are lost only where no member of etcd and no API server answers, and no host of the line holds data of that etcd or runs
//! a kubelet that trusts the environment's authority.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::host::{Command, HostId, Target, for_each, for_each_as_it_comes};
use crate::plan::{Level, RunHost, RunHosts};

use super::error::FlowError;
use super::pki::Purpose;
use super::problem::Problem;
use super::request::{Job, Operation};
use super::state::Environment;
use super::{etcd, kubernetes, ownership};

/// The longest wait for a member to accept a connection.
const PATIENCE: Duration = Duration::from_secs(3);

/// How the clusters of an environment are, as far as a line that creates clusters is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// There are none, or the line is about something else.
    None,
    /// What is still there of them.
    Stands(String),
    /// In words.
    Lost(Problem),
}

impl Fate {
    /// What is said of it: nothing where the line goes on as usual.
    pub(super) fn problem(self, recreate: bool) -> Option<Problem> {
        match self {
            Self::Lost(problem) if recreate => {
                let help = "a new, empty one is created in its place";
                Some(Problem { level: Level::Warning, help: Some(help.to_owned()), ..problem })
            }
            Self::Lost(problem) => Some(problem),
            Self::Stands(what) if recreate => {
                let help = "`cluster reset --wipe-data` takes a cluster away that is not wanted any more";
                let text = format!("--recreate is ignored, for the environment's cluster is not lost: {what}");
                Some(Problem::warning(None, text, Some(help.to_owned())))
            }
            Self::Stands(_) | Self::None => None,
        }
    }
}

/// Asks the members, then the hosts of the line.
///
/// # Errors
/// When the environment's state cannot be read.
pub(super) fn look(job: &Job, environment: &Environment, hosts: &RunHosts) -> Result<Fate, FlowError> {
    let Some(named) = created_on(&job.operations) else { return Ok(Fate::None) };
    // Where one host of the line is not there, nothing can be said, and the run ends for that.
    let Some(named) = named.into_iter().map(|id| hosts.get(&id)).collect::<Option<Vec<&RunHost>>>() else {
        return Ok(Fate::None);
    };
    let Some(etcd) = etcd::Cluster::load(environment)?.filter(|cluster| cluster.standing) else {
        return Ok(Fate::None);
    };
    let cluster = kubernetes::Cluster::load(environment)?;
    if cluster.as_ref().is_some_and(|cluster| !kept_in(cluster, &etcd)) {
        return Ok(Fate::None);
    }
    let places = places(&etcd, cluster.as_ref());
    if let Some(what) = answering(&places, job.options.forks) {
        return Ok(Fate::Stands(what));
    }
    let authority = environment.pki().fingerprint(Purpose::Kubernetes);
    let look = |host: &&RunHost| ownership::held(host, &etcd.token, authority.as_deref());
    for (host, held) in named.iter().zip(for_each(&named, job.options.forks, look)) {
        match held {
            Some(Ok(None)) => {}
            Some(Ok(Some(what))) => return Ok(Fate::Stands(format!("{} {what}", host.host.name()))),
            // Whatever could not be looked at may be there.
            Some(Err(error)) => return Ok(Fate::Stands(error.to_string())),
            None => return Ok(Fate::Stands(format!("{}: the look at it ended unexpectedly", host.host.name()))),
        }
    }
    let named: BTreeSet<&HostId> = named.iter().map(|host| host.host.name()).collect();
    let others: BTreeMap<SocketAddr, HostId> = places.into_iter().filter(|(_, id)| !named.contains(id)).collect();
    // A firewall may let them be reached by their neighbours only.
    if let Some(what) = hosts.values().next().and_then(|host| answering_from(host, &others)) {
        return Ok(Fate::Stands(what));
    }
    let others: BTreeSet<&HostId> = others.values().collect();
    Ok(Fate::Lost(lost(&environment.name, &etcd, cluster.is_some(), &others)))
}

/// The hosts on which these operations create clusters; nothing where they do anything else, or no etcd is created.
fn created_on(operations: &[Operation]) -> Option<BTreeSet<HostId>> {
    let mut hosts: BTreeSet<HostId> = BTreeSet::new();
    let mut has_etcd = false;
    for operation in operations {
        let of: Vec<&Target> = match operation {
            Operation::EtcdCreate(request) => {
                has_etcd = true;
                request.members.iter().collect()
            }
            Operation::ClusterCreate(request) => request.control_plane.iter().chain(&request.workers).collect(),
            Operation::RegistryCreate(_) | Operation::RegistryUse(_) => Vec::new(),
            _ => return None,
        };
        hosts.extend(of.into_iter().map(Target::id));
    }
    has_etcd.then_some(hosts)
}

/// Whether the objects of a Kubernetes cluster are in this etcd.
fn kept_in(cluster: &kubernetes::Cluster, etcd: &etcd::Cluster) -> bool {
    let own = etcd.endpoints();
    cluster.etcd.endpoints.iter().any(|url| own.contains(url))
}

/// Where members and API servers answer.
fn places(etcd: &etcd::Cluster, cluster: Option<&kubernetes::Cluster>) -> BTreeMap<SocketAddr, HostId> {
    let members =
        etcd.members.iter().map(|(id, member)| (SocketAddr::new(member.address, etcd::CLIENT_PORT), id.clone()));
    let servers = cluster.into_iter().flat_map(|cluster| &cluster.control_plane);
    let servers = servers.map(|(id, machine)| (SocketAddr::new(machine.address, kubernetes::API_PORT), id.clone()));
    members.chain(servers).collect()
}

/// The first place that accepts a connection, in words.
fn answering(places: &BTreeMap<SocketAddr, HostId>, forks: usize) -> Option<String> {
    let addresses: Vec<SocketAddr> = places.keys().copied().collect();
    let connect = |address: &SocketAddr| TcpStream::connect_timeout(address, PATIENCE).is_ok();
    let mut results = for_each_as_it_comes(addresses.clone(), forks, connect);
    // A question that failed has no answer that could be taken for a no.
    let (at, _) = results.find(|(_, answers)| *answers != Some(false))?;
    Some(format!("{} answers", addresses.get(at)?))
}

/// `$1` address, `$2` port, and so on.
const CONNECT: &str = r#"while [ $# -gt 1 ]; do
  timeout 3 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$1" "$2" 2>/dev/null && { echo "$1 $2"; exit 0; }
  shift 2
done
exit 0"#;

/// The same as seen from a host.
fn answering_from(host: &RunHost, places: &BTreeMap<SocketAddr, HostId>) -> Option<String> {
    if places.is_empty() {
        return None;
    }
    let args = places.keys().flat_map(|place| [place.ip().to_string(), place.port().to_string()]);
    let wait = PATIENCE.saturating_mul(u32::try_from(places.len()).unwrap_or(u32::MAX));
    let ask = Command::script(CONNECT).args(args).timeout(wait.saturating_add(Duration::from_secs(30)));
    match host.host.run_ok(&ask.label("look whether members answer")) {
        Ok(output) if output.text().trim().is_empty() => None,
        Ok(output) => Some(format!("{} answers {}", output.text().trim().replace(' ', " port "), host.host.name())),
        Err(error) => Some(error.to_string()),
    }
}

fn lost(environment: &str, etcd: &etcd::Cluster, has_kubernetes: bool, others: &BTreeSet<&HostId>) -> Problem {
    let members: Vec<&str> = etcd.members.keys().map(HostId::as_str).collect();
    let with = if has_kubernetes { " with its Kubernetes cluster" } else { "" };
    let others: Vec<&str> = others.iter().map(|id| id.as_str()).collect();
    let silent = match others.is_empty() {
        true => String::new(),
        false => format!(" ({} not named here, and silent)", others.join(", ")),
    };
    Problem {
        host: None,
        level: Level::Error,
        text: format!(
            "environment {environment} has an etcd cluster of {}{with}, and it is lost: no host of this line holds data of it, and no \
             member answers{silent}",
            members.join(", ")
        ),
        help: Some(
            "where the hosts were reinstalled, the same command with --recreate creates a new, empty cluster and keeps the old \
             authorities and state aside; where the members are only switched off, start them; for another cluster name another \
             --environment"
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::request::{EtcdChange, EtcdCreate};
    use crate::host::TargetDefaults;

    fn etcd(address: &str) -> etcd::Cluster {
        let member = serde_json::json!({"name": "a", "address": address, "joining": {"new": "x"}});
        let members = serde_json::json!({address: member});
        serde_json::from_value(serde_json::json!({"token": "t", "tls": true, "standing": true, "members": members}))
            .unwrap()
    }

    fn cluster(address: &str, endpoint: &str) -> kubernetes::Cluster {
        let machine = serde_json::json!({"name": "a", "address": address});
        serde_json::from_value(serde_json::json!({
            "settings": {}, "network": "direct", "etcd": {"endpoints": [endpoint], "tls": true},
            "control_plane": {address: machine}, "workers": {},
        }))
        .unwrap()
    }

    #[test]
    fn members_and_api_servers_are_asked_at_their_own_ports() {
        let found = places(&etcd("10.0.0.1"), Some(&cluster("10.0.0.2", "x")));
        let found: Vec<String> = found.iter().map(|(place, id)| format!("{place} {id}")).collect();
        assert_eq!(found, ["10.0.0.1:2379 10.0.0.1", "10.0.0.2:6443 10.0.0.2"]);
    }

    #[test]
    fn whatever_accepts_a_connection_answers() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let alive = listener.local_addr().unwrap();
        let dead: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let places = |all: &[SocketAddr]| all.iter().map(|place| (*place, HostId::from("h"))).collect();
        assert_eq!(answering(&places(&[dead, alive]), 4), Some(format!("{alive} answers")));
        assert_eq!(answering(&places(&[dead]), 4), None);
        assert_eq!(answering(&BTreeMap::new(), 4), None);
    }

    #[test]
    fn a_cluster_whose_objects_are_in_an_etcd_of_the_site_is_not_lost_with_its_own() {
        let own = etcd("10.0.0.1");
        assert!(kept_in(&cluster("10.0.0.2", "https://10.0.0.1:2379"), &own));
        assert!(!kept_in(&cluster("10.0.0.2", "http://10.0.0.9:2379"), &own));
    }

    #[test]
    fn only_lines_that_create_etcd_are_about_it() {
        let members = vec![Target::parse("10.0.0.1", &TargetDefaults::default()).unwrap()];
        let create = EtcdCreate { members: members.clone(), rpms: Vec::new(), tls: true, wipe_data: Vec::new() };
        let create = Operation::EtcdCreate(create);
        let add = Operation::EtcdAdd(EtcdChange { members, rpms: Vec::new(), force: false });
        let hosts = created_on(std::slice::from_ref(&create)).unwrap();
        assert_eq!(hosts.iter().map(HostId::as_str).collect::<Vec<_>>(), ["10.0.0.1"]);
        assert_eq!(created_on(&[create, add.clone()]), None);
        assert_eq!(created_on(&[Operation::RegistryUse(None)]), None);
    }

    #[test]
    fn a_lost_cluster_is_an_error_until_a_new_one_is_asked_for_and_one_that_stands_is_kept() {
        let other = HostId::from("10.0.0.7");
        let lost = Fate::Lost(lost("prod", &etcd("10.0.0.1"), true, &[&other].into()));
        let said = lost.clone().problem(false).unwrap();
        assert_eq!(said.level, Level::Error);
        assert_eq!(
            said.text,
            "environment prod has an etcd cluster of 10.0.0.1 with its Kubernetes cluster, and it is lost: no host of this line \
             holds data of it, and no member answers (10.0.0.7 not named here, and silent)"
        );
        assert!(said.help.unwrap().contains("with --recreate"));
        assert_eq!(lost.problem(true).unwrap().level, Level::Warning);
        let stands = Fate::Stands("10.0.0.1:2379 answers".to_owned());
        assert_eq!(stands.clone().problem(false), None);
        let said = stands.problem(true).unwrap();
        assert_eq!(
            said.text,
            "--recreate is ignored, for the environment's cluster is not lost: 10.0.0.1:2379 answers"
        );
        assert_eq!(Fate::None.problem(true), None);
    }
}
