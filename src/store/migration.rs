//! A database is made, or brought to this version's schema: under a lock that other processes wait for, after a copy of the
//! file, each migration in a transaction. Killed at any moment, the next opening goes on from there.
//!
//! Files that a migration imported are moved into `before-VERSION/` only once the transaction is on disk; which ones are
//! left to move stands in the database.

use std::fs::File;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};

use camino::{Utf8Path, Utf8PathBuf};
use nix::fcntl::{Flock, FlockArg};
use rusqlite::{Connection, TransactionBehavior};

use crate::plan::RunLock;

use super::db::connect;
use super::error::StoreError;
use super::schema::{MigrationError, VERSION, migrations};

/// The database at `path`, brought to this version; made when there is none.
pub(super) fn open(root: &Utf8Path, path: &Utf8Path) -> Result<Connection, StoreError> {
    let io = |source| StoreError::Io { path: path.to_owned(), source };
    make_private_dir(root).map_err(io)?;
    let length = match std::fs::metadata(path) {
        Ok(meta) => meta.len(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            create(root, path)?;
            std::fs::metadata(path).map_err(io)?.len()
        }
        Err(e) => return Err(io(e)),
    };
    // SQLite would fill an empty file with a new database.
    if length == 0 {
        return Err(StoreError::Damaged { path: path.to_owned(), why: "the file is empty".to_owned() });
    }
    let sql = |source| StoreError::Sql { path: path.to_owned(), source };
    let mut db = connect(path).map_err(sql)?;
    let found = version(&db).map_err(sql)?;
    check_version(path, found)?;
    if found < VERSION {
        migrate(root, path, &mut db)?;
    }
    finish_moves(root, path, &mut db)?;
    Ok(db)
}

/// Refuses a version that is none of this program's, or a newer one's.
pub(super) fn check_version(path: &Utf8Path, found: i64) -> Result<(), StoreError> {
    if found > VERSION {
        return Err(StoreError::Newer { path: path.to_owned(), found, known: VERSION });
    }
    if found < 1 {
        let why = "it holds no schema of this program".to_owned();
        return Err(StoreError::Damaged { path: path.to_owned(), why });
    }
    Ok(())
}

pub(super) fn version(db: &Connection) -> rusqlite::Result<i64> {
    db.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Makes the database under another name and renames it: it is never seen half made.
fn create(root: &Utf8Path, path: &Utf8Path) -> Result<(), StoreError> {
    let _lock = lock(root)?;
    if path.exists() {
        return Ok(());
    }
    refuse_while_in_use(root)?;
    let new = root.join(".environments.db.new");
    let io = |source| StoreError::Io { path: new.clone(), source };
    for left in ["", "-journal", "-wal", "-shm"].map(|end| Utf8PathBuf::from(format!("{new}{end}"))) {
        match std::fs::remove_file(&left) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(io(e)),
            _ => {}
        }
    }
    // SQLite gives its -wal and -shm files the mode of this one.
    private_file(&new).map_err(io)?;
    let sql = |source| StoreError::Sql { path: new.clone(), source };
    let mut db = Connection::open(&new).map_err(sql)?;
    db.pragma_update(None, "synchronous", "FULL").map_err(sql)?;
    run_migrations(root, &new, &mut db, 0)?;
    // Said once, here: several processes that change it at the same time would be in each other's way.
    db.pragma_update(None, "journal_mode", "WAL").map_err(sql)?;
    db.close().map_err(|(_, source)| StoreError::Sql { path: new.clone(), source })?;
    std::fs::rename(&new, path).and_then(|()| sync_dir(root)).map_err(io)
}

/// From an earlier version's schema to this one's.
pub(super) fn migrate(root: &Utf8Path, path: &Utf8Path, db: &mut Connection) -> Result<(), StoreError> {
    let _lock = lock(root)?;
    let found = version(db).map_err(|source| StoreError::Sql { path: path.to_owned(), source })?;
    if found >= VERSION {
        // Another process was first.
        return check_version(path, found);
    }
    refuse_while_in_use(root)?;
    copy(root, path, db)?;
    run_migrations(root, path, db, found)
}

