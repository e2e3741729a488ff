//! Environments and their tasks, in one SQLite file beside the environments' folders.
//!
//! In flow a run's [`crate::plan::Event`]s, through a [`Recorder`] that every run has, whichever interface began it; out flow
//! [`Task`]s, so that REST and the page show what the command line does, and the other way round. No password is in it,
//! except sealed ([`vault`]).

mod db;
mod error;
mod read;
mod recorder;
mod task;
pub mod vault;

pub use db::{KeptLogin, Store, now};
pub use error::StoreError;
pub use recorder::Recorder;
pub use task::{EnvironmentRow, Kind, NewTask, StoredEvent, Task, TaskFailure, TaskHost, TaskStatus};
