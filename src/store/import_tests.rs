//! States of earlier versions are imported once and whole, wherever the process is killed.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use rusqlite::Connection;
use serde_json::Value;

use super::*;
use crate::plan::RunLock;

/// Files of the environment `prod` as 0.1.0 wrote them.
const FILES: [(&str, &str); 6] = [
    ("id", include_str!("../../tests/data/state-0.1.0/id")),
    ("etcd.json", include_str!("../../tests/data/state-0.1.0/etcd.json")),
    ("kubernetes.json", include_str!("../../tests/data/state-0.1.0/kubernetes.json")),
    ("hosts.json", include_str!("../../tests/data/state-0.1.0/hosts.json")),
    ("journal.1.jsonl", include_str!("../../tests/data/state-0.1.0/journal.1.jsonl")),
    ("journal.jsonl", include_str!("../../tests/data/state-0.1.0/journal.jsonl")),
];
const DATABASE: &str = include_str!("../../tests/data/state-0.1.0/environments.sql");
const PROD: &str = "environments/prod";

/// The files without the database.
fn old_files() -> (tempfile::TempDir, Utf8PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let root = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
    std::fs::create_dir_all(root.join(PROD).join("pki/etcd")).unwrap();
    std::fs::write(root.join(PROD).join("pki/etcd/ca.key"), "KEY").unwrap();
    std::fs::write(root.join(PROD).join("lock"), "process 1").unwrap();
    for (name, text) in FILES {
        std::fs::write(root.join(PROD).join(name), text).unwrap();
    }
    (dir, root)
}

fn old_state() -> (tempfile::TempDir, Utf8PathBuf) {
    let (dir, root) = old_files();
    let db = Connection::open(root.join("environments.db")).unwrap();
    db.execute_batch(DATABASE).unwrap();
    db.pragma_update(None, "journal_mode", "WAL").unwrap();
    (dir, root)
}

/// Every file below a folder, with its content.
fn files(dir: &Utf8Path) -> BTreeMap<Utf8PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in dir.read_dir_utf8().unwrap() {
        let path = entry.unwrap().into_path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            found.insert(path, bytes);
        }
    }
    found
}

fn file(name: &str) -> Value {
    serde_json::from_str(FILES.iter().find(|(n, _)| *n == name).unwrap().1).unwrap()
}

#[track_caller]
fn assert_imported(store: &Store) {
    for name in ["etcd", "kubernetes"] {
        let kept: Value = serde_json::from_str(&store.document("prod", name).unwrap().unwrap()).unwrap();
        assert_eq!(kept, file(&format!("{name}.json")));
    }
    assert_eq!(store.record_id("prod").unwrap().as_deref(), Some("prod-9897b3bb717b3514"));
    let logins = store.logins("prod").unwrap();
    assert_eq!(logins.hosts.keys().collect::<Vec<_>>(), ["10.8.14.200", "10.8.14.201", "10.8.14.202"]);
    assert_eq!(logins.hosts["10.8.14.201"], HostLogin { user: "root".into(), port: 22, key: None });
    let last = store.last_run("prod").unwrap().unwrap();
    assert_eq!((last.run.as_str(), last.finished, last.ok), ("20261128-110951-12444", true, true));
}

/// Nothing that was imported lies where it was; everything lies beside it, with a copy of the database before.
#[track_caller]
fn assert_moved(root: &Utf8Path) {
    for (name, text) in FILES {
        assert!(!root.join(PROD).join(name).exists(), "{name}");
        assert_eq!(std::fs::read_to_string(root.join("before-2").join(PROD).join(name)).unwrap(), text, "{name}");
    }
    assert_eq!(std::fs::read_to_string(root.join(PROD).join("pki/etcd/ca.key")).unwrap(), "KEY");
    assert!(root.join(PROD).join("lock").exists());
}

