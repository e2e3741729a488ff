//! The bundle: one file that is program, yum repository and manifest. Its format is written and read here and nowhere
//! else; `docs/bundle-format.md` describes it for people with a shell.
//!
//! ```text
//! [deployer executable][tar archive][manifest][footer]
//! ```
//!
//! Paths and a [`Recipe`] flow in, a bundle file flows out; a bundle flows in, its manifest and its members flow out.

mod assemble;
mod bundle;
mod digest;
pub mod elf;
mod error;
mod extract;
mod filestate;
pub mod folder;
mod footer;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod image;
mod manifest;
mod member;
mod output;
mod platform;
mod progress;
mod range;
mod repack;
mod sign;
mod split;
mod stamp;
mod tarframe;
mod unfinished;
mod verify;
mod write;
pub mod yaml;
pub mod yum;

pub use assemble::{Assembled, Inputs, assemble};
pub use bundle::Bundle;
pub use digest::{Hasher, Sha256, hash_file};
pub use error::{BundleError, Part};
pub use extract::extract;
pub use footer::{FOOTER_SIZE, FORMAT, Footer, Span};
pub use image::document as oci;
pub use image::{Blob, Image, NameProblem, Reference, blob_member, images_named};
pub use manifest::{Deployer, Manifest};
pub use member::{Member, MemberKind, NameError, RpmId, Stored, check_name};
pub use platform::{NotAPlatform, Platform};
pub use repack::{Changes, repack};
pub use sign::{SignKey, VerifyKey};
pub use split::{Parts, SMALLEST_LIMIT, split};
pub use unfinished::remove_unfinished;
pub use write::{NewMember, Recipe, Source, Written, write};
