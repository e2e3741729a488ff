//! Which packages are missing where, and the repository they come from.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use crate::deliver::Route;
use crate::deliver::server::Place;
use crate::host::{Facts, HostId, for_each};
use crate::packages::{HostRepo, InstallOptions, PackageError, Transaction, Wanted, query_installed, way_out_of};
use crate::plan::{Events, Level, RunHost, RunHosts, release_lease};

use super::disk_space::DiskSpace;
use super::problem::Problem;
use super::scene::Scene;

/// The temporary repository of this run, and what each host needs of it.
#[derive(Debug)]
pub(super) struct Repository {
    pub place: Place,
    pub needed: BTreeMap<HostId, Vec<Wanted>>,
}

/// Hosts that lack something, with all they want: one transaction brings it.
pub(super) fn missing(
    wanted: &BTreeMap<HostId, Vec<Wanted>>,
    hosts: &RunHosts,
    options: &InstallOptions,
) -> BTreeMap<HostId, Vec<Wanted>> {
    let needs = |host: &RunHost, wanted: &Wanted| !is_there(host, wanted) || wanted.is_again(options);
    let lacks = |name: &str, packages: &[Wanted]| hosts.get(name).is_some_and(|h| packages.iter().any(|w| needs(h, w)));
    wanted.iter().filter(|(name, packages)| lacks(name, packages)).map(|(n, p)| (n.clone(), p.clone())).collect()
}

/// Takes away those that have all under other names: what a package provides, the facts do not tell.
pub(super) fn drop_provided(
    needed: &mut BTreeMap<HostId, Vec<Wanted>>,
    hosts: &RunHosts,
    options: &InstallOptions,
    forks: usize,
) {
    let by_name = |wanted: &[Wanted]| wanted.iter().any(|wanted| matches!(wanted, Wanted::Name(_)));
    let asked: Vec<(HostId, &RunHost, &[Wanted])> = needed
        .iter()
        .filter(|(_, wanted)| by_name(wanted))
        .filter_map(|(name, wanted)| Some((name.clone(), hosts.get(name)?, wanted.as_slice())))
        .collect();
    let provided = for_each(&asked, forks, |(_, host, wanted)| {
        let there = query_installed(&host.host, wanted).ok()?;
        let is_met = |(wanted, there): (&Wanted, &Vec<_>)| wanted.is_met_by(there) && !wanted.is_again(options);
        Some(wanted.iter().zip(&there).all(is_met))
    });
    let names: Vec<HostId> = asked.into_iter().map(|(name, ..)| name).collect();
    for (name, _) in names.iter().zip(provided).filter(|(_, all)| *all == Some(Some(true))) {
        needed.remove(name);
    }
}

fn is_there(host: &RunHost, wanted: &Wanted) -> bool {
    match (wanted, host.facts.packages.get(wanted.name())) {
        (_, None) => false,
        (Wanted::Name(_) | Wanted::Version { .. }, Some(_)) => true,
        (Wanted::Rpm { id, .. }, Some(evr)) => evr.to_string() == format!("{}:{}-{}", id.epoch, id.version, id.release),
    }
}

/// Hosts that are to have packages and whose database of rpm does not answer: nothing about packages can be asked there.
pub(super) fn unanswered(wanted: &BTreeMap<HostId, Vec<Wanted>>, hosts: &RunHosts) -> Vec<Problem> {
    let hosts = wanted.iter().filter(|(_, packages)| !packages.is_empty()).filter_map(|(name, _)| hosts.get(name));
    hosts.filter_map(|host| rpm_database(host.host.name(), &host.facts)).collect()
}

fn rpm_database(name: &HostId, facts: &Facts) -> Option<Problem> {
    let why = facts.rpm_database.as_ref()?;
    let users = facts.rpm_users.join(", ");
    let (users, help) = if users.is_empty() {
        (users, "`rpm --rebuilddb` there repairs most damage; keep a copy of the database before".to_owned())
    } else {
        (
            format!("; in use by {users}"),
            format!("wait for {users} to end, or end it; then `rpm -qa` there must answer"),
        )
    };
    Some(Problem::error(name, format!("the database of rpm does not answer: {why}{users}"), help))
}

/// Opens the repository on every host that needs it and tries the transaction there, `forks` hosts at once. What the transactions take of the
/// hosts' file systems goes to `disk_space`.
pub(super) fn open_repository(
    repository: &Repository,
    scene: &Scene<'_>,
    disk_space: &mut BTreeMap<HostId, Vec<DiskSpace>>,
) -> Vec<Problem> {
    let needed: Vec<(&HostId, &RunHost, &[Wanted])> = repository
        .needed
        .iter()
        .filter_map(|(name, wanted)| Some((name, scene.hosts.get(name)?, wanted.as_slice())))
        .collect();
    let tries = for_each(&needed, scene.options.forks, |(_, host, wanted)| open_one(repository, scene, host, wanted));
    let lost = |name: &HostId| vec![Problem::error(name, "the repository check ended unexpectedly", "see the log")];
    let mut problems = Vec::new();
    for ((name, ..), tried) in needed.iter().zip(tries) {
        let (found, packages) = tried.unwrap_or_else(|| (lost(name), Vec::new()));
        problems.extend(found);
        disk_space.entry((*name).clone()).or_default().extend(packages);
    }
    problems
}

