//! File names of an extracted bundle, beside its members.

/// The executable.
pub const DEPLOYER: &str = "sunshine-installer";
/// The manifest, byte for byte as in the bundle.
pub const MANIFEST: &str = "manifest.json";
/// The footer, byte for byte as in the bundle: it holds the manifest's sum and the signature.
pub const FOOTER: &str = "bundle.footer";
