//! Runs a job: the same numbered road for every operation.
//!
//! 1. The environment is locked.
//! 2. Every rpm named by the request is found, before any host is touched; a run before that was killed is explained.
//! 3. Every byte of the bundle is checked; then all hosts are connected to concurrently and their facts read.
//!    Where the environment's clusters are lost, what follows is checked and planned for new ones.
//! 4. The temporary repository is served; every problem of every host is found.
//! 5. Each host's route to the repository is found, the transaction tried on all. All problems are reported at once; with any,
//!    nothing is changed.
//! 6. What the plans must know beside that is observed; then the plan is made, from that alone, and run.
//! 7. What was learnt is kept with the environment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use camino::Utf8PathBuf;
use payload::Bundle;

use crate::deliver::{CONNECTIONS, Delivery};
use crate::host::{HostId, Need, Target, raise_descriptors};
use crate::packages::{InstallOptions, Wanted};
use crate::plan::{
    Event, Events, HostResult, HostState, Interrupt, LeaseKeeper, Level, Owner, Plan, RunHost, RunHosts, RunLock,
    RunMode, RunReport, millis, run,
};

use super::connect::connect_all;
use super::descriptors::fitting;
use super::disk_space;
use super::error::FlowError;
use super::logins::Logins;
use super::lost::{self, Fate};
use super::masked;
use super::older::older;
use super::operations::checked_flows;
use super::packages::{Repository, close_repositories, open_repository, unanswered};
use super::problem::Problem;
use super::request::{Job, RunOptions};
use super::rpms;
use super::scene::{Asked, Flow, Flows, Scene, Seen};
use super::state::Environment;

/// What a job runs in.
#[derive(Debug)]
pub struct Setup {
    pub bundle: Option<Bundle>,
    /// Where environments are kept: [`super::state_dir`].
    pub state_root: Utf8PathBuf,
    pub events: Arc<Events>,
    pub interrupt: Arc<Interrupt>,
}

/// How a job went.
#[derive(Debug)]
pub struct JobReport {
    pub ok: bool,
    pub interrupted: bool,
    pub hosts: Vec<HostResult>,
    /// How to use what was made, a line each.
    pub advice: Vec<String>,
    /// What to know of the hosts beside the table, a line each.
    pub remarks: Vec<String>,
}

/// Does everything the job asks for.
///
/// # Errors
/// When it could not begin: a wrong request, a damaged bundle, a locked environment, problems found on hosts. Steps that
/// fail are not errors here but in the report.
pub fn run_job(job: &Job, setup: &Setup) -> Result<JobReport, FlowError> {
    let begun = Instant::now();
    let environment = match job.options.dry_run {
        true => Environment::look(&setup.state_root, &job.options.environment)?,
        false => Environment::open(&setup.state_root, &job.options.environment)?,
    };
    let _lock = lock(&environment, job)?;
    let asked = Asked { environment: &environment, bundle: setup.bundle.as_ref(), options: &job.options };
    // A request that is wrong in itself is refused here: to whoever listens, that run never began.
    let (flows, problems) = checked_flows(&job.operations, &asked)?;
    let mut checked = Checked { flows, problems };
    let targets = all_targets(&checked.flows)?;
    let need = Need { hosts: targets.len(), forks: job.options.forks, connections: CONNECTIONS };
    let (forks, reduced) = fitting(need, raise_descriptors());
    let job = &Job { options: RunOptions { forks, ..job.options.clone() }, ..job.clone() };
    explain_last_run(&environment, setup, job)?;
    setup.events.send(&Event::RunStarted {
        run: run_id(),
        environment: environment.name.clone(),
        operations: checked.flows.iter().map(|f| f.title()).collect(),
        hosts: targets.iter().map(|t| t.id().to_string()).collect(),
        dry_run: job.options.dry_run,
    });
    let result = work(job, setup, &environment, &mut checked, &targets, reduced);
    let (ok, interrupted, hosts) = match &result {
        Ok(report) => (report.ok, report.interrupted, report.hosts.clone()),
        Err(_) => (false, setup.interrupt.is_set(), untouched(&targets)),
    };
    setup.events.send(&Event::RunFinished { ok, interrupted, hosts, took_ms: millis(begun.elapsed()) });
    result
}

