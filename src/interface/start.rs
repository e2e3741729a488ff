//! Runs a job with everything that reads its events: the terminal, the log, and the signals that interrupt it.

use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

use payload::Bundle;

use crate::flow::request::{Job, Operation, RunOptions};
use crate::flow::{FlowError, Setup, run_job, state_dir};
use crate::plan::{Event, Events, Interrupt};
use crate::store::vault::Vault;
use crate::store::{Recorder, Store, StoreError};

use super::ask;
use super::exit::{self, Exit};
use super::log;
use super::login;
use super::record;
use super::signals::Ending;
use super::terminal::{Manner, Terminal};

/// Runs a job to its end and reports how it went. Where the environment's cluster turns out to be lost, the person at the terminal
/// is asked whether a new one is to take its place.
pub(crate) fn start(job: &Job, bundle: Option<Bundle>, manner: Manner) -> Exit {
    let (exit, is_lost) = start_once(job, bundle.clone(), manner);
    if !is_lost || manner.json || job.options.dry_run || !ask::is_possible() {
        return exit;
    }
    let lines =
        ["A new, empty cluster takes the place of the lost one; its authorities and state are kept aside.".to_owned()];
    if !ask::agreed(&lines, "Create it?") {
        return exit;
    }
    let job = Job { options: RunOptions { recreate: true, ..job.options.clone() }, ..job.clone() };
    start_once(&job, bundle, manner).0
}

/// Whether the cluster is lost, too.
fn start_once(job: &Job, bundle: Option<Bundle>, manner: Manner) -> (Exit, bool) {
    let refuse = |e: &FlowError, manner| (refuse(e, manner), false);
    let mut terminal = Terminal::new(manner);
    let job = &match with_sealed(job) {
        Ok(job) => job,
        Err(e) => return refuse(&keeping(e), manner),
    };
    let key_file = job.options.keep_credentials.as_deref().filter(|_| !job.options.dry_run);
    let vault = match key_file.map(Vault::open).transpose() {
        Ok(vault) => vault,
        Err(e) => return refuse(&keeping(e), manner),
    };
    let recorded = match job.options.dry_run {
        true => None,
        false => match Recorder::new(&state_dir(), record::new_task(job)) {
            Ok(recorder) => Some(recorder),
            Err(e) => return refuse(&e.into(), manner),
        },
    };
    let events = Arc::new(Events::new());
    let interrupt = Arc::new(Interrupt::default());
    events.listen(log::Reader);
    events.listen(terminal.reader());
    if let Some(recorder) = &recorded {
        listen(job, recorder, vault, &events);
    }
    on_signals(Arc::clone(&interrupt), &terminal);
    let result = run_job(job, &Setup { bundle, state_root: state_dir(), events, interrupt });
    if let (Some(recorder), Err(e)) = (&recorded, &result) {
        recorder.failed(&e.to_string(), e.help().as_deref());
    }
    match &result {
        Ok(report) => terminal.close(report, job.options.dry_run),
        Err(e) => terminal.error(&e.to_string(), e.help().as_deref()),
    }
    (exit::of_job(&result), matches!(result, Err(FlowError::Lost)))
}

/// The job, its hosts completed with the passwords that earlier runs kept.
fn with_sealed(job: &Job) -> Result<Job, StoreError> {
    let mut job = job.clone();
    if let Some(key_file) = &job.options.keep_credentials {
        job.options.sealed = login::sealed(&state_dir(), key_file, &job.options.environment)?;
        for target in job.operations.iter_mut().flat_map(Operation::targets_mut) {
            target.complete(&job.options.sealed);
        }
    }
    Ok(job)
}

/// Has the run kept in the list of environments, where `serve` shows it, and how its hosts are logged in to.
fn listen(job: &Job, recorder: &Recorder, vault: Option<Vault>, events: &Events) {
    events.listen(recorder.clone());
    let job = job.clone();
    events.listen(move |event: &Event| {
        if let Event::RunStarted { environment, .. } = event
            && let Err(e) = keep_login(vault.as_ref(), environment, &job)
        {
            tracing::warn!("how the hosts are logged in to is not kept: {e}");
        }
    });
}

/// An error of `--keep-credentials` is the line's; one of the store is not.
fn keeping(error: StoreError) -> FlowError {
    match error {
        StoreError::Vault { .. } | StoreError::Io { .. } => FlowError::request(format!("--keep-credentials: {error}")),
        other => other.into(),
    }
}

fn keep_login(vault: Option<&Vault>, environment: &str, job: &Job) -> Result<(), StoreError> {
    let store = Store::open(&state_dir())?;
    let (mut known, mut secrets) = login::kept(&store, vault, environment)?;
    login::learn_job(&mut known, &mut secrets, job);
    login::keep(&store, vault, environment, &known, &secrets)
}

/// Says why a command could not begin.
pub(crate) fn refuse(error: &FlowError, manner: Manner) -> Exit {
    Terminal::new(manner).error(&error.to_string(), error.help().as_deref());
    exit::of_error(error)
}

/// The run that a signal interrupts. A command may run one after another.
static CURRENT: Mutex<Option<Arc<Interrupt>>> = Mutex::new(None);

/// The first signal lets running steps end; the second ends at once.
pub(crate) fn on_signals(interrupt: Arc<Interrupt>, terminal: &Terminal) {
    let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
    if current.replace(interrupt).is_some() {
        // The thread of the run before watches for this one too.
        return;
    }
    let say = terminal.voice();
    let (ready, watching) = mpsc::channel();
    let watch = move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            let Ok(mut ending) = Ending::listen() else { return };
            let _ = ready.send(());
            for time in 1.. {
                ending.wait().await;
                if time > 1 {
                    std::process::exit(130);
                }
                if let Some(interrupt) = &*CURRENT.lock().unwrap_or_else(PoisonError::into_inner) {
                    interrupt.set();
                }
                say.warn("interrupted: the running steps are finished first; once more ends at once");
            }
        });
    };
    // Without the thread a signal ends the program, and the journal explains it on the next run.
    let _ = thread::Builder::new().name("signals".into()).spawn(watch);
    // No signal is lost because the thread was slow to start; without it there is nothing to wait for.
    let _ = watching.recv();
}