/// Every migration from version `from` on, each in a transaction.
pub(super) fn run_migrations(
    root: &Utf8Path,
    path: &Utf8Path,
    db: &mut Connection,
    from: i64,
) -> Result<(), StoreError> {
    for (to, migration) in migrations(from) {
        let one = |db: &mut Connection| -> Result<(), MigrationError> {
            let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            migration(&tx, root)?;
            tx.pragma_update(None, "user_version", to)?;
            Ok(tx.commit()?)
        };
        one(db).map_err(|e| match e {
            MigrationError::Sql(source) => StoreError::Sql { path: path.to_owned(), source },
            MigrationError::Old(error) => error,
        })?;
    }
    Ok(())
}

/// Where a migration to this version leaves what was before it.
pub(super) fn before(root: &Utf8Path) -> Utf8PathBuf {
    root.join(format!("before-{VERSION}"))
}

/// A copy of the whole database as it is now.
fn copy(root: &Utf8Path, path: &Utf8Path, db: &Connection) -> Result<(), StoreError> {
    let dir = before(root);
    let (whole, new) = (dir.join("environments.db"), dir.join(".environments.db.new"));
    let io = |source| StoreError::Io { path: new.clone(), source };
    make_private_dir(&dir).map_err(io)?;
    private_file(&new).map_err(io)?;
    db.execute("VACUUM INTO ?1", [new.as_str()]).map_err(|source| StoreError::Sql { path: path.to_owned(), source })?;
    File::open(&new).and_then(|file| file.sync_all()).map_err(io)?;
    std::fs::rename(&new, &whole).and_then(|()| sync_dir(&dir)).and_then(|()| sync_dir(root)).map_err(io)
}

/// Moves the imported files away that still lie where they were.
fn finish_moves(root: &Utf8Path, path: &Utf8Path, db: &mut Connection) -> Result<(), StoreError> {
    let sql = |source| StoreError::Sql { path: path.to_owned(), source };
    let pending = |db: &Connection| -> rusqlite::Result<Vec<String>> {
        db.prepare("SELECT path FROM moves ORDER BY path")?.query_map([], |row| row.get(0))?.collect()
    };
    if pending(db).map_err(sql)?.is_empty() {
        return Ok(());
    }
    let _lock = lock(root)?;
    for file in pending(db).map_err(sql)? {
        move_aside(root, &file).map_err(|source| StoreError::Io { path: root.join(&file), source })?;
    }
    db.execute("DELETE FROM moves", []).map_err(sql).map(drop)
}

fn move_aside(root: &Utf8Path, file: &str) -> std::io::Result<()> {
    let (from, to) = (root.join(file), before(root).join(file));
    if !from.exists() {
        return Ok(());
    }
    let folder = to.parent().unwrap_or(root);
    make_private_dir(folder)?;
    // What lies there already stays: an earlier version may have been used again in between.
    let free = (1..).map(|n| Utf8PathBuf::from(format!("{to}.{n}"))).find(|path| !path.exists());
    let to = if to.exists() { free.unwrap_or(to.clone()) } else { to.clone() };
    std::fs::rename(&from, &to)?;
    sync_dir(folder)?;
    from.parent().map_or(Ok(()), sync_dir)
}

/// A run of an earlier version keeps its state in files: nothing is imported under its hands.
fn refuse_while_in_use(root: &Utf8Path) -> Result<(), StoreError> {
    for dir in super::import::folders(root)? {
        let held = RunLock::is_held(&dir).map_err(|source| StoreError::Io { path: dir.clone(), source })?;
        if held {
            return Err(StoreError::InUse { environment: dir.file_name().unwrap_or_default().to_owned() });
        }
    }
    Ok(())
}

/// Held while the database is made or migrated; gone with the process.
fn lock(root: &Utf8Path) -> Result<Flock<File>, StoreError> {
    let path = root.join(".environments.lock");
    let io = |source| StoreError::Io { path: path.clone(), source };
    let file = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(&path).map_err(io)?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| io(errno.into()))
}

/// An empty file that only its owner reads.
fn private_file(path: &Utf8Path) -> std::io::Result<()> {
    std::fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path).map(drop)
}

fn make_private_dir(dir: &Utf8Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

fn sync_dir(dir: &Utf8Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()
}
