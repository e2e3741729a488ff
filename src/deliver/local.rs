//! Rpms given with -f that lie on the control host: a small repository of their own, described at run time, so that
//! hosts get them with the same checks as everything from the bundle.

use std::fs::File;
use std::sync::Arc;
use std::time::SystemTime;

use camino::Utf8PathBuf;
use payload::RpmId;
use payload::yum::{Packing, RepodataFile, RpmFile, scan};

use super::content::Entry;
use super::error::DeliverError;
use super::repository::Repository;

/// One rpm file of the control host.
#[derive(Debug)]
pub(super) struct LocalRpm {
    pub(super) file_name: String,
    pub(super) id: RpmId,
    size: u64,
    sha256: String,
    file: Arc<File>,
    modified: SystemTime,
}

impl LocalRpm {
    fn open(rpm: &RpmFile) -> Result<LocalRpm, DeliverError> {
        let failed = |why: String| DeliverError::LocalRpm { path: rpm.path.clone(), why };
        let file = fs_err::File::open(&rpm.path).map_err(|error| failed(error.to_string()))?.into_parts().0;
        let modified = file.metadata().and_then(|meta| meta.modified());
        Ok(LocalRpm {
            file_name: rpm.path.file_name().unwrap_or_default().to_owned(),
            id: rpm.id.clone(),
            size: rpm.size,
            sha256: rpm.sha256.to_string(),
            file: Arc::new(file),
            modified: modified.unwrap_or(SystemTime::UNIX_EPOCH),
        })
    }

    /// The name that it is served under.
    pub(super) fn served(&self) -> String {
        format!("{}{}", Repository::Local.prefix(), self.file_name)
    }

    /// As the server gives it.
    pub(super) fn entry(&self) -> Entry {
        Entry::file(Arc::clone(&self.file), 0, self.size, self.sha256.clone(), self.modified)
    }
}

/// Reads them, and makes their metadata. The same package given twice counts once.
pub(super) fn open(paths: &[Utf8PathBuf]) -> Result<(Vec<LocalRpm>, Vec<RepodataFile>), DeliverError> {
    if paths.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    // gzip: the oldest yum must read it too.
    let scan = scan(paths, "", Packing::Gzip, &mut |_| ())?;
    if let Some(error) = scan.refused.into_iter().next() {
        return Err(error.into());
    }
    let rpms = scan.rpms.iter().map(LocalRpm::open).collect::<Result<_, _>>()?;
    Ok((rpms, scan.repodata))
}
