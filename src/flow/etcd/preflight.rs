//! What stands in the way of an etcd cluster, found on all members before any is changed.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::flow::disk_space::DiskSpace;
use crate::flow::error::FlowError;
use crate::flow::problem::Problem;
use crate::flow::request::EtcdCreate;
use crate::flow::scene::Scene;
use crate::flow::state::Environment;
use crate::host::{Command, Facts, Host, HostId, Target, for_each};
use crate::plan::RunHost;

use super::probe::{FOLDER, Found};
use super::state::{CLIENT_PORT, Cluster, PEER_PORT};

/// Members' clocks may differ by this much, in seconds: beyond it leases and certificates misbehave.
const MAX_CLOCK_DIFFERENCE: f64 = 2.0;
/// etcd's default quota is 2 GiB; half a GiB lets it begin.
const MIN_DISK: u64 = 512 << 20;

/// What a member's data takes.
pub(super) fn disk_space() -> DiskSpace {
    DiskSpace::new(FOLDER, MIN_DISK, "etcd's data")
}

/// etcd's own advice for a disk: 99 % of fsyncs under 10 ms.
const MAX_FSYNC_MS: f64 = 10.0;

/// What can be said without a host.
pub(super) fn check_members(
    request: &EtcdCreate,
    known: Option<&Cluster>,
    environment: &Environment,
) -> Result<Vec<Problem>, FlowError> {
    let count = request.members.len();
    if count == 0 {
        return Err(FlowError::request("an etcd cluster needs at least one host"));
    }
    let members: Vec<HostId> = request.members.iter().map(Target::id).collect();
    if let Some(other) = request.wipe_data.iter().find(|text| HostId::named(text, &members).is_none()) {
        return Err(FlowError::request_with_help(
            format!("--wipe-data {other}: it is not among the hosts of this line"),
            "write its address just as behind --host, with the port where several hosts have that address",
        ));
    }
    if let Some(cluster) = known.filter(|c| c.tls != request.tls) {
        let (is, asked) = if cluster.tls { ("with TLS", "without") } else { ("without TLS", "with") };
        return Err(FlowError::request_with_help(
            format!("the etcd cluster of environment {} stands {is}, this asks for it {asked}", environment.name),
            "leave --etcd-tls away, or name another --environment for another cluster",
        ));
    }
    let warning = |text: String| vec![Problem::warning(None, text, Some("use three or five members".to_owned()))];
    Ok(match count {
        1 => warning("etcd with one member: when that host is lost, so is its data".to_owned()),
        n if n % 2 == 0 => warning(format!("etcd with {n} members survives no more failures than with {}", n - 1)),
        _ => Vec::new(),
    })
}

/// What the hosts themselves say.
pub(super) fn check_hosts(request: &EtcdCreate, known: Option<&Cluster>, scene: &Scene<'_>) -> Vec<Problem> {
    let members: Vec<(&Target, &RunHost)> =
        request.members.iter().filter_map(|t| scene.hosts.get(&t.id()).map(|h| (t, h))).collect();
    let mut problems = check_alike(&members);
    problems.extend(check_clocks(&members));
    let checks = for_each(&members, scene.options.forks, |(_, host)| check_host(host, request, known));
    for ((_, host), found) in members.iter().zip(checks) {
        let lost =
            || vec![Problem::error(host.host.name(), "the check of this host ended unexpectedly", "see the log")];
        problems.extend(found.unwrap_or_else(lost));
    }
    problems
}

/// Machine ids that two hosts share: cloned machines.
fn check_alike(members: &[(&Target, &RunHost)]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    for (_, host) in members.iter().filter(|(_, host)| !host.facts.machine_id.is_empty()) {
        let (name, id) = (host.host.name(), host.facts.machine_id.as_str());
        if let Some(other) = seen.insert(id, name) {
            let help = "rm /etc/machine-id; systemd-machine-id-setup; then reboot it";
            problems.push(Problem::error(name, format!("has the same machine-id as {other}: {id}"), help));
        }
    }
    problems
}

fn check_clocks(members: &[(&Target, &RunHost)]) -> Vec<Problem> {
    let by_clock =
        |a: &&(&Target, &RunHost), b: &&(&Target, &RunHost)| a.1.facts.clock_offset.total_cmp(&b.1.facts.clock_offset);
    let (Some((_, slow)), Some((_, fast))) = (members.iter().min_by(by_clock), members.iter().max_by(by_clock)) else {
        return Vec::new();
    };
    let difference = fast.facts.clock_offset - slow.facts.clock_offset;
    if difference - fast.facts.clock_doubt - slow.facts.clock_doubt <= MAX_CLOCK_DIFFERENCE {
        return Vec::new();
    }
    // The one further from the control host's own clock is the likelier culprit.
    let (wrong, other) =
        if fast.facts.clock_offset.abs() > slow.facts.clock_offset.abs() { (fast, slow) } else { (slow, fast) };
    vec![Problem::error(
        wrong.host.name(),
        format!("its clock differs by {difference:.1} s from that of {}", other.host.name()),
        "set the clocks alike (chronyc makestep, or date -s), and keep them so with chrony",
    )]
}

