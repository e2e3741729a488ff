//! Starts tasks and keeps an eye on them: one thread a task, on the same road as the command line's
//! ([`crate::flow::run_job`]).

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use camino::Utf8PathBuf;
use payload::Bundle;
use tokio::sync::{Notify, oneshot};

use crate::flow::request::{Job, RunOptions};
use crate::flow::{FlowError, Setup, run_job};
use crate::interface::login;
use crate::interface::{log, record};
use crate::plan::{Event, Events, Interrupt, LockError};
use crate::store::vault::Vault;
use crate::store::{Recorder, Store, StoreError};

use super::job::{Asked, Kept, LOGIN_HELP};
use super::memory::Memory;

/// Environments that may be worked on at once.
const TASKS: usize = 16;

/// What every task of this listener is run with.
#[derive(Debug)]
pub(crate) struct Runner {
    pub(crate) bundle: Option<Bundle>,
    pub(crate) root: Utf8PathBuf,
    pub(crate) store: Store,
    pub(crate) options: RunOptions,
    pub(crate) vault: Option<Vault>,
    /// `None` where everybody is answered: what one caller's password opens is not opened for the next, and nothing that
    /// lies on the control host is used.
    memory: Option<Memory>,
    running: Mutex<HashMap<u64, Arc<Interrupt>>>,
    ended: Notify,
    ending: AtomicBool,
    /// Clusters asked for their status at once: each question takes a thread and some seconds.
    pub(crate) questions: tokio::sync::Semaphore,
}