/// What the request comes to, and what is wrong in it.
struct Checked {
    flows: Flows,
    problems: Vec<Problem>,
}

// A dry run changes nothing here either: no lock file.
fn lock(environment: &Environment, job: &Job) -> Result<Option<RunLock>, FlowError> {
    if job.options.dry_run {
        return Ok(None);
    }
    Ok(Some(RunLock::take(&environment.dir, &environment.name)?))
}

fn explain_last_run(environment: &Environment, setup: &Setup, job: &Job) -> Result<(), FlowError> {
    if job.options.dry_run {
        return Ok(());
    }
    if let Some(last) = environment.last_run()?
        && !last.finished
    {
        let during = match last.in_the_middle.as_slice() {
            [] => "between two steps".to_owned(),
            steps => format!("during: {}", steps.join("; ")),
        };
        setup.events.note(
            None,
            Level::Info,
            format!("the previous run was interrupted {during}; continuing from there"),
            None,
        );
    }
    Ok(())
}

fn run_id() -> String {
    format!("{}-{}", jiff::Zoned::now().strftime("%Y%m%d-%H%M%S"), std::process::id())
}

fn untouched(targets: &[Target]) -> Vec<HostResult> {
    let host =
        |t: &Target| HostResult { host: t.id(), result: HostState::Untouched, changed: 0, took_ms: 0, route: None };
    targets.iter().map(host).collect()
}

/// Every host once; one address with two SSH ports is two hosts. The same host with other credentials is a contradiction that nobody but the user can settle.
fn all_targets(flows: &[Box<dyn Flow>]) -> Result<Vec<Target>, FlowError> {
    let mut targets: Vec<Target> = Vec::new();
    let mut places: BTreeMap<HostId, usize> = BTreeMap::new();
    for target in flows.iter().flat_map(|f| f.targets()) {
        match places.get(&target.id()).map(|place| &targets[*place]) {
            None => {
                places.insert(target.id(), targets.len());
                targets.push(target);
            }
            Some(known) if known.same_login(&target) => {}
            Some(_) => {
                return Err(FlowError::request(format!("{} is given twice with different credentials", target.id())));
            }
        }
    }
    Ok(targets)
}

fn work(
    job: &Job,
    setup: &Setup,
    environment: &Environment,
    checked: &mut Checked,
    targets: &[Target],
    reduced: Option<Problem>,
) -> Result<JobReport, FlowError> {
    let (flows, mut problems) = (&checked.flows, Vec::from_iter(reduced));
    let bundle = setup.bundle.as_ref();
    // Before any host hears of this run: a damaged bundle must not even log in. Reading 240 MB takes a tenth of a second;
    // doing it beside the logins would hide most of that.
    if let Some(bundle) = bundle {
        bundle.verify(&mut |_| {})?;
    }
    let (hosts, unconnected) = connect_all(targets, &job.options, setup, &owner(environment, job)?);
    // A host that is given up may be dead.
    for problem in unconnected {
        let host = problem.host.as_deref().unwrap_or_default();
        let without = flows.iter().filter(|f| f.targets().iter().any(|t| t.id() == *host));
        let spare = without.clone().count() > 0 && without.into_iter().all(|f| f.may_be_dead(host));
        let more = flows.iter().find_map(|f| f.when_dead()).map(|w| format!("; {w}")).unwrap_or_default();
        problems.push(if spare {
            Problem { level: Level::Warning, ..problem }
        } else {
            Problem { help: problem.help.map(|h| h + &more), ..problem }
        });
    }
    problems.extend(hosts.values().filter(|h| !h.host.is_root()).map(without_root));
    if !job.options.dry_run {
        let reached: Vec<Target> = targets.iter().filter(|t| hosts.contains_key(&t.id())).cloned().collect();
        Logins::keep(environment, &reached)?;
    }
    thread::scope(|scope| {
        let _keeper = (!job.options.dry_run).then(|| LeaseKeeper::start(scope, &hosts));
        let fate = lost::look(job, environment, &hosts)?;
        let is_lost = matches!(fate, Fate::Lost(_));
        if is_lost {
            environment.begin_anew();
            let asked = Asked { environment, bundle, options: &job.options };
            let (flows, problems) = checked_flows(&job.operations, &asked)?;
            *checked = Checked { flows, problems };
        }
        problems.append(&mut checked.problems);
        problems.extend(fate.problem(job.options.recreate));
        match work_on(job, setup, environment, &mut checked.flows, &hosts, problems) {
            // Nothing else was found: whoever is at the terminal can be asked.
            Err(FlowError::Preflight { problems: 1 }) if is_lost && !job.options.recreate => Err(FlowError::Lost),
            result => result,
        }
    })
}