fn open_one(
    repository: &Repository,
    scene: &Scene<'_>,
    run_host: &RunHost,
    wanted: &[Wanted],
) -> (Vec<Problem>, Vec<DiskSpace>) {
    let name = run_host.host.name();
    let note = |text: String| scene.events.note(Some(name), Level::Info, text, None);
    let problem = |text: String, help| Problem { host: Some(name.to_owned()), level: Level::Error, text, help };
    let failed = |e: &PackageError| {
        // A problem's line begins with its host, and so does such an error.
        let text = e.to_string();
        problem(text.strip_prefix(&format!("{name} ")).unwrap_or(&text).to_owned(), e.help())
    };
    match try_one(repository, scene, run_host, wanted, note) {
        Ok((transaction, disk_space)) => {
            if !transaction.is_empty() {
                note(transaction.to_string());
            }
            let found = transaction.problems.into_iter().map(|text| {
                let help = way_out_of(&text);
                problem(text, help)
            });
            (found.collect(), disk_space)
        }
        Err(e) => (vec![failed(&e)], Vec::new()),
    }
}

fn try_one(
    repository: &Repository,
    scene: &Scene<'_>,
    run_host: &RunHost,
    wanted: &[Wanted],
    mut note: impl FnMut(String),
) -> Result<(Transaction, Vec<DiskSpace>), PackageError> {
    let choice = scene.options.repo_route;
    let environment = (!scene.options.dry_run).then_some(run_host.owner.environment.as_str());
    let (host, facts, place) = (&run_host.host, &run_host.facts, &repository.place);
    let mut repo = HostRepo::open(host, facts, place, choice, wanted, environment, &mut note)?;
    if matches!(repo.route(), Route::Tunnel | Route::Push) {
        note(format!("packages come by route {}", repo.why()));
    }
    let tried = repo.trial(&run_host.host, wanted, &scene.install).and_then(|transaction| {
        let disk_space = repo.disk_space(&transaction)?.into_iter();
        let disk_space = disk_space.map(|(folder, bytes, what)| DiskSpace::new(folder, bytes, what)).collect();
        Ok((transaction, disk_space))
    });
    // Kept also when the trial failed: it is closed with the others.
    *run_host.repo.lock().unwrap_or_else(PoisonError::into_inner) = Some(repo);
    tried
}

/// Takes the repository off every host, `forks` at once, and what a killed run left there.
pub(super) fn close_repositories(hosts: &RunHosts, events: &Events, forks: usize, dry_run: bool) {
    let hosts: Vec<&RunHost> = hosts.values().collect();
    for_each(&hosts, forks, |run_host| {
        let repo = run_host.repo.lock().unwrap_or_else(PoisonError::into_inner).take();
        let closed = match repo {
            Some(mut repo) => repo.close(&run_host.host),
            None if dry_run => Ok(()),
            None => HostRepo::sweep(&run_host.host, &run_host.owner.environment),
        };
        if let Err(e) = closed {
            let text = format!("the temporary repository could not be removed from this host: {e}");
            let help = Some("the next run on this host clears it".to_owned());
            events.note(Some(run_host.host.name()), Level::Warning, text, help);
        }
        // Where it cannot be released it ends with the connection.
        if !dry_run {
            drop(release_lease(&run_host.host, &run_host.owner));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_does_not_answer_is_told_with_who_has_it_open() {
        let told = |facts: &Facts| {
            rpm_database(&HostId::from("h"), facts).map(|problem| (problem.text, problem.help.unwrap()))
        };
        assert_eq!(told(&Facts::default()), None);
        let mut facts = Facts { rpm_database: Some("gave no answer within 15 s".into()), ..Facts::default() };
        let (text, help) = told(&facts).unwrap();
        assert_eq!(text, "the database of rpm does not answer: gave no answer within 15 s");
        assert!(help.contains("--rebuilddb"), "{help}");
        facts.rpm_users = vec!["rpm (process 1234)".into(), "dnf (process 77)".into()];
        let (text, help) = told(&facts).unwrap();
        assert!(text.ends_with("; in use by rpm (process 1234), dnf (process 77)"), "{text}");
        assert!(help.starts_with("wait for rpm (process 1234), dnf (process 77) to end"), "{help}");
    }
}
