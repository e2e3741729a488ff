//! What earlier versions kept in files of each environment's folder, and as JSON beside it in the database, read into the
//! tables. Hosts were called by their bare address; one that is logged in to at another port than 22 is `ADDRESS:PORT` from
//! here on.

use std::collections::BTreeMap;
use std::time::SystemTime;

use camino::{Utf8Path, Utf8PathBuf};
use rusqlite::{Transaction, params};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::host::HostId;
use crate::plan::Event;

use super::db::local_time;
use super::error::StoreError;
use super::schema::MigrationError;

/// `hosts.json`, and the hosts of `environments.login`.
#[derive(Debug, Deserialize)]
struct OldLogin {
    user: String,
    port: u16,
    #[serde(default)]
    key: Option<Utf8PathBuf>,
}

/// `environments.login`.
#[derive(Debug, Default, Deserialize)]
struct OldShared {
    user: Option<String>,
    key: Option<Utf8PathBuf>,
    #[serde(default)]
    hosts: BTreeMap<HostId, OldLogin>,
}

/// The documents that name hosts, and where.
const HOSTS_IN: [(&str, &[&str]); 2] = [("etcd", &["members"]), ("kubernetes", &["masters", "nodes"])];

/// The identity of a host that was called by its address: its login may be that of another port than 22.
fn identity(host: &HostId, login: &OldLogin) -> HostId {
    host.address().parse().map_or_else(|_| host.clone(), |address| HostId::new(&address, login.port))
}

/// Imports everything; what is imported is put on the list of files to move.
pub(super) fn import(tx: &Transaction<'_>, root: &Utf8Path) -> Result<(), MigrationError> {
    let mut logins = of_the_database(tx)?;
    for dir in folders(root).map_err(MigrationError::Old)? {
        let name = dir.file_name().unwrap_or_default().to_owned();
        let login = logins.remove(&name).unwrap_or_default();
        folder(tx, root, &dir, &name, login)?;
    }
    for (name, (shared, _)) in logins {
        keep_shared(tx, &name, &shared)?;
        keep_hosts(tx, &name, &shared.hosts)?;
    }
    Ok(())
}

/// The environments' folders below `root`, by name.
pub(super) fn folders(root: &Utf8Path) -> Result<Vec<Utf8PathBuf>, StoreError> {
    let dir = root.join("environments");
    let io = |source| StoreError::Io { path: dir.clone(), source };
    let entries = match dir.read_dir_utf8() {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(io(e)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(io)?.into_path();
        if path.is_dir() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The logins that lie as JSON in the database, and whether sealed passwords belong to them.
fn of_the_database(tx: &Transaction<'_>) -> Result<BTreeMap<String, (OldShared, bool)>, MigrationError> {
    let mut query = tx.prepare("SELECT id, login, sealed IS NOT NULL FROM environments WHERE login IS NOT NULL")?;
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?, row.get(2)?)))?;
    rows.map(|row| {
        let (id, json, sealed): (String, String, bool) = row?;
        // Earlier versions passed over what they could not read, too.
        Ok((id, (serde_json::from_str(&json).unwrap_or_default(), sealed)))
    })
    .collect()
}

fn folder(
    tx: &Transaction<'_>,
    root: &Utf8Path,
    dir: &Utf8Path,
    name: &str,
    (shared, sealed): (OldShared, bool),
) -> Result<(), MigrationError> {
    let files = old_files(dir).map_err(MigrationError::Old)?;
    tx.execute(
        "INSERT INTO environments (id, created) VALUES (?1, ?2) ON CONFLICT (id) DO NOTHING",
        params![name, modified(dir)],
    )?;
    let mut hosts: BTreeMap<HostId, OldLogin> = BTreeMap::new();
    for file in files.iter().filter(|f| f.file_name() == Some("hosts.json")) {
        hosts = read(file).map_err(MigrationError::Old)?;
    }
    let OldShared { user, key, hosts: accepted } = shared;
    for (host, login) in accepted {
        // A login that was tried successfully counts, unless sealed passwords belong to the other one.
        let other_key = hosts.get(&host).and_then(|tried| tried.key.clone());
        if sealed || !hosts.contains_key(&host) {
            hosts.insert(host, OldLogin { key: other_key, ..login });
        }
    }
    keep_shared(tx, name, &OldShared { user, key, hosts: BTreeMap::new() })?;
    keep_hosts(tx, name, &hosts)?;
    for file in &files {
        match (file.file_stem().unwrap_or_default(), file.extension()) {
            ("hosts", Some("json")) => {}
            ("id", None) => {
                let id = text(file).map_err(MigrationError::Old)?;
                let id = Some(id.trim()).filter(|id| !id.is_empty());
                tx.execute("UPDATE environments SET record_id = ?2 WHERE id = ?1", params![name, id])?;
            }
            (document, Some("json")) => {
                let mut value: Value = read(file).map_err(MigrationError::Old)?;
                rename_hosts(document, &mut value, &hosts);
                tx.execute(
                    "INSERT INTO documents (environment, name, json) VALUES (?1, ?2, ?3)",
                    params![name, document, value.to_string()],
                )?;
            }
            _ => journal(tx, name, file, &text(file).map_err(MigrationError::Old)?)?,
        }
        let path = file.strip_prefix(root).unwrap_or(file);
        tx.execute("INSERT OR IGNORE INTO moves (path) VALUES (?1)", [path.as_str()])?;
    }
    Ok(())
}