/// Everything from the preflight to the end of the plan, on the hosts that answered.
fn work_on(
    job: &Job,
    setup: &Setup,
    environment: &Environment,
    flows: &mut [Box<dyn Flow>],
    hosts: &RunHosts,
    mut problems: Vec<Problem>,
) -> Result<JobReport, FlowError> {
    let install = InstallOptions {
        allow_downgrade: job.options.allow_downgrade,
        force_reinstall: job.options.reinstall,
        // Several operations on one line try their packages together, and install them one after the other.
        hold: flows.len() == 1 && !job.options.dry_run,
        ..InstallOptions::default()
    };
    let scene = Scene {
        environment,
        bundle: setup.bundle.as_ref(),
        hosts,
        events: &setup.events,
        options: &job.options,
        install,
        delivery: Delivery::new(setup.bundle.clone(), job.options.repo_route),
    };
    let mut wanted = BTreeMap::new();
    for flow in flows.iter() {
        for (host, packages) in flow.packages(&scene)? {
            merge(wanted.entry(host).or_insert_with(Vec::new), packages);
        }
    }
    let older = older(&wanted, hosts, scene.bundle);
    let remarks = older.iter().map(Problem::line).collect();
    problems.extend(older);
    problems.extend(unanswered(&wanted, hosts));
    // Before the preflight: the repository makes its key meanwhile.
    let repository = start_repository(&wanted, &scene)?;
    for flow in flows.iter() {
        problems.extend(flow.preflight(&scene)?);
    }
    let mut needed = BTreeMap::new();
    flows.iter().for_each(|flow| disk_space::merge(&mut needed, flow.disk_space(&scene)));
    if let Some(repository) = &repository {
        problems.extend(open_repository(repository, &scene, &mut needed));
    }
    disk_space::check(&needed, &scene, &mut problems);
    let result = stop_at_problems(problems, &setup.events).and_then(|()| run_plan(job, setup, flows, &scene));
    close_repositories(hosts, &setup.events, job.options.forks, job.options.dry_run);
    result.map(|report| JobReport { remarks, ..report })
}

/// In whose name hosts' change records are written. A dry run writes none, and makes no id.
fn owner(environment: &Environment, job: &Job) -> Result<Owner, FlowError> {
    let looking = || Ok(environment.known_id()?.unwrap_or_else(|| environment.name.clone()));
    Ok(Owner::of(if job.options.dry_run { looking() } else { environment.id() }?))
}

/// A dry run looks with what the user may read; a run would stop here.
fn without_root(host: &RunHost) -> Problem {
    let (name, user) = (host.host.name(), &host.host.target().user);
    let text =
        format!("{user} cannot become root here: a run will need that, and this one shows only what {user} may read");
    Problem::warning(
        Some(name),
        text,
        Some("give the sudo password with --ssh-sudo-pw-file, or allow the user sudo".into()),
    )
}

fn merge(into: &mut Vec<Wanted>, more: Vec<Wanted>) {
    for wanted in more {
        if !into.contains(&wanted) {
            into.push(wanted);
        }
    }
}

