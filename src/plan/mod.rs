//! Steps, plans, the executor and the events that leave a run. What a step does is not known here.
//!
//! In flow a [`Plan`] and the [`RunHosts`] it is for; out flow [`Event`]s and a [`RunReport`].

mod context;
mod error;
mod event;
mod executor;
mod graph;
mod lease;
mod lock;
mod made;
mod owner;
mod scheduler;
mod step;

pub use context::{Cx, Interrupt, RunHost, RunHosts};
pub use error::{PlanError, StepError};
pub use event::{Event, Events, Failure, HostResult, HostState, Level, Listener, Outcome};
pub(crate) use executor::millis;
pub use executor::{RunMode, RunReport, run, run_with};
pub use lease::{Holder, LeaseKeeper, release_lease, take_lease};
pub use lock::{LockError, RunLock};
pub use made::{Made, make_first};
pub use owner::Owner;
pub use step::{Check, Edge, Owned, Plan, Step, StepId, Work};
