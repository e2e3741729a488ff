//! The doors: what users and programs call. A door translates; it has no logic of its own.

pub mod bundle;
mod bundle_text;
pub mod workdir;
