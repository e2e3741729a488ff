//! `metadata`: the yum metadata of a folder of packages, without a bundle.

use payload::yum::{self, Check};
use payload::{BundleError, Source};

use crate::build::Failure;
use crate::cli::MetadataArgs;
use crate::find;

/// Writes `repodata/` in the folder, repomd.xml last: until then readers see the metadata that was there before.
pub(crate) fn run(args: &MetadataArgs) -> Result<(), Failure> {
    let rpms = find::rpms_beside(&args.dir)?.into_iter().map(Source::File).collect::<Vec<_>>();
    let scan = yum::scan_sources(&rpms, "", args.packing.into(), Check::Header, &mut |_| ())?;
    if !scan.refused.is_empty() {
        return Err(Failure::Problems(scan.refused));
    }
    let io = |action| move |path: &camino::Utf8Path, source| BundleError::Io { action, path: path.to_owned(), source };
    let dir = args.dir.join("repodata");
    fs_err::create_dir_all(&dir).map_err(|e| io("make")(&dir, e))?;
    for file in &scan.repodata {
        let (path, part) = (args.dir.join(&file.name), args.dir.join(format!("{}.part", file.name)));
        fs_err::write(&part, &file.bytes).map_err(|e| io("write")(&part, e))?;
        fs_err::rename(&part, &path).map_err(|e| io("name")(&path, e))?;
    }
    Ok(())
}
