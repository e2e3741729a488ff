//! Many rpm files at once: all are checked, and become one repository.

use std::collections::HashMap;

use camino::{Utf8Path, Utf8PathBuf};

use super::parallel::in_order;
use super::repodata::{Builder, Packing, RepodataFile};
use super::rpmfile::{Check, RpmFile, Xml};
use crate::digest::FileSlice;
use crate::error::BundleError;
use crate::member::RpmId;
use crate::write::Source;

/// What came of a scan.
#[derive(Debug, Default)]
pub struct Scan {
    /// The packages, by file name.
    pub rpms: Vec<RpmFile>,
    /// The files of `repodata/`.
    pub repodata: Vec<RepodataFile>,
    /// Files that were left out because another one is the same package with the same bytes.
    pub same: Vec<Utf8PathBuf>,
    /// Files that cannot be packed. The rest of this value means nothing while there are any.
    pub refused: Vec<BundleError>,
}

/// Reads these files and makes the metadata of the repository in which each lies at `prefix` and its file name.
/// `progress` hears the size of every file that is done.
pub fn scan(
    paths: &[Utf8PathBuf],
    prefix: &str,
    packing: Packing,
    progress: &mut dyn FnMut(u64),
) -> Result<Scan, BundleError> {
    let sources: Vec<Source> = paths.iter().cloned().map(Source::File).collect();
    scan_sources(&sources, prefix, packing, Check::All, progress)
}

/// The same for packages that lie in files or in a bundle.
pub fn scan_sources(
    sources: &[Source],
    prefix: &str,
    packing: Packing,
    check: Check,
    progress: &mut dyn FnMut(u64),
) -> Result<Scan, BundleError> {
    let mut sources: Vec<(Utf8PathBuf, &Source)> = sources.iter().map(|s| (s.path(), s)).collect();
    sources.sort_by(|(a, _), (b, _)| (a.file_name(), a).cmp(&(b.file_name(), b)));
    sources.dedup_by(|(a, _), (b, _)| a == b);
    let mut scan = scan_once(&sources, prefix, packing, check, progress)?;
    if !scan.same.is_empty() && scan.refused.is_empty() {
        // The number of packages stands at the beginning of the metadata: without the copies it is another one.
        let same = std::mem::take(&mut scan.same);
        sources.retain(|(path, _)| !same.contains(path));
        scan = Scan { same, ..scan_once(&sources, prefix, packing, check, &mut |_| ())? };
    }
    Ok(scan)
}

fn read(path: &Utf8Path, source: &Source, href: &str, check: Check) -> Result<RpmFile, BundleError> {
    match source {
        Source::Member(bundle, member) => {
            let (file, base) = bundle.stored_file(member)?;
            RpmFile::read_slice(FileSlice { file: file.as_ref(), base, len: member.size }, path, href, check)
        }
        Source::File(_) => RpmFile::read_with(path, href, check),
        _ => Err(BundleError::Unfit { path: path.to_owned(), what: "it is no rpm".into() }),
    }
}

fn scan_once(
    sources: &[(Utf8PathBuf, &Source)],
    prefix: &str,
    packing: Packing,
    check: Check,
    progress: &mut dyn FnMut(u64),
) -> Result<Scan, BundleError> {
    let mut scan = Scan::default();
    let mut builder = Builder::new(sources.len(), packing)?;
    let mut known = Known::default();
    let mut failed = None;
    let read = |(path, source): &(Utf8PathBuf, &Source)| {
        read(path, source, &format!("{prefix}{}", path.file_name().unwrap_or_default()), check)
    };
    // A file that cannot be read has none: reading it says why.
    let size = |(_, source): &(Utf8PathBuf, &Source)| source.size().unwrap_or_default();
    in_order(sources, size, read, |read| match read {
        Err(error) => scan.refused.push(error),
        Ok(mut rpm) => {
            progress(rpm.size);
            match known.meet(&rpm) {
                Meeting::New => {
                    let added = builder.add(&std::mem::take::<Xml>(&mut rpm.xml), rpm.build_time);
                    failed = failed.take().or(added.err());
                    scan.rpms.push(rpm);
                }
                Meeting::Same => scan.same.push(rpm.path),
                Meeting::Clash(error) => scan.refused.push(error),
            }
        }
    });
    match failed {
        Some(error) => Err(error),
        None => Ok(Scan { repodata: builder.finish()?, ..scan }),
    }
}

enum Meeting {
    New,
    Same,
    Clash(BundleError),
}

/// The packages met so far, by identity and by file name.
#[derive(Default)]
struct Known {
    ids: HashMap<RpmId, (Utf8PathBuf, crate::Sha256)>,
    names: HashMap<String, Utf8PathBuf>,
}

impl Known {
    fn meet(&mut self, rpm: &RpmFile) -> Meeting {
        let clash = |what| Meeting::Clash(BundleError::Unfit { path: rpm.path.clone(), what });
        if let Some((first, sum)) = self.ids.get(&rpm.id) {
            if *sum == rpm.sha256 {
                return Meeting::Same;
            }
            return clash(format!("{first} is the same package ({}) with other contents", rpm.id));
        }
        let file_name = rpm.path.file_name().unwrap_or_default().to_owned();
        if let Some(first) = self.names.get(&file_name) {
            return clash(format!("{first} has the same file name and is another package"));
        }
        self.names.insert(file_name, rpm.path.clone());
        self.ids.insert(rpm.id.clone(), (rpm.path.clone(), rpm.sha256));
        Meeting::New
    }
}
