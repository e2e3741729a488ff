//! The key by which API servers encrypt secrets in etcd (Kubernetes documentation, "Encrypting Confidential Data at Rest").

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use camino::Utf8PathBuf;
use serde_json::json;

use crate::flow::files::write_private;
use crate::host::Secret;
use crate::plan::{Made, StepError};

/// What both providers take, in bytes.
const LENGTH: usize = 32;
/// The better one (XSalsa20 and Poly1305).
const SECRETBOX: &str = "secretbox";
/// The one whose cipher FIPS 140 knows, and whose key need not be replaced after so many writes.
const AES_CBC: &str = "aescbc";

/// What API servers do with the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyUse {
    /// Read what is encrypted, and write as without a key: so they work while others of the cluster have no key yet.
    Read,
    ReadAndWrite,
}

/// The API servers' `EncryptionConfiguration` with a key that is made once and never replaced: what is in etcd cannot be read
/// without it. It lies in the environment's `pki` folder, where `cluster certs renew` leaves it alone.
#[derive(Debug)]
pub(super) struct Encryption {
    pub path: Utf8PathBuf,
    pub look_only: bool,
    /// A key that is made now is for hosts in FIPS mode.
    pub fips: bool,
    pub key_use: KeyUse,
}

/// The file: the key, behind the name of its provider where that is not the usual one.
#[derive(PartialEq)]
struct Key {
    provider: &'static str,
    base64: Secret,
}

impl Encryption {
    fn failed(&self, why: impl std::fmt::Display) -> StepError {
        StepError::failed(format!("{}: {why}", self.path))
    }

    fn kept(&self) -> Result<Option<Key>, StepError> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => Secret::new(text),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(self.failed(e)),
        };
        let (provider, base64) = match text.expose().trim().split_once(' ') {
            None => (SECRETBOX, text.expose().trim()),
            Some((AES_CBC, base64)) => (AES_CBC, base64),
            Some((other, _)) => return Err(self.failed(format!("`{other}` is no way to encrypt secrets"))),
        };
        match STANDARD.decode(base64) {
            Ok(key) if key.len() == LENGTH => Ok(Some(Key { provider, base64: Secret::new(base64) })),
            _ => {
                Err(self.failed("this is no key of 32 bytes, and secrets in etcd may be encrypted with the former one"))
            }
        }
    }
}

impl Made for Encryption {
    fn name(&self) -> String {
        "secrets/encryption.yaml".to_owned()
    }

    /// JSON, which is YAML too. The first provider writes; `identity` reads what was written before there was a key.
    fn content(&self) -> Result<Option<Secret>, StepError> {
        let render = |key: Key| {
            let keys = json!([{"name": "key1", "secret": key.base64.expose()}]);
            let (key, identity) = (json!({key.provider: {"keys": keys}}), json!({"identity": {}}));
            let providers = match self.key_use {
                KeyUse::Read => [identity, key],
                KeyUse::ReadAndWrite => [key, identity],
            };
            let value = json!({
                "apiVersion": "apiserver.config.k8s.io/v1", "kind": "EncryptionConfiguration",
                "resources": [{"resources": ["secrets"], "providers": providers}],
            });
            Secret::new(format!("{value:#}\n"))
        };
        Ok(self.kept()?.map(render))
    }

    fn missing(&self) -> Result<Vec<String>, StepError> {
        Ok(if self.kept()?.is_some() { Vec::new() } else { vec!["create the key that encrypts secrets".to_owned()] })
    }

    fn make(&self) -> Result<(), StepError> {
        if self.look_only || self.kept()?.is_some() {
            return Ok(());
        }
        let provider = if self.fips { format!("{AES_CBC} ") } else { String::new() };
        let text = Secret::new(format!("{provider}{}\n", STANDARD.encode(rand::random::<[u8; LENGTH]>())));
        write_private(&self.path, text.expose().as_bytes()).map_err(|e| self.failed(e))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use camino::Utf8Path;

    use super::*;

    #[test]
    fn the_key_is_made_once_and_a_damaged_one_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(dir.path()).unwrap().join("secrets/encryption.key");
        let key_use = KeyUse::ReadAndWrite;
        let made = |look_only| Encryption { path: path.clone(), look_only, fips: false, key_use };
        assert_eq!(made(false).missing().unwrap(), ["create the key that encrypts secrets"]);
        made(true).make().unwrap();
        assert!(made(true).content().unwrap().is_none() && !path.exists(), "a look makes nothing");
        made(false).make().unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let first = made(false).content().unwrap().unwrap();
        made(false).make().unwrap();
        assert!(made(false).content().unwrap().unwrap() == first && made(false).missing().unwrap().is_empty());
        let value: serde_json::Value = serde_json::from_str(first.expose()).unwrap();
        let key = value["resources"][0]["providers"][0]["secretbox"]["keys"][0]["secret"].as_str().unwrap();
        assert_eq!(STANDARD.decode(key).unwrap().len(), 32);
        std::fs::write(&path, "short\n").unwrap();
        assert!(made(false).make().is_err() && made(false).content().is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "short\n");
    }

    #[test]
    fn hosts_in_fips_mode_get_a_cipher_of_theirs_and_what_was_made_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(dir.path()).unwrap().join("encryption.key");
        let key_use = KeyUse::ReadAndWrite;
        let made = |fips| Encryption { path: path.clone(), look_only: false, fips, key_use };
        made(true).make().unwrap();
        let content = made(true).content().unwrap().unwrap();
        assert!(content.expose().contains("aescbc") && !content.expose().contains("secretbox"));
        made(false).make().unwrap();
        assert!(
            made(false).content().unwrap().unwrap() == content,
            "a cluster keeps what its secrets are encrypted with"
        );
        std::fs::write(&path, format!("rot13 {}\n", STANDARD.encode([0; 32]))).unwrap();
        assert!(made(false).content().unwrap_err().to_string().contains("rot13"));
    }

    #[test]
    fn the_provider_that_writes_is_the_first_one() {
        for (fips, provider) in [(false, "secretbox"), (true, "aescbc")] {
            let dir = tempfile::tempdir().unwrap();
            let path = Utf8Path::from_path(dir.path()).unwrap().join("encryption.key");
            let made = |key_use| Encryption { path: path.clone(), look_only: false, fips, key_use };
            made(KeyUse::Read).make().unwrap();
            let providers = |key_use| -> Vec<serde_json::Value> {
                let content = made(key_use).content().unwrap().unwrap();
                let value: serde_json::Value = serde_json::from_str(content.expose()).unwrap();
                value["resources"][0]["providers"].as_array().unwrap().clone()
            };
            let (read, write) = (providers(KeyUse::Read), providers(KeyUse::ReadAndWrite));
            assert!(read[0].get("identity").is_some() && read[1].get(provider).is_some(), "{fips}");
            assert!(read[0] == write[1] && read[1] == write[0] && read.len() == 2, "the same key");
        }
    }
}