fn start_repository(
    wanted: &BTreeMap<HostId, Vec<Wanted>>,
    scene: &Scene<'_>,
) -> Result<Option<Repository>, FlowError> {
    let mut needed = super::packages::missing(wanted, scene.hosts, &scene.install);
    needed.retain(|name, _| scene.hosts.get(name).is_some_and(|h| h.host.is_root() && h.facts.rpm_database.is_none()));
    super::packages::drop_provided(&mut needed, scene.hosts, &scene.install, scene.options.forks);
    if needed.is_empty() {
        return Ok(None);
    }
    let mut local: Vec<Utf8PathBuf> = needed.values().flat_map(|w| rpms::local_files(w)).cloned().collect();
    local.sort();
    local.dedup();
    let place = scene.delivery.start(&local)?;
    Ok(Some(Repository { place, needed }))
}

/// Tells every problem, once where several operations find it; goes on only when none is more than a warning.
pub(super) fn stop_at_problems(found: Vec<Problem>, events: &Events) -> Result<(), FlowError> {
    let mut problems: Vec<Problem> = Vec::with_capacity(found.len());
    for problem in found {
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }
    let bad = problems.iter().filter(|p| p.level == Level::Error).count();
    for problem in problems {
        events.note(problem.host.as_deref(), problem.level, problem.text, problem.help);
    }
    if bad == 0 { Ok(()) } else { Err(FlowError::Preflight { problems: bad }) }
}

fn run_plan(job: &Job, setup: &Setup, flows: &mut [Box<dyn Flow>], scene: &Scene<'_>) -> Result<JobReport, FlowError> {
    let mut seen = scene.seen();
    for flow in flows.iter_mut() {
        flow.observe(scene, &mut seen)?;
    }
    let plan = make_plan(flows, &mut seen)?;
    stop_at_problems(masked::check(&plan, &seen.facts), &setup.events)?;
    if !job.options.dry_run {
        if let Some(aside) = scene.environment.set_lost_aside()? {
            let text =
                format!("the lost cluster's authorities and state are kept in {aside}, until you delete that folder");
            setup.events.note(None, Level::Info, text, None);
        }
        for flow in flows.iter() {
            flow.keep(scene.environment)?;
        }
    }
    let mode = RunMode { forks: job.options.forks, dry_run: job.options.dry_run };
    let report = run(&plan, scene.hosts, &setup.events, &setup.interrupt, mode)?;
    let mut advice = Vec::new();
    if !job.options.dry_run {
        for flow in flows.iter_mut() {
            advice.extend(flow.finish(scene, &report)?);
        }
    }
    let RunReport { hosts, interrupted, ok, control_ok: _ } = report;
    Ok(JobReport { ok, interrupted, hosts, advice, remarks: Vec::new() })
}

/// The plans of all operations, one after the other; each sees what those before it plan.
pub(super) fn make_plan(flows: &mut [Box<dyn Flow>], seen: &mut Seen<'_>) -> Result<Plan, FlowError> {
    let mut plan = Plan::default();
    for flow in flows {
        plan.extend(flow.plan(seen)?);
    }
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::etcd;
    use crate::flow::request::EtcdCreate;
    use crate::host::TargetDefaults;

    fn targets(hosts: &[&str]) -> Result<Vec<String>, String> {
        let flow = |host: &&str| -> Box<dyn Flow> {
            let members = vec![Target::parse(host, &TargetDefaults::default()).unwrap()];
            Box::new(etcd::Converge::create(EtcdCreate { members, rpms: Vec::new(), tls: true, wipe_data: Vec::new() }))
        };
        let all = all_targets(&hosts.iter().map(flow).collect::<Vec<_>>()).map_err(|e| e.to_string())?;
        Ok(all.iter().map(|t| t.id().to_string()).collect())
    }

    #[test]
    fn one_address_with_two_ports_is_two_hosts() {
        let asked = ["root:a@10.8.14.200", "root:b@10.8.14.200:2222", "root:a@10.8.14.200:22"];
        assert_eq!(targets(&asked).unwrap(), ["10.8.14.200", "10.8.14.200:2222"]);
        let error = targets(&["root:geheim@[::1]:2222", "root:b@[::1]:2222"]).unwrap_err();
        assert!(error.contains("[::1]:2222 is given twice with different") && !error.contains("geheim"), "{error}");
    }
}
