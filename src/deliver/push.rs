//! The route `push`: metadata and the packages that this host needs, uploaded over SSH, each checked there by sha256.

use std::collections::HashSet;

use crate::host::{FileMeta, Host, HostError};

use super::catalogue::EntryReader;
use super::error::DeliverError;
use super::offer::Offer;
use super::server::Stock;
use super::site::Site;

/// Uploads the metadata of all that the host is offered: small, and what the host's own solver works from.
pub(crate) fn metadata(host: &Host, offer: &Offer, site: &Site) -> Result<(), DeliverError> {
    // The signatures are there once the key is.
    offer.stock.key()?;
    for name in offer.metadata_and_signatures() {
        one(host, &offer.stock, site, &name)?;
    }
    Ok(())
}

/// Uploads these packages, by the names they are served under, except those that are there.
pub(crate) fn packages(
    host: &Host,
    stock: &Stock,
    site: &Site,
    served: impl Iterator<Item = String>,
    uploaded: &mut HashSet<String>,
) -> Result<(), DeliverError> {
    for served in served {
        if !uploaded.contains(&served) {
            one(host, stock, site, &served)?;
            uploaded.insert(served);
        }
    }
    Ok(())
}

fn one(host: &Host, stock: &Stock, site: &Site, name: &str) -> Result<(), DeliverError> {
    let missing = |why: String| DeliverError::Metadata { why: format!("{name}: {why}") };
    let entry = stock.entry(name).ok_or_else(|| missing("it is not served".into()))?;
    let mut reader = EntryReader::open(&entry).map_err(|error| missing(error.to_string()))?;
    let path = format!("{}/{name}", site.files_dir());
    let sent = host.upload(&mut reader, entry.size, &entry.sha256, &path, &FileMeta::mode(0o600), &mut |_| ());
    sent.map_err(|error| match error {
        HostError::Damaged { host, .. } => {
            let detail = "its sha256 on the host is not the one in the manifest".to_owned();
            DeliverError::Damaged { host, what: name.to_owned(), detail }
        }
        error => error.into(),
    })
}
