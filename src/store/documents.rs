//! What a flow keeps of an environment: documents of JSON by name (`etcd`, `kubernetes`, `ec2`), and the environment's id.

use rusqlite::{OptionalExtension, params};

use super::db::{Store, now};
use super::error::StoreError;

/// A row for everything else to belong to.
pub(super) const KNOW: &str = "INSERT INTO environments (id, created) VALUES (?1, ?2) ON CONFLICT (id) DO NOTHING";

impl Store {
    /// A document's JSON; `None` when there is none.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn document(&self, environment: &str, name: &str) -> Result<Option<String>, StoreError> {
        self.with(|db| {
            db.query_row(
                "SELECT json FROM documents WHERE environment = ?1 AND name = ?2",
                [environment, name],
                |row| row.get(0),
            )
            .optional()
        })
    }

    /// Keeps a document, in the place of the one before.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save_document(&self, environment: &str, name: &str, json: &str) -> Result<(), StoreError> {
        self.with(|db| {
            let tx = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            tx.execute(KNOW, params![environment, now()])?;
            tx.execute(
                "INSERT INTO documents (environment, name, json) VALUES (?1, ?2, ?3)
                 ON CONFLICT (environment, name) DO UPDATE SET json = excluded.json",
                [environment, name, json],
            )?;
            tx.commit()
        })
    }

    /// Removes a document, when it is there.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn forget_document(&self, environment: &str, name: &str) -> Result<(), StoreError> {
        self.with(|db| {
            db.execute("DELETE FROM documents WHERE environment = ?1 AND name = ?2", [environment, name]).map(drop)
        })
    }

    /// What hosts' change records call the environment; `None` before [`Store::keep_record_id`].
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn record_id(&self, environment: &str) -> Result<Option<String>, StoreError> {
        let id = self.with(|db| {
            db.query_row("SELECT record_id FROM environments WHERE id = ?1", [environment], |row| row.get(0)).optional()
        })?;
        Ok(id.flatten())
    }

    /// Keeps that name unless another is kept already, and returns what is kept.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn keep_record_id(&self, environment: &str, id: &str) -> Result<String, StoreError> {
        self.with(|db| {
            db.query_row(
                "INSERT INTO environments (id, created, record_id) VALUES (?1, ?2, ?3)
                 ON CONFLICT (id) DO UPDATE SET record_id = coalesce(record_id, excluded.record_id)
                 RETURNING record_id",
                params![environment, now(), id],
                |row| row.get(0),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use camino::Utf8Path;

    use super::*;

    #[test]
    fn documents_and_ids_are_kept_apart_by_environment_and_go_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap();
        let (one, two) = (Store::open(root).unwrap(), Store::open(root).unwrap());
        one.save_document("a", "etcd", "1").unwrap();
        two.save_document("a", "etcd", "2").unwrap();
        one.save_document("b", "etcd", "3").unwrap();
        assert_eq!(one.document("a", "etcd").unwrap().as_deref(), Some("2"));
        assert_eq!(one.record_id("a").unwrap(), None);
        assert_eq!(one.keep_record_id("a", "first").unwrap(), "first");
        assert_eq!(two.keep_record_id("a", "second").unwrap(), "first");
        assert!(two.forget("a").unwrap());
        assert_eq!((one.document("a", "etcd").unwrap(), one.record_id("a").unwrap()), (None, None));
        assert_eq!(one.document("b", "etcd").unwrap().as_deref(), Some("3"));
        one.forget_document("b", "etcd").unwrap();
        assert_eq!(one.document("b", "etcd").unwrap(), None);
    }
}
