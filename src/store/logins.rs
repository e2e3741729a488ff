//! How the hosts of an environment are logged in to: user, port and key file of each, a user and a key for hosts that have
//! none of their own, and the passwords, sealed ([`super::vault`]) or not at all.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use rusqlite::{OptionalExtension, params};

use crate::host::{HostId, Target};

use super::db::{Store, now};
use super::documents::KNOW;
use super::error::StoreError;

/// One host's login, without a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostLogin {
    pub user: String,
    pub port: u16,
    pub key: Option<Utf8PathBuf>,
}

impl HostLogin {
    pub fn of(target: &Target) -> Self {
        Self { user: target.user.clone(), port: target.port, key: target.auth.key.clone() }
    }

    /// Whether a password of one opens the other: it belongs to its user and port.
    pub fn is_same(&self, other: &Self) -> bool {
        self.user == other.user && self.port == other.port
    }
}

/// The logins of an environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeptLogins {
    /// For hosts without one of their own.
    pub user: Option<String>,
    pub key: Option<Utf8PathBuf>,
    pub hosts: BTreeMap<HostId, HostLogin>,
    /// Their passwords, as [`super::vault::Vault::seal`] gives them.
    pub sealed: Option<Vec<u8>>,
}

impl Store {
    /// What is kept; nothing when there is nothing.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn logins(&self, environment: &str) -> Result<KeptLogins, StoreError> {
        self.with(|db| {
            let tx = db.transaction()?;
            let path = |text: Option<String>| text.map(Utf8PathBuf::from);
            let shared =
                tx.query_row("SELECT user, key, sealed FROM environments WHERE id = ?1", [environment], |row| {
                    Ok(KeptLogins {
                        user: row.get(0)?,
                        key: path(row.get(1)?),
                        sealed: row.get(2)?,
                        ..KeptLogins::default()
                    })
                });
            let mut logins = shared.optional()?.unwrap_or_default();
            let mut query = tx.prepare("SELECT host, user, port, key FROM logins WHERE environment = ?1")?;
            let rows = query.query_map([environment], |row| {
                Ok((
                    row.get::<_, String>(0)?.into(),
                    HostLogin { user: row.get(1)?, port: row.get(2)?, key: path(row.get(3)?) },
                ))
            })?;
            logins.hosts = rows.collect::<Result<_, _>>()?;
            Ok(logins)
        })
    }

    /// Keeps how these hosts are logged in to; others stay as they are.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn keep_hosts(&self, environment: &str, hosts: &BTreeMap<HostId, HostLogin>) -> Result<(), StoreError> {
        self.with(|db| {
            let tx = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            tx.execute(KNOW, params![environment, now()])?;
            upsert(&tx, environment, hosts)?;
            tx.commit()
        })
    }

    /// Keeps all of `logins`: its hosts, what they share, and the sealed passwords, when there are any.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn keep_logins(&self, environment: &str, logins: &KeptLogins) -> Result<(), StoreError> {
        self.with(|db| {
            let tx = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            tx.execute(KNOW, params![environment, now()])?;
            tx.execute(
                "UPDATE environments SET user = ?2, key = ?3, sealed = coalesce(?4, sealed) WHERE id = ?1",
                params![environment, logins.user, logins.key.as_ref().map(|key| key.as_str()), logins.sealed],
            )?;
            upsert(&tx, environment, &logins.hosts)?;
            tx.commit()
        })
    }

    /// Forgets all logins of an environment, the sealed passwords too.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn forget_logins(&self, environment: &str) -> Result<(), StoreError> {
        self.with(|db| {
            let tx = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            tx.execute("DELETE FROM logins WHERE environment = ?1", [environment])?;
            tx.execute("UPDATE environments SET user = NULL, key = NULL, sealed = NULL WHERE id = ?1", [environment])?;
            tx.commit()
        })
    }
}

fn upsert(db: &rusqlite::Connection, environment: &str, hosts: &BTreeMap<HostId, HostLogin>) -> rusqlite::Result<()> {
    let mut query = db.prepare_cached(
        "INSERT INTO logins (environment, host, user, port, key) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (environment, host) DO UPDATE SET user = excluded.user, port = excluded.port, key = excluded.key",
    )?;
    for (host, login) in hosts {
        let key = login.key.as_ref().map(|key| key.as_str());
        query.execute(params![environment, host.as_str(), login.user, login.port, key])?;
    }
    Ok(())
}
