//! What the control host keeps of all environments: documents of the flows, logins, tasks with their events, in one SQLite
//! file ([`Store`]) with one schema number (`schema`), brought up to date in transactions (`migration`). States of
//! versions that kept JSON files are imported once (`import`).
//!
//! In flow a run's [`crate::plan::Event`]s, through a [`Recorder`] that every run has, whichever interface began it; out flow
//! [`Task`]s, so that REST and the page show what the command line does, and the other way round. No password is in it,
//! except sealed ([`vault`]).
//!
//! Private keys and certificates stay files, under `pki/` of an environment's folder. An authority's key cannot be made
//! again: it is written once, by rename, and must not depend on a database that is written all the time; openssl and
//! an operator in trouble read files; and a backup or a copy of the database shows nobody a private key. The run lock
//! stays a file too: the kernel releases it when its process dies.

mod db;
mod documents;
mod error;
mod import;
#[cfg(test)]
mod import_tests;
mod last_run;
mod logins;
mod migration;
mod read;
mod recorder;
mod schema;
mod task;
pub mod vault;

pub use db::{Store, now};
pub use error::StoreError;
pub use last_run::LastRun;
pub use logins::{HostLogin, KeptLogins};
pub use recorder::Recorder;
pub use task::{EnvironmentRow, Kind, NewTask, StoredEvent, Task, TaskFailure, TaskHost, TaskStatus};