#[test]
fn a_state_of_0_1_0_is_imported_once_and_its_files_are_moved_aside() {
    let (_dir, root) = old_state();
    let store = Store::open(&root).unwrap();
    assert_imported(&store);
    assert_moved(&root);
    let tasks = store.tasks("prod").unwrap();
    assert_eq!(tasks.iter().map(|t| t.kind).collect::<Vec<_>>(), [Kind::Remove, Kind::Add, Kind::Create]);
    assert!(tasks.iter().all(|t| t.status == TaskStatus::Finished && !t.hosts.is_empty()));
    let before = Connection::open(root.join("before-2/environments.db")).unwrap();
    let version: i64 = before.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, 1);
    store.save_document("prod", "etcd", "{}").unwrap();
    drop(store);
    let again = Store::open(&root).unwrap();
    assert_eq!(again.document("prod", "etcd").unwrap().as_deref(), Some("{}"));
    assert_eq!(again.tasks("prod").unwrap().len(), 3);
}

#[test]
fn files_alone_are_imported_and_their_journals_become_tasks() {
    let (_dir, root) = old_files();
    let store = Store::open(&root).unwrap();
    assert_imported(&store);
    assert_moved(&root);
    let tasks = store.tasks("prod").unwrap();
    assert_eq!(tasks.len(), 2);
    assert!(tasks[0].title.starts_with("remove 10.8.14.202 from the etcd cluster"), "{}", tasks[0].title);
    assert_eq!(store.journals("prod", 5).unwrap(), [FILES[5].1, FILES[4].1]);
}