fn check_host(host: &RunHost, request: &EtcdCreate, known: Option<&Cluster>) -> Vec<Problem> {
    let name = host.host.name();
    let mut problems = Vec::new();
    match Found::on(&host.host) {
        Ok(found) => {
            problems.extend(check_data(name, &found, request, known));
            if !found.running {
                problems.extend(check_ports(host));
            }
            if !found.has_data {
                problems.extend(check_disk_speed(&host.host));
            }
        }
        Err(e) => problems.push(Problem::error(name, e.to_string(), e.help().unwrap_or_default())),
    }
    problems
}

fn check_data(name: &HostId, found: &Found, request: &EtcdCreate, known: Option<&Cluster>) -> Option<Problem> {
    let ours = found.is_of(known.map(|c| c.token.as_str()));
    if !found.has_data || ours || request.wipes(name) && !found.running {
        return None;
    }
    let whose = match &found.token {
        Some(token) => format!("of another cluster (token {token:?})"),
        None => "that this environment did not make".to_owned(),
    };
    if request.wipes(name) {
        return Some(Problem::error(
            name,
            format!("etcd runs here with data {whose}: --wipe-data deletes none that is in use"),
            "take that member out with the environment that made it, or stop it for good (systemctl disable --now etcd)",
        ));
    }
    Some(Problem::error(
        name,
        format!("{} holds etcd data {whose}", super::config::DATA_DIR),
        format!("name the right --environment, move the data away, or have it deleted with --wipe-data {name}"),
    ))
}

fn check_ports(host: &RunHost) -> Vec<Problem> {
    let taken = host.facts.listening.iter().filter(|l| [CLIENT_PORT, PEER_PORT].contains(&l.port));
    let mut problems: Vec<Problem> = taken
        .map(|l| {
            let by = l.process.as_deref().map(|p| format!(" by {p}")).unwrap_or_default();
            let text = format!("port {} is taken{by}", l.port);
            Problem::error(host.host.name(), text, "stop that service, or choose another host")
        })
        .collect();
    problems.dedup();
    problems
}

/// 100 writes of 2 KiB, each followed by fdatasync as etcd's log does: the second longest time, in seconds. By dnf's own
/// Python, else by dd, whose own figure does not have its start in it but which has to be started 100 times.
const FSYNC: &str = r#"d=/var/lib/etcd; [ -d "$d" ] || d=/var/lib
f=$(mktemp "$d/.sunshine-fsync.XXXXXX") || exit 0
trap 'rm -f "$f"' EXIT
for python in /usr/libexec/platform-python python3 python2; do
  "$python" -c '
import os, sys, time
out = os.open(sys.argv[1], os.O_WRONLY)
times = []
for turn in range(100):
    os.lseek(out, 0, os.SEEK_SET)
    os.write(out, b"\0" * 2048)
    begun = time.time()
    os.fdatasync(out)
    times.append(time.time() - begun)
print(sorted(times)[98])
' "$f" 2>/dev/null && exit
done
i=0; while [ $i -lt 100 ]; do
  LC_ALL=C dd if=/dev/zero of="$f" bs=2k count=1 conv=notrunc,fdatasync 2>&1
  i=$((i+1))
done | sed -n 's/.*copied, \([0-9.e-]*\) s.*/\1/p' | sort -g | sed -n 99p"#;

fn check_disk_speed(host: &Host) -> Option<Problem> {
    let output = host.run(&Command::script(FSYNC).timeout(Duration::from_secs(30))).ok()?;
    let p99_ms = output.text().trim().parse::<f64>().ok()? * 1000.0;
    (p99_ms > MAX_FSYNC_MS).then(|| {
        let text = format!(
            "its disk is slow for etcd: 99 % of fsyncs take up to {p99_ms:.0} ms, etcd wants {MAX_FSYNC_MS:.0}"
        );
        Problem::warning(Some(host.name()), text, Some("give /var/lib/etcd a faster disk of its own".to_owned()))
    })
}

/// The address by which the others see this host: the one that the site says it is to have among them; else the one by which we
/// reach it, as the user named it or as its name was resolved; else, of a host behind a gateway, that of its default route.
pub(crate) fn member_address(target: &Target, facts: &Facts) -> Option<IpAddr> {
    if target.node_address.is_some() {
        return target.node_address.filter(|ip| facts.addresses.contains(ip));
    }
    let reached = target.address.ip().into_iter().chain(facts.reached_at).find(|ip| facts.addresses.contains(ip));
    reached.or_else(|| facts.main_address())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_data_is_refused_unless_named() {
        let mut request = EtcdCreate { members: vec![], rpms: vec![], tls: true, wipe_data: vec![] };
        let found = Found { has_data: true, token: Some("theirs".into()), running: false };
        let problem = check_data(&"h".into(), &found, &request, None).unwrap();
        assert!(problem.text.contains("theirs") && problem.help.unwrap().contains("--wipe-data h"));
        request.wipe_data.push("h".into());
        assert_eq!(check_data(&"h".into(), &found, &request, None), None);
        // Not that of a member at work.
        let at_work = Found { running: true, ..found };
        let problem = check_data(&"h".into(), &at_work, &request, None).unwrap();
        assert!(problem.text.contains("etcd runs here") && problem.text.contains("theirs"), "{problem:?}");
        assert_eq!(check_data(&"h".into(), &Found { has_data: false, ..at_work }, &request, None), None);
    }
}
