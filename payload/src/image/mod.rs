//! Container images: read from the archives and folders that users have, and kept in a bundle as one OCI image layout
//! (OCI image specification 1.1, "OCI Image Layout Specification"): `oci-layout`, `index.json`, `blobs/sha256/HEX`.
//!
//! A blob lies in the bundle as it is, once, however many images share it, and its member's sha256 is its digest. What an
//! image was read from as OCI keeps its manifest and so its digest; an archive of `docker save` gets a manifest here, the
//! same one on every build.

mod archive;
pub mod document;
mod draft;
mod files;
mod held;
mod layers;
mod layout;
mod name;
mod named;
mod tree;

pub(crate) use document::oci_architecture;
pub use held::{Blob, Image, blob_member};
#[cfg(any(test, feature = "fuzz"))]
pub(crate) use layout::read_images;
pub(crate) use layout::{ImageInput, files, names, pack};
pub use name::{NameProblem, Reference};
pub use named::images_named;