#[test]
fn a_run_that_was_killed_under_the_earlier_version_is_explained() {
    let (_dir, root) = old_files();
    let journal = root.join(PROD).join("journal.jsonl");
    let text = std::fs::read_to_string(&journal).unwrap();
    let upto = text.find(r#"{"event":"step_finished""#).unwrap();
    // Its last line is torn.
    std::fs::write(&journal, &text[..upto + 40]).unwrap();
    let store = Store::open(&root).unwrap();
    let last = store.last_run("prod").unwrap().unwrap();
    assert!(!last.finished && !last.in_the_middle.is_empty(), "{last:?}");
    assert_eq!(store.tasks("prod").unwrap()[0].status, TaskStatus::Stop);
}

#[test]
fn a_host_at_another_port_is_called_by_it_in_all_documents() {
    let (_dir, root) = old_state();
    let prod = root.join(PROD);
    let at_port = r#""user":"root","port":22}"#;
    let hosts = r#"{"10.8.14.200":{"user":"m","port":2222,"key":"/k"},"fe80::1":{"user":"root","port":23,"key":null}}"#;
    std::fs::write(prod.join("hosts.json"), hosts).unwrap();
    for name in ["etcd.json", "kubernetes.json"] {
        // An IPv6 host beside the others.
        let text = std::fs::read_to_string(prod.join(name)).unwrap().replace("\"10.8.14.201\": {", "\"fe80::1\": {");
        std::fs::write(prod.join(name), text).unwrap();
    }
    // What was accepted over REST says another user; the login that was tried counts.
    let login =
        format!(r#"{{"user":"u","key":"/shared","hosts":{{"10.8.14.200":{{{at_port},"10.8.14.9":{{{at_port}}}}}"#);
    let db = Connection::open(root.join("environments.db")).unwrap();
    db.execute("UPDATE environments SET login = ?1", [&login]).unwrap();
    drop(db);
    let store = Store::open(&root).unwrap();
    let keys = |name: &str, place: &str| -> Vec<String> {
        let value: Value = serde_json::from_str(&store.document("prod", name).unwrap().unwrap()).unwrap();
        value[place].as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(keys("etcd", "members"), ["10.8.14.200:2222", "[fe80::1]:23"]);
    assert_eq!(keys("kubernetes", "masters"), ["10.8.14.200:2222"]);
    assert_eq!(keys("kubernetes", "nodes"), ["10.8.14.200:2222"]);
    let logins = store.logins("prod").unwrap();
    assert_eq!((logins.user.as_deref(), logins.key.as_ref().map(|k| k.as_str())), (Some("u"), Some("/shared")));
    let hosts: Vec<(&str, &str, u16)> =
        logins.hosts.iter().map(|(host, l)| (host.as_str(), l.user.as_str(), l.port)).collect();
    assert_eq!(hosts, [("10.8.14.200:2222", "m", 2222), ("10.8.14.9", "root", 22), ("[fe80::1]:23", "root", 23)]);
    assert_eq!(logins.hosts["10.8.14.200:2222"].key.as_ref().map(|k| k.as_str()), Some("/k"));
}

#[test]
fn a_file_that_cannot_be_read_is_named_and_everything_stays_as_it_was() {
    for state in [old_state, old_files] {
        let (_dir, root) = state();
        let path = root.join(PROD).join("kubernetes.json");
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let before = files(&root.join("environments"));
        for _ in 0..2 {
            let error = Store::open(&root).unwrap_err().to_string();
            assert!(error.starts_with(path.as_str()), "{error}");
            assert_eq!(files(&root.join("environments")), before);
        }
        std::fs::write(&path, &whole).unwrap();
        assert_imported(&Store::open(&root).unwrap());
        assert_moved(&root);
    }
}

#[test]
fn killed_behind_the_transaction_only_the_moves_are_finished() {
    for moved in 0..=FILES.len() {
        let (_dir, root) = old_state();
        let path = root.join("environments.db");
        let mut db = db::connect(&path).unwrap();
        migration::migrate(&root, &path, &mut db).unwrap();
        // The process is killed here, some of the files moved already; the others are not what counts any more.
        let aside = root.join("before-2").join(PROD);
        std::fs::create_dir_all(&aside).unwrap();
        for (name, _) in &FILES[..moved] {
            std::fs::rename(root.join(PROD).join(name), aside.join(name)).unwrap();
        }
        db.execute("UPDATE environments SET created = 'now'", []).unwrap();
        drop(db);
        let store = Store::open(&root).unwrap();
        assert_imported(&store);
        assert_moved(&root);
        assert_eq!(store.environments().unwrap()[0].created, "now", "nothing is imported twice");
    }
}

#[test]
fn killed_inside_the_transaction_everything_is_imported_again() {
    let (_dir, root) = old_state();
    let path = root.join("environments.db");
    let mut db = db::connect(&path).unwrap();
    let tx = db.transaction().unwrap();
    let (_, one_store) = schema::migrations(1).next().unwrap();
    assert!(one_store(&tx, &root).is_ok());
    // Without its end: the next one finds the log of a transaction that does not count.
    drop(tx);
    drop(db);
    assert_imported(&Store::open(&root).unwrap());
    assert_moved(&root);
}

#[test]
fn nothing_is_imported_under_the_hands_of_an_earlier_version() {
    for state in [old_state, old_files] {
        let (_dir, root) = state();
        let lock = RunLock::take(&root.join(PROD), "prod").unwrap();
        let error = Store::open(&root).unwrap_err();
        assert!(matches!(&error, StoreError::InUse { environment } if environment == "prod"), "{error}");
        assert!(root.join(PROD).join("etcd.json").exists());
        drop(lock);
        assert_imported(&Store::open(&root).unwrap());
    }
}

#[test]
fn looking_reads_an_earlier_state_and_changes_nothing() {
    for state in [old_state, old_files] {
        let (_dir, root) = state();
        let before = files(&root);
        let store = Store::look(&root).unwrap().unwrap();
        assert_imported(&store);
        assert!(store.save_document("prod", "etcd", "{}").is_err());
        drop(store);
        assert_eq!(files(&root), before);
    }
}

#[test]
fn many_processes_find_an_old_state_at_once() {
    let (_dir, root) = old_state();
    std::thread::scope(|scope| {
        for n in 0..6 {
            let root = &root;
            scope.spawn(move || {
                let store = Store::open(root).unwrap();
                assert_imported(&store);
                store.save_document(&format!("new-{n}"), "etcd", "{}").unwrap();
            });
        }
    });
    assert_moved(&root);
    assert_eq!(Store::open(&root).unwrap().environments().unwrap().len(), 7);
}
