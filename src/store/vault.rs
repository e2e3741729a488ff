//! Credentials that the user asked to be kept: sealed with a key that lies in a file of the user's, mode 0600, and never
//! beside what it opens.
//!
//! XChaCha20-Poly1305 with a random nonce of 192 bits in front; the environment's name is authenticated with it, so
//! that what was sealed for one environment opens in no other.

use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use camino::{Utf8Path, Utf8PathBuf};
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};

use crate::host::Secret;

use super::error::StoreError;

const NONCE: usize = 24;

/// The key, read from its file.
pub struct Vault {
    path: Utf8PathBuf,
    cipher: XChaCha20Poly1305,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Vault {
    /// Reads the key file; makes one with a new key when there is none.
    ///
    /// # Errors
    /// When others may read it, or it holds no key.
    pub fn open(path: &Utf8Path) -> Result<Self, StoreError> {
        let io = |source| StoreError::Io { path: path.to_owned(), source };
        let wrong = |why: &str| StoreError::Vault { path: path.to_owned(), why: why.to_owned() };
        match std::fs::metadata(path) {
            Ok(meta) if meta.permissions().mode() & 0o077 != 0 => {
                return Err(wrong("others may read this key file: chmod 600"));
            }
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::NotFound => {
                let key = Secret::new(STANDARD.encode(rand::random::<[u8; 32]>()));
                let mut file =
                    std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path).map_err(io)?;
                writeln!(file, "{}", key.expose()).and_then(|()| file.sync_all()).map_err(io)?;
            }
            Err(e) => return Err(io(e)),
        }
        let text = Secret::new(std::fs::read_to_string(path).map_err(io)?);
        let key = STANDARD.decode(text.expose().trim()).ok();
        let cipher = key.and_then(|key| XChaCha20Poly1305::new_from_slice(&key).ok());
        let cipher = cipher.ok_or_else(|| wrong("this is no key file: 32 bytes in base64 are wanted"))?;
        Ok(Self { path: path.to_owned(), cipher })
    }

    /// Seals a text for an environment.
    ///
    /// # Errors
    /// When the cipher refuses, which it does for texts of gigabytes only.
    pub fn seal(&self, environment: &str, text: &Secret) -> Result<Vec<u8>, StoreError> {
        let nonce = rand::random::<[u8; NONCE]>();
        let payload = Payload { msg: text.expose().as_bytes(), aad: environment.as_bytes() };
        let sealed = self.cipher.encrypt(XNonce::from_slice(&nonce), payload).map_err(|_| self.fail("cannot seal"))?;
        Ok([&nonce[..], &sealed].concat())
    }

    /// Opens what [`Vault::seal`] sealed for the same environment.
    ///
    /// # Errors
    /// When it was sealed with another key or for another environment, or was changed.
    pub fn open_sealed(&self, environment: &str, sealed: &[u8]) -> Result<Secret, StoreError> {
        let fail = || self.fail("this key does not open the credentials that are kept with the environment");
        let (nonce, body) = sealed.split_at_checked(NONCE).ok_or_else(fail)?;
        let payload = Payload { msg: body, aad: environment.as_bytes() };
        let text = self.cipher.decrypt(XNonce::from_slice(nonce), payload).map_err(|_| fail())?;
        String::from_utf8(text).map(Secret::new).map_err(|_| fail())
    }

    fn fail(&self, why: &str) -> StoreError {
        StoreError::Vault { path: self.path.clone(), why: why.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault(dir: &tempfile::TempDir, name: &str) -> Vault {
        Vault::open(Utf8Path::from_path(dir.path()).unwrap().join(name).as_path()).unwrap()
    }

    #[test]
    fn what_was_sealed_opens_with_the_same_key_and_environment_only() {
        let dir = tempfile::tempdir().unwrap();
        let text = Secret::new("geheim");
        let sealed = vault(&dir, "a").seal("prod", &text).unwrap();
        assert!(!sealed.windows(6).any(|w| w == b"geheim"));
        assert_eq!(vault(&dir, "a").open_sealed("prod", &sealed).unwrap(), text);
        assert!(vault(&dir, "a").open_sealed("test", &sealed).is_err());
        assert!(vault(&dir, "b").open_sealed("prod", &sealed).is_err());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(vault(&dir, "a").open_sealed("prod", &changed).is_err(), "byte {at}");
        }
        assert!(vault(&dir, "a").open_sealed("prod", &sealed[..10]).is_err());
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        drop(vault(&dir, "key"));
        let path = Utf8PathBuf::from_path_buf(dir.path().join("key")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(Vault::open(&path).unwrap_err().to_string().contains("chmod 600"));
    }
}