/// Why a task was not started.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The request is wrong: 400.
    Wrong(String),
    /// The environment is not known: 404.
    Unknown(String),
    /// A task of this environment is running: 409.
    Busy(String),
    /// The listener is ending, or has too much to do: 503.
    Later(String),
    /// Something of the control host stands in the way: 500.
    Failed(String),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl Runner {
    pub(crate) fn new(
        bundle: Option<Bundle>,
        root: Utf8PathBuf,
        options: RunOptions,
        vault: Option<Vault>,
        memory: Option<Memory>,
    ) -> Result<Self, StoreError> {
        let store = Store::open(&root)?;
        Ok(Self {
            bundle,
            root,
            store,
            options,
            vault,
            memory,
            running: Mutex::default(),
            ended: Notify::new(),
            ending: AtomicBool::new(false),
            questions: tokio::sync::Semaphore::new(8),
        })
    }

    /// Starts a task; returns once it has begun, or could not.
    pub(crate) async fn start(self: &Arc<Self>, environment: &str, asked: Asked) -> Result<serde_json::Value, Refusal> {
        let options = RunOptions {
            environment: environment.to_owned(),
            login: asked.defaults,
            sealed: asked.known,
            login_help: LOGIN_HELP,
            known_caller: asked.kept.is_some(),
            ..self.options.clone()
        };
        let job = Job { operations: asked.operations, options };
        let new = record::new_task(&job);
        let params = new.params.clone();
        let recorder = Recorder::new(&self.root, new)?;
        let interrupt = Arc::new(Interrupt::default());
        let number = self.admit(&interrupt)?;
        let (tell, told) = oneshot::channel();
        let runner = Arc::clone(self);
        let kept = asked.kept;
        let body = move || {
            if let Err(said) = isolated(|| runner.work(&job, &recorder, &interrupt, tell, kept)) {
                let why = format!("the task ended by a defect of this program: {said}");
                tracing::error!("{}: {why}", job.options.environment);
                recorder.failed(
                    &why,
                    Some("report it with the output of `support-bundle`; the same request goes on from here"),
                );
            }
            runner.lock().remove(&number);
            runner.ended.notify_waiters();
        };
        if let Err(e) = thread::Builder::new().name(format!("task-{number}")).spawn(body) {
            self.lock().remove(&number);
            return Err(Refusal::Failed(format!("no thread for the task: {e}")));
        }
        match told.await {
            Ok(Ok(())) => Ok(params),
            Ok(Err(refusal)) => Err(refusal),
            Err(_) => Err(Refusal::Failed("the task ended before it began".to_owned())),
        }
    }

    fn admit(&self, interrupt: &Arc<Interrupt>) -> Result<u64, Refusal> {
        let mut running = self.lock();
        if self.ending.load(Ordering::SeqCst) {
            return Err(Refusal::Later("the listener is ending".to_owned()));
        }
        if running.len() >= TASKS {
            return Err(Refusal::Later(format!("{TASKS} tasks are running: wait until one has ended")));
        }
        let number = (0..).find(|n| !running.contains_key(n)).unwrap_or(u64::MAX);
        running.insert(number, Arc::clone(interrupt));
        Ok(number)
    }

    fn work(
        self: &Arc<Self>,
        job: &Job,
        recorder: &Recorder,
        interrupt: &Arc<Interrupt>,
        tell: oneshot::Sender<Result<(), Refusal>>,
        kept: Option<Kept>,
    ) {
        let tell = Arc::new(Mutex::new(Some(tell)));
        let events = Arc::new(Events::new());
        events.listen(log::Reader);
        events.listen(recorder.clone());
        let (first, runner) = (Arc::clone(&tell), Arc::clone(self));
        // Behind the recorder: whoever gets the answer finds the task in the store.
        events.listen(move |event: &Event| {
            if let Event::RunStarted { environment, .. } = event {
                if let Some(kept) = &kept {
                    runner.keep(environment, kept);
                }
                answer(&first, Ok(()));
            }
        });
        let setup = Setup {
            bundle: self.bundle.clone(),
            state_root: self.root.clone(),
            events,
            interrupt: Arc::clone(interrupt),
        };
        if let Err(e) = run_job(job, &setup) {
            tracing::error!("{}: {e}", job.options.environment);
            recorder.failed(&e.to_string(), e.help().as_deref());
            answer(&tell, Err(e.into()));
        }
    }

    fn keep(&self, environment: &str, kept: &Kept) {
        let Kept { login, secrets } = kept;
        if let Err(e) = login::keep(&self.store, self.vault.as_ref(), environment, login, secrets) {
            tracing::warn!("the environment's login is not kept: {e}");
        }
        if let Some(memory) = &self.memory {
            memory.keep(environment, login, secrets);
        }
    }

    /// The login that earlier tasks of the environment had; passwords as far as they are sealed or remembered. `None` where
    /// everybody is answered.
    pub(crate) fn login(&self, environment: &str) -> Result<Option<Kept>, StoreError> {
        let Some(memory) = &self.memory else { return Ok(None) };
        let (login, mut secrets) = login::kept(&self.store, self.vault.as_ref(), environment)?;
        memory.complete(environment, &login, &mut secrets);
        Ok(Some(Kept { login, secrets }))
    }

    /// Forgets the passwords of an environment that is no more.
    pub(crate) fn forget_login(&self, environment: &str) {
        if let Some(memory) = &self.memory {
            memory.forget(environment);
        }
    }

    /// Forgets all passwords: nothing is started any more.
    pub(crate) fn forget_logins(&self) {
        if let Some(memory) = &self.memory {
            memory.clear();
        }
    }

    /// Has every task end at its next safe point, and waits for that.
    pub(crate) async fn stop(&self) {
        self.ending.store(true, Ordering::SeqCst);
        for interrupt in self.lock().values() {
            interrupt.set();
        }
        loop {
            let mut ended = std::pin::pin!(self.ended.notified());
            // Registered before looking: an end between the two is not missed.
            ended.as_mut().enable();
            if self.lock().is_empty() {
                return;
            }
            ended.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Interrupt>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A defect that ends one task ends no other, nor the listener. The error is what the panic said.
fn isolated(work: impl FnOnce()) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(ToString::to_string);
        text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it left no words".to_owned())
    })
}

/// The first answer counts; that nobody waits for it any more changes nothing.
fn answer(tell: &Mutex<Option<oneshot::Sender<Result<(), Refusal>>>>, result: Result<(), Refusal>) {
    if let Some(tell) = tell.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let _ = tell.send(result);
    }
}

impl From<FlowError> for Refusal {
    fn from(error: FlowError) -> Self {
        let help = error.help().map(|help| format!("; {help}")).unwrap_or_default();
        let words = format!("{error}{help}");
        match error {
            FlowError::Request { .. } => Self::Wrong(format!("{}: {words}", super::body::WRONG)),
            FlowError::Lock(LockError::Held { .. }) => Self::Busy(words),
            _ => Self::Failed(words),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_defect_ends_its_own_task_and_says_what_it_said() {
        let ended = std::thread::spawn(|| isolated(|| panic!("index {}", 7))).join();
        assert_eq!(ended.unwrap(), Err("index 7".to_owned()));
        assert_eq!(isolated(|| panic!("plain")), Err("plain".to_owned()));
        assert_eq!(isolated(|| ()), Ok(()));
        // Nothing can be caught where a panic ends the process.
        assert!(!include_str!("../../../Cargo.toml").contains("panic = \"abort\""));
    }
}
