//! Connects to all hosts of a job concurrently and reads their facts; one slow or dead host holds up nobody.

use std::sync::Arc;

use crate::host::{Connect, Host, HostError, Probe, Target, Told, Watch, for_each};
use crate::plan::{Event, Events, Level, Owner, RunHost, RunHosts, millis, take_lease};

use super::job::Setup;
use super::problem::Problem;
use super::request::RunOptions;
use super::{etcd, kubernetes};

/// The hosts that answered, and a problem for each that did not.
pub(super) fn connect_all(
    targets: &[Target],
    options: &RunOptions,
    setup: &Setup,
    owner: &Owner,
) -> (RunHosts, Vec<Problem>) {
    let connect = Connect {
        host_key: options.host_key,
        known_hosts: setup.state_root.join("known_hosts"),
        timeout: options.connect_timeout,
        watch: Some(watch(Arc::clone(&setup.events))),
        told: Some(told(Arc::clone(&setup.events))),
        look_only: options.dry_run,
    };
    let probes = probes();
    let results = for_each(targets, options.forks, |target| reach(target, &connect, &probes, owner, options.dry_run));
    let (mut hosts, mut problems) = (RunHosts::new(), Vec::new());
    for (target, result) in targets.iter().zip(results) {
        let name = target.id();
        match result {
            Some(Ok(host)) => drop(hosts.insert(name, host)),
            Some(Err(problem)) => problems.push(problem),
            None => problems.push(Problem::error(&name, "the login ended unexpectedly", "see the log")),
        }
    }
    (hosts, problems)
}

/// What everything that this program runs on hosts asks of them.
pub(super) fn probes() -> Vec<Probe> {
    std::iter::once(etcd::PROBE).chain(kubernetes::probes()).collect()
}

/// Tells every remote command as an event, for `-v` and the log.
fn watch(events: Arc<Events>) -> Watch {
    Arc::new(move |host, command, status, took| {
        let (host, command) = (host.to_owned(), command.to_string());
        events.send(&Event::Command { host, command, status, took_ms: millis(took) });
    })
}

/// Passes on why a host is waited for.
fn told(events: Arc<Events>) -> Told {
    Arc::new(move |host, text| events.note(Some(host), Level::Info, text, None))
}

fn reach(
    target: &Target,
    connect: &Connect,
    probes: &[Probe],
    owner: &Owner,
    dry_run: bool,
) -> Result<RunHost, Problem> {
    let failed = |e: HostError| problem(target, &e);
    let host = Host::connect(target, connect).map_err(failed)?;
    let facts = host.facts(probes).map_err(failed)?;
    // A dry run changes nothing, and looks whoever is at work.
    if !dry_run && let Some(holder) = take_lease(&host, owner).map_err(failed)? {
        return Err(Problem {
            host: Some(target.id()),
            level: Level::Error,
            text: format!("another run is working on this host: {holder}"),
            help: Some("wait until it has ended; the lease of one that died ends by itself within a minute".to_owned()),
        });
    }
    Ok(RunHost::new(host, facts, owner.clone()))
}

fn problem(target: &Target, error: &HostError) -> Problem {
    Problem { host: Some(target.id()), level: Level::Error, text: error.to_string(), help: error.help() }
}
