//! The file: opened, made, brought to this version's form, and written to.
//!
//! SQLite in WAL mode: readers never wait for a writer, several processes share the file, and a process that is killed
//! leaves it whole (<https://www.sqlite.org/wal.html>). A transaction is on disk when it is committed (`synchronous=FULL`),
//! except those that record a run's events: what a power cut takes of the last of them, no decision depends on.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use camino::{Utf8Path, Utf8PathBuf};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use rusqlite::backup::Backup;
use rusqlite::{Connection, OpenFlags};

use super::error::StoreError;
use super::migration;
use super::schema::VERSION;

/// The file's name in the folder that holds the environments.
const FILE: &str = "environments.db";

/// What a path in an SQLite URI must not hold as it is (<https://www.sqlite.org/uri.html>).
const IN_URI: &AsciiSet = &CONTROLS.add(b'%').add(b'?').add(b'#');

/// The store, open.
#[derive(Debug)]
pub struct Store {
    /// The folder that holds the environments.
    pub(super) root: Utf8PathBuf,
    pub(super) path: Utf8PathBuf,
    connection: Mutex<Connection>,
}

impl Store {
    /// Opens the store of the environments under `root`; makes it, with mode 0600, when there is none, and imports what
    /// earlier versions kept.
    ///
    /// # Errors
    /// When the file cannot be made, read or understood; it is never replaced.
    pub fn open(root: &Utf8Path) -> Result<Self, StoreError> {
        let path = root.join(FILE);
        let connection = migration::open(root, &path)?;
        Ok(Self::of(root, path, connection))
    }

    /// The same for a writer of events.
    pub(super) fn for_events(root: &Utf8Path) -> Result<Self, StoreError> {
        let store = Self::open(root)?;
        store.with(|db| db.pragma_update(None, "synchronous", "NORMAL"))?;
        Ok(store)
    }

    /// Opens the store for reading: nothing is made or written, no file beside it either. `None` when there is nothing.
    /// What an earlier version keeps is read as this version would import it.
    ///
    /// # Errors
    /// When what is there cannot be read or understood.
    pub fn look(root: &Utf8Path) -> Result<Option<Self>, StoreError> {
        let path = root.join(FILE);
        let sql = |source| StoreError::Sql { path: path.clone(), source };
        let there = match std::fs::metadata(&path) {
            Ok(meta) if meta.len() == 0 => {
                return Err(StoreError::Damaged { path, why: "the file is empty".to_owned() });
            }
            Ok(_) => true,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => false,
            Err(source) => return Err(StoreError::Io { path, source }),
        };
        if !there && super::import::folders(root)?.is_empty() {
            return Ok(None);
        }
        let mut found = 0;
        let mut connection = Connection::open_in_memory().map_err(sql)?;
        if there {
            let file = reader(&path).map_err(sql)?;
            found = migration::version(&file).map_err(sql)?;
            migration::check_version(&path, found)?;
            if found == VERSION {
                return Ok(Some(Self::of(root, path, file)));
            }
            Backup::new(&file, &mut connection)
                .and_then(|backup| backup.run_to_completion(1000, Duration::ZERO, None))
                .map_err(sql)?;
        }
        migration::run_migrations(root, &path, &mut connection, found)?;
        connection
            .execute("DELETE FROM moves", [])
            .and_then(|_| connection.pragma_update(None, "query_only", true))
            .map_err(sql)?;
        Ok(Some(Self::of(root, path, connection)))
    }

    fn of(root: &Utf8Path, path: Utf8PathBuf, connection: Connection) -> Self {
        Self { root: root.to_owned(), path, connection: Mutex::new(connection) }
    }

    /// The file, for messages.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// Does something with the database, one at a time.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        work(&mut self.lock()).map_err(|source| StoreError::Sql { path: self.path.clone(), source })
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets an environment: its tasks, logins and documents; false when there was none.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn forget(&self, environment: &str) -> Result<bool, StoreError> {
        self.with(|db| Ok(db.execute("DELETE FROM environments WHERE id = ?1", [environment])? > 0))
    }
}

/// A connection that writes.
pub(super) fn connect(path: &Utf8Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(connection)
}

/// A connection that makes no file. Without a WAL nobody has the database open; with one, its index is only read.
fn reader(path: &Utf8Path) -> rusqlite::Result<Connection> {
    let wal = std::fs::metadata(format!("{path}-wal")).is_ok_and(|meta| meta.len() > 0);
    let how = if wal { "mode=ro&readonly_shm=1" } else { "mode=ro&immutable=1" };
    let uri = format!("file:{}?{how}", utf8_percent_encode(path.as_str(), IN_URI));
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri, flags)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    Ok(connection)
}

