//! The file: opened, made, brought to this version's form, and written to.
//!
//! SQLite in WAL mode: readers never wait for a writer, several processes share the file, and a process that is killed
//! leaves it whole (<https://www.sqlite.org/wal.html>).

use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::error::StoreError;

/// The file's name in the folder that holds the environments.
const FILE: &str = "environments.db";

/// `user_version` of the schema below.
const VERSION: i64 = 1;

const SCHEMA: &str = "
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

/// How an environment's hosts are logged in to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptLogin {
    /// JSON without a secret in it.
    pub login: String,
    /// The secrets, as [`super::vault::Vault::seal`] gives them.
    pub sealed: Option<Vec<u8>>,
}

/// The store, open.
#[derive(Debug)]
pub struct Store {
    /// The folder that holds the environments.
    pub(super) root: Utf8PathBuf,
    pub(super) path: Utf8PathBuf,
    connection: Mutex<Connection>,
}

impl Store {
    /// Opens the store of the environments under `root`, and makes it with mode 0600 when there is none.
    ///
    /// # Errors
    /// When the file cannot be made, read or understood.
    pub fn open(root: &Utf8Path) -> Result<Self, StoreError> {
        let path = root.join(FILE);
        let io = |source| StoreError::Io { path: path.clone(), source };
        make_private_dir(root).map_err(io)?;
        // SQLite gives its -wal and -shm files the mode of this one.
        std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(&path).map_err(io)?;
        let connection = connect(&path).map_err(|source| StoreError::Sql { path: path.clone(), source })?;
        let store = Self { root: root.to_owned(), path, connection: Mutex::new(connection) };
        store.migrate()?;
        Ok(store)
    }

    fn migrate(&self) -> Result<(), StoreError> {
        let found = self.with(|db| {
            let found: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
            if found != 0 {
                return Ok(found);
            }
            // Two processes may come here at once: the second finds the first one's work.
            let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let found: i64 = tx.pragma_query_value(None, "user_version", |row| row.get(0))?;
            if found == 0 {
                tx.execute_batch(SCHEMA)?;
                tx.pragma_update(None, "user_version", VERSION)?;
            }
            tx.commit()?;
            Ok(VERSION)
        })?;
        if found > VERSION {
            return Err(StoreError::Newer { path: self.path.clone(), found, known: VERSION });
        }
        Ok(())
    }

    /// Does something with the database, one at a time.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        work(&mut self.lock()).map_err(|source| StoreError::Sql { path: self.path.clone(), source })
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets an environment and its tasks; false when there was none.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn forget(&self, environment: &str) -> Result<bool, StoreError> {
        self.with(|db| Ok(db.execute("DELETE FROM environments WHERE id = ?1", [environment])? > 0))
    }

    /// Keeps how an environment's hosts are logged in to: `login` without secrets, `sealed` with them.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn keep_login(&self, environment: &str, login: &str, sealed: Option<&[u8]>) -> Result<(), StoreError> {
        self.with(|db| {
            db.execute(
                "INSERT INTO environments (id, created, login, sealed) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (id) DO UPDATE SET login = excluded.login, sealed = coalesce(excluded.sealed, sealed)",
                params![environment, now(), login, sealed],
            )
            .map(drop)
        })
    }

    /// Whether a file is kept below `root`; nothing is made.
    pub fn is_there(root: &Utf8Path) -> bool {
        root.join(FILE).exists()
    }

    /// What [`Store::keep_login`] kept.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn login(&self, environment: &str) -> Result<Option<KeptLogin>, StoreError> {
        self.with(|db| {
            db.query_row(
                "SELECT login, sealed FROM environments WHERE id = ?1 AND login IS NOT NULL",
                [environment],
                |row| Ok(KeptLogin { login: row.get(0)?, sealed: row.get(1)? }),
            )
            .optional()
        })
    }
}

fn connect(path: &Utf8Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(connection)
}

fn make_private_dir(dir: &Utf8Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Local time as the contract writes it.
pub fn now() -> String {
    jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_file_and_its_companions_are_private() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap();
        let store = Store::open(root).unwrap();
        store.keep_login("default", "{}", None).unwrap();
        for name in ["environments.db", "environments.db-wal"] {
            let mode = std::fs::metadata(root.join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn a_newer_file_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap();
        Store::open(root).unwrap().with(|db| db.pragma_update(None, "user_version", 99)).unwrap();
        assert!(matches!(Store::open(root), Err(StoreError::Newer { found: 99, .. })));
    }

    #[test]
    fn many_open_it_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap();
        std::thread::scope(|scope| {
            for n in 0..8 {
                scope.spawn(move || Store::open(root).unwrap().keep_login(&n.to_string(), "{}", None).unwrap());
            }
        });
        let count: i64 = Store::open(root)
            .unwrap()
            .with(|db| db.query_row("SELECT count(*) FROM environments", [], |row| row.get(0)))
            .unwrap();
        assert_eq!(count, 8);
    }
}
