//! The `files` route: metadata and the packages that this host needs, uploaded over SSH, each checked there by sha256.

use std::collections::HashSet;

use crate::host::{FileMeta, Host};

use super::catalogue::EntryReader;
use super::error::RepoError;
use super::server::Stock;
use super::site::Site;
use super::transaction::Transaction;
use crate::host::HostError;

/// Uploads all metadata: small, and what the host's own solver works from.
pub(super) fn metadata(host: &Host, stock: &Stock, site: &Site) -> Result<(), RepoError> {
    // The signatures are there once the key is.
    stock.key()?;
    for name in stock.metadata_and_signatures() {
        one(host, stock, site, &name)?;
    }
    Ok(())
}

/// Uploads the packages of a transaction that are not there yet.
pub(super) fn packages(
    host: &Host,
    stock: &Stock,
    site: &Site,
    transaction: &Transaction,
    uploaded: &mut HashSet<String>,
) -> Result<(), RepoError> {
    for id in transaction.changed() {
        let Some(served) = stock.served(id) else { continue };
        if !uploaded.contains(&served) {
            one(host, stock, site, &served)?;
            uploaded.insert(served);
        }
    }
    Ok(())
}

fn one(host: &Host, stock: &Stock, site: &Site, name: &str) -> Result<(), RepoError> {
    let missing = |why: String| RepoError::Metadata { why: format!("{name}: {why}") };
    let entry = stock.entry(name).ok_or_else(|| missing("it is not served".into()))?;
    let mut reader = EntryReader::open(&entry).map_err(|error| missing(error.to_string()))?;
    let path = format!("{}/{name}", site.files_dir());
    let sent = host.upload(&mut reader, entry.size, &entry.sha256, &path, &FileMeta::mode(0o600), &mut |_| ());
    sent.map_err(|error| match error {
        HostError::Damaged { host, .. } => {
            let detail = "its sha256 on the host is not the one in the manifest".to_owned();
            RepoError::Damaged { host, what: name.to_owned(), detail }
        }
        error => error.into(),
    })
}