/// Local time as the contract writes it.
pub fn now() -> String {
    local_time(SystemTime::now())
}

pub(super) fn local_time(time: SystemTime) -> String {
    let time = jiff::Timestamp::try_from(time).unwrap_or_else(|_| jiff::Timestamp::now());
    time.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn folder() -> (tempfile::TempDir, Utf8PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        (dir, root)
    }

    fn names(root: &Utf8Path) -> Vec<String> {
        let mut names: Vec<_> = root.read_dir_utf8().unwrap().map(|e| e.unwrap().file_name().to_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_file_and_its_companions_are_private() {
        let (_dir, root) = folder();
        let store = Store::open(&root).unwrap();
        store.save_document("default", "etcd", "{}").unwrap();
        for name in ["environments.db", "environments.db-wal"] {
            let mode = std::fs::metadata(root.join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn a_newer_file_is_refused_and_left_alone() {
        let (_dir, root) = folder();
        Store::open(&root).unwrap().with(|db| db.pragma_update(None, "user_version", 99)).unwrap();
        for refused in [Store::open(&root).err(), Store::look(&root).err()] {
            let error = refused.unwrap();
            assert!(matches!(error, StoreError::Newer { found: 99, known: VERSION, .. }), "{error}");
            let words = error.to_string();
            assert!(words.contains("99") && words.contains(&format!("{VERSION}")), "{words}");
        }
    }

    #[test]
    fn a_damaged_file_is_named_and_left_as_it_is() {
        let (_dir, root) = folder();
        let path = root.join(FILE);
        let store = Store::open(&root).unwrap();
        store.save_document("e", "etcd", &"x".repeat(100_000)).unwrap();
        drop(store);
        let whole = std::fs::read(&path).unwrap();
        let header = [&[b'x'; 100][..], &whole[100..]].concat();
        let truncated = whole[..whole.len() / 2].to_vec();
        for bytes in [Vec::new(), b"no database".to_vec(), header, truncated] {
            std::fs::write(&path, &bytes).unwrap();
            let found = Store::open(&root).and_then(|store| store.document("e", "etcd"));
            let error = found.unwrap_err().to_string();
            assert!(error.starts_with(path.as_str()), "{error}");
            let looked = Store::look(&root).and_then(|store| store.unwrap().document("e", "etcd"));
            assert!(looked.unwrap_err().to_string().starts_with(path.as_str()));
            assert_eq!(std::fs::read(&path).unwrap().len(), bytes.len(), "it is not replaced");
            for left in ["-wal", "-shm"] {
                let _ = std::fs::remove_file(format!("{path}{left}"));
            }
        }
    }

    #[test]
    fn many_open_it_at_once() {
        let (_dir, root) = folder();
        std::thread::scope(|scope| {
            for n in 0..8 {
                let root = &root;
                scope.spawn(move || Store::open(root).unwrap().save_document(&n.to_string(), "etcd", "{}").unwrap());
            }
        });
        let count: i64 = Store::open(&root)
            .unwrap()
            .with(|db| db.query_row("SELECT count(*) FROM environments", [], |row| row.get(0)))
            .unwrap();
        assert_eq!(count, 8);
    }

    #[test]
    fn looking_makes_no_file_and_writes_nothing() {
        let (_dir, root) = folder();
        assert!(Store::look(&root).unwrap().is_none());
        assert!(names(&root).is_empty());
        // Open elsewhere, and closed; a path that an URI must escape.
        let root = root.join("a b?c#%20");
        let store = Store::open(&root).unwrap();
        store.save_document("e", "etcd", "1").unwrap();
        let before = names(&root);
        assert!(before.contains(&"environments.db-wal".to_owned()), "{before:?}");
        for _ in 0..2 {
            let looked = Store::look(&root).unwrap().unwrap();
            assert_eq!(looked.document("e", "etcd").unwrap().as_deref(), Some("1"));
            assert!(looked.save_document("e", "etcd", "2").is_err());
            drop(looked);
            assert_eq!(names(&root), before);
        }
        drop(store);
        let before = names(&root);
        assert!(!before.contains(&"environments.db-wal".to_owned()), "{before:?}");
        let looked = Store::look(&root).unwrap().unwrap();
        assert_eq!(looked.document("e", "etcd").unwrap().as_deref(), Some("1"));
        assert!(looked.save_document("e", "etcd", "2").is_err());
        drop(looked);
        assert_eq!(names(&root), before);
    }
}
