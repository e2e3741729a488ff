//! Certificate authorities and the certificates they sign, made on the control host and kept there.
//!
//! One [`Authority`] per [`Purpose`] in `pki/PURPOSE/` of the environment's folder: `ca.crt`, `ca.key` and `NAME.crt`,
//! `NAME.key` for what it signed; keys are 0600. A certificate is reused as long as it fits the request and has a third of
//! its life left, so a second run writes the same bytes and restarts nothing. A plan only names what it needs of them
//! ([`Material`]): they are made by a step of it.

mod authority;
mod encryption;
mod given;
mod material;
mod password;

pub use authority::{Authority, CERT_LIFE, CertRequest, Kept, KeyKind, KeyPairPem, PkiError, Usage, expires_at, kept};
pub use encryption::KeyUse;
pub use material::{Ask, Forget, Kubeconfig, Material, Pki, Purpose};
