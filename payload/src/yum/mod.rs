//! Packages and the yum metadata made from their headers: rpm files flow in, identities, dependencies and the files of
//! `repodata/` flow out.

mod closure;
mod content;
mod header;
mod parallel;
mod repodata;
mod rpmfile;
mod scan;

#[cfg(any(test, feature = "fuzz"))]
pub(crate) use closure::met;
pub use closure::{Assumed, Unmet, unmet};
pub use content::file_in;
pub use repodata::{Packing, RepodataFile};
pub use rpmfile::{Check, RpmFile};
pub use scan::{Scan, scan, scan_sources};