/// The files of a folder that are imported, the older journal before the newer one.
fn old_files(dir: &Utf8Path) -> Result<Vec<Utf8PathBuf>, StoreError> {
    let io = |source| StoreError::Io { path: dir.to_owned(), source };
    let mut files = Vec::new();
    for entry in dir.read_dir_utf8().map_err(io)? {
        let path = entry.map_err(io)?.into_path();
        let name = path.file_name().unwrap_or_default();
        let is_ours = name == "id" || ["json", "jsonl"].iter().any(|e| path.extension() == Some(e));
        if path.is_file() && is_ours && !name.starts_with('.') {
            files.push(path);
        }
    }
    // "journal.1.jsonl" is before "journal.jsonl".
    files.sort();
    Ok(files)
}

fn text(file: &Utf8Path) -> Result<String, StoreError> {
    std::fs::read_to_string(file).map_err(|source| StoreError::Io { path: file.to_owned(), source })
}

fn read<T: DeserializeOwned>(file: &Utf8Path) -> Result<T, StoreError> {
    serde_json::from_str(&text(file)?)
        .map_err(|e| StoreError::Damaged { path: file.to_owned(), why: format!("not what this program writes: {e}") })
}

fn modified(path: &Utf8Path) -> String {
    local_time(std::fs::metadata(path).and_then(|meta| meta.modified()).unwrap_or_else(|_| SystemTime::now()))
}

fn keep_shared(tx: &Transaction<'_>, name: &str, shared: &OldShared) -> rusqlite::Result<()> {
    let key = shared.key.as_ref().map(|key| key.as_str());
    tx.execute("UPDATE environments SET user = ?2, key = ?3 WHERE id = ?1", params![name, shared.user, key]).map(drop)
}

fn keep_hosts(tx: &Transaction<'_>, name: &str, hosts: &BTreeMap<HostId, OldLogin>) -> rusqlite::Result<()> {
    for (host, login) in hosts {
        let key = login.key.as_ref().map(|key| key.as_str());
        tx.execute(
            "INSERT OR REPLACE INTO logins (environment, host, user, port, key) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![name, identity(host, login).as_str(), login.user, login.port, key],
        )?;
    }
    Ok(())
}

/// Calls the hosts of a document by address and port.
fn rename_hosts(document: &str, value: &mut Value, logins: &BTreeMap<HostId, OldLogin>) {
    let places = HOSTS_IN.iter().find(|(name, _)| *name == document).map_or(&[][..], |(_, places)| places);
    for place in places {
        let Some(Value::Object(hosts)) = value.get_mut(*place) else { continue };
        let renamed = std::mem::take(hosts).into_iter().map(|(host, what)| {
            let known = HostId::named(&host, logins.keys()).and_then(|known| logins.get_key_value(known));
            (known.map_or(host, |(known, login)| identity(known, login).into()), what)
        });
        *hosts = renamed.collect::<Map<_, _>>();
    }
}

/// A run that is in the list of tasks has its events there already; another one becomes a task.
fn journal(tx: &Transaction<'_>, name: &str, file: &Utf8Path, text: &str) -> rusqlite::Result<()> {
    let (when, older) = (modified(file), file.file_name() != Some("journal.jsonl"));
    // The last line of a killed run may be cut short.
    let lines: Vec<(&str, Event)> =
        text.lines().filter_map(|line| Some((line, serde_json::from_str(line).ok()?))).collect();
    let Some((run, title)) = lines.iter().find_map(|(_, event)| match event {
        Event::RunStarted { run, operations, .. } => Some((run, operations.join("; "))),
        _ => None,
    }) else {
        return Ok(());
    };
    // The newest task is the last run: an older journal does not go behind it.
    if tx
        .prepare("SELECT 1 FROM tasks WHERE environment = ?1 AND (run = ?2 OR ?3)")?
        .exists(params![name, run, older])?
    {
        return Ok(());
    }
    let ok = lines.iter().any(|(_, e)| matches!(e, Event::RunFinished { ok: true, interrupted: false, .. }));
    let (status, progress, desc, err) = if ok {
        ("finished", 100.0, "done, and verified on every host", 0)
    } else {
        ("stop", 0.0, "it did not reach its end", 1)
    };
    tx.execute(
        "INSERT INTO tasks (environment, kind, run, title, params, status, progress, desc, err, started, updated)
         VALUES (?1, 0, ?2, ?3, '{}', ?4, ?5, ?6, ?7, ?8, ?8)",
        params![name, run, title, status, progress, desc, err, when],
    )?;
    let task = tx.last_insert_rowid();
    let mut insert = tx.prepare("INSERT INTO events (task, json) VALUES (?1, ?2)")?;
    for (line, _) in &lines {
        insert.execute(params![task, line])?;
    }
    Ok(())
}
