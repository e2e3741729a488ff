//! A single file out of a package.

use std::path::Path;

use camino::Utf8Path;

use crate::error::BundleError;

/// What the file at `inside` (`/usr/bin/kubeadm`) of a package holds; `path` is what messages call the package.
///
/// # Errors
/// When the package cannot be read, or has no plain file of that name.
pub fn file_in(package: &[u8], path: &Utf8Path, inside: &str) -> Result<Vec<u8>, BundleError> {
    let unfit = |what: String| BundleError::Unfit { path: path.to_owned(), what };
    let unreadable = |e: rpm::Error| unfit(format!("it cannot be read: {e}"));
    let package = rpm::Package::parse(&mut &package[..]).map_err(unreadable)?;
    for file in package.files().map_err(unreadable)? {
        let file = file.map_err(unreadable)?;
        if file.metadata.path() == Path::new(inside) {
            let content = file.content().ok_or_else(|| unfit(format!("{inside} in it is no plain file")))?;
            return Ok(content.to_vec());
        }
    }
    Err(unfit(format!("the package has no {inside}")))
}
