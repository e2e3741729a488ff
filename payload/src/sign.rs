//! Signatures: ed25519, in minisign's formats, so that `minisign -V` checks a bundle without this program.
//!
//! Signed is the manifest followed by the footer's lines up to `signature`: these bytes follow each other in the file.
//! The manifest holds the sum of every other byte, the deployer's included.

use std::io::{Cursor, Read};
use std::os::unix::fs::PermissionsExt;

use camino::Utf8Path;
use minisign::{PublicKey, PublicKeyBox, SecretKey, SecretKeyBox, SignatureBox};

use crate::bundle::Bundle;
use crate::digest::CHUNK;
use crate::error::BundleError;
use crate::folder;
use crate::footer::{FOOTER_SIZE, Footer};
use crate::output::Output;

/// A public key, as minisign's key files hold it.
#[derive(Clone, Debug)]
pub struct VerifyKey(PublicKey);

impl VerifyKey {
    /// Reads a key file (`untrusted comment: …` and a line of base64), or the base64 alone when no such file exists.
    pub fn read(spec: &str) -> Result<Self, BundleError> {
        let path = Utf8Path::new(spec);
        if path.is_file() {
            let text = fs_err::read_to_string(path).map_err(BundleError::io("read", path))?;
            let key = PublicKeyBox::from_string(text.trim_end()).and_then(PublicKeyBox::into_public_key);
            return key.map(Self).map_err(|e| bad_key(spec, &e));
        }
        PublicKey::from_base64(spec.trim())
            .map(Self)
            .map_err(|_| bad_key(spec, &"it is neither a file nor the base64 of a minisign public key"))
    }

    /// The base64 line.
    #[must_use]
    pub fn to_base64(&self) -> String {
        self.0.to_base64()
    }
}

/// A secret key, unlocked.
pub struct SignKey(SecretKey);

impl std::fmt::Debug for SignKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SignKey(***)")
    }
}

impl SignKey {
    /// Reads a minisign secret key file; `password` is asked only when the key is locked with one.
    pub fn read(
        path: &Utf8Path,
        password: &mut dyn FnMut() -> Result<String, BundleError>,
    ) -> Result<Self, BundleError> {
        let text = fs_err::read_to_string(path).map_err(BundleError::io("read", path))?;
        let text = text.trim_end();
        let boxed = || SecretKeyBox::from_string(text).map_err(|e| bad_key(path.as_str(), &e));
        if let Ok(key) = boxed()?.into_unencrypted_secret_key() {
            return Ok(Self(key));
        }
        let password = password()?;
        boxed()?.into_secret_key(Some(password)).map(Self).map_err(|e| bad_key(path.as_str(), &e))
    }

    /// The public half.
    pub fn public(&self) -> Result<VerifyKey, BundleError> {
        PublicKey::from_secret_key(&self.0).map(VerifyKey).map_err(|e| bad_key("the secret key", &e))
    }
}

fn bad_key(path: &str, what: &dyn std::fmt::Display) -> BundleError {
    BundleError::Key { path: path.into(), what: what.to_string() }
}

impl Bundle {
    fn signed_bytes(&self) -> impl Read {
        Cursor::new(self.manifest_bytes()).chain(Cursor::new(self.footer().signed_head()))
    }

    /// Signs this bundle and returns the signed one, opened. Only the footer changes, in a copy that takes the bundle's name when it
    /// is whole: a bundle whose footer is half written is none.
    pub fn sign(&self, key: &SignKey, trusted_comment: &str) -> Result<Self, BundleError> {
        let signature = self.make_signature(key, trusted_comment)?;
        let footer = Footer { signature, ..self.footer().clone() };
        let footer = footer.encode().ok_or_else(|| bad_key("the signature", &"its comment is too long"))?;
        let path = if self.is_folder() { self.path().join(folder::FOOTER) } else { self.path().to_owned() };
        let mode = fs_err::metadata(&path).map_err(BundleError::io("read", &path))?.permissions().mode();
        let at = if self.is_folder() { 0 } else { self.footer().manifest.end().unwrap_or_default() };
        let mut out = Output::create(&path, mode, at + FOOTER_SIZE)?;
        if at > 0 {
            let mut unsigned = self.whole_file()?.take(at);
            let mut buffer = vec![0; CHUNK];
            loop {
                match unsigned.read(&mut buffer).map_err(BundleError::io("read", &path))? {
                    0 => break,
                    got => out.write(&buffer[..got])?,
                }
            }
        }
        out.write(&footer)?;
        out.commit()?;
        Self::open(self.path())
    }

    /// Makes a signature over this bundle, as minisign's four lines.
    fn make_signature(&self, key: &SignKey, trusted_comment: &str) -> Result<String, BundleError> {
        let untrusted = format!("signature of sunshine-installer {}", self.manifest().product_version);
        minisign::sign(None, &key.0, self.signed_bytes(), Some(trusted_comment), Some(&untrusted))
            .map(|signature| signature.into_string().trim_end_matches('\n').to_owned())
            .map_err(|e| bad_key("the secret key", &e))
    }

    /// Checks the signature with this key. Returns the signed comment.
    pub fn check_signature(&self, key: &VerifyKey) -> Result<String, BundleError> {
        let fails = |what: String| BundleError::Signature { path: self.path().to_owned(), what };
        let text = &self.footer().signature;
        if text.is_empty() {
            return Err(fails("it has none".into()));
        }
        let signature = SignatureBox::from_string(text).map_err(|e| fails(e.to_string()))?;
        let mut signed = Vec::new();
        self.signed_bytes().read_to_end(&mut signed).map_err(BundleError::io("read", self.path()))?;
        minisign::verify(&key.0, &signature, Cursor::new(signed), true, false, false)
            .and_then(|()| signature.trusted_comment())
            .map_err(|e| fails(e.to_string()))
    }

    /// Holds the bundle to the key that is pinned in it, if one is: without that key's signature nothing is deployed.
    pub fn check_pinned_key(&self) -> Result<(), BundleError> {
        let Some(key) = self.pinned_key() else { return Ok(()) };
        let key = PublicKey::from_base64(key).map_err(|e| bad_key(key, &e))?;
        self.check_signature(&VerifyKey(key)).map(drop)
    }
}
