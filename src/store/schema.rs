//! The schema, one migration a version. A migration that was released is never changed: another one follows it.

use camino::Utf8Path;
use rusqlite::Transaction;

use super::error::StoreError;
use super::import;

/// `user_version` of a database that this version of the program writes.
pub(super) const VERSION: i64 = 2;

/// Brings a database one version further, inside the transaction that records it.
type Migration = fn(&Transaction<'_>, &Utf8Path) -> Result<(), MigrationError>;

/// By the version that they begin at.
const MIGRATIONS: [Migration; 2] = [tasks, one_store];

/// Why a migration was undone.
#[derive(Debug)]
pub(super) enum MigrationError {
    Sql(rusqlite::Error),
    /// A file of an earlier version cannot be read, or is not what that version writes.
    Old(StoreError),
}

impl From<rusqlite::Error> for MigrationError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

/// The migrations from a version on, each with the version that it ends at.
pub(super) fn migrations(from: i64) -> impl Iterator<Item = (i64, Migration)> {
    (1..).zip(MIGRATIONS).filter(move |(to, _)| *to > from)
}

/// Version 1: the list of environments, their tasks and events.
const TASKS: &str = "
CREATE TABLE environments (
    id TEXT PRIMARY KEY,
    created TEXT NOT NULL,
    login TEXT,
    sealed BLOB
) STRICT;
CREATE TABLE tasks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    environment TEXT NOT NULL REFERENCES environments(id) ON DELETE CASCADE,
    kind INTEGER NOT NULL,
    run TEXT NOT NULL,
    title TEXT NOT NULL,
    params TEXT NOT NULL,
    status TEXT NOT NULL,
    progress REAL NOT NULL,
    desc TEXT NOT NULL,
    made TEXT,
    err INTEGER NOT NULL,
    started TEXT NOT NULL,
    updated TEXT NOT NULL,
    steps INTEGER NOT NULL DEFAULT 0,
    steps_done INTEGER NOT NULL DEFAULT 0,
    failure TEXT
) STRICT;
CREATE INDEX tasks_of ON tasks(environment, kind, id);
CREATE TABLE hosts (
    task INTEGER NOT NULL REFERENCES tasks(id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    host TEXT NOT NULL,
    state TEXT NOT NULL,
    step TEXT NOT NULL,
    done INTEGER NOT NULL DEFAULT 0,
    weight INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (task, host)
) STRICT;
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    task INTEGER NOT NULL REFERENCES tasks(id) ON DELETE CASCADE,
    json TEXT NOT NULL
) STRICT;
CREATE INDEX events_of ON events(task, id);
";

fn tasks(tx: &Transaction<'_>, _: &Utf8Path) -> Result<(), MigrationError> {
    Ok(tx.execute_batch(TASKS)?)
}

/// Version 2: what were files of each environment (`id`, `etcd.json`, `kubernetes.json`, `ec2.json`, `hosts.json`, the
/// journal) and the JSON in `environments.login`. `record_id` is what hosts' change records call the environment; `user` and
/// `key` are for hosts with none of their own; `moves` are files that were imported and still lie where they were.
const ONE_STORE: &str = "
ALTER TABLE environments ADD COLUMN record_id TEXT;
ALTER TABLE environments ADD COLUMN user TEXT;
ALTER TABLE environments ADD COLUMN key TEXT;
CREATE TABLE documents (
    environment TEXT NOT NULL REFERENCES environments(id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    json TEXT NOT NULL,
    PRIMARY KEY (environment, name)
) STRICT;
CREATE TABLE logins (
    environment TEXT NOT NULL REFERENCES environments(id) ON DELETE CASCADE,
    host TEXT NOT NULL,
    user TEXT NOT NULL,
    port INTEGER NOT NULL,
    key TEXT,
    PRIMARY KEY (environment, host)
) STRICT;
CREATE TABLE moves (path TEXT PRIMARY KEY) STRICT;
";

fn one_store(tx: &Transaction<'_>, root: &Utf8Path) -> Result<(), MigrationError> {
    tx.execute_batch(ONE_STORE)?;
    import::import(tx, root)?;
    Ok(tx.execute_batch("ALTER TABLE environments DROP COLUMN login")?)
}
