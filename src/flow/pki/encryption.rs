//! The key by which API servers encrypt secrets in etcd (Kubernetes documentation, "Encrypting Confidential Data at Rest").

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use camino::Utf8PathBuf;
use serde_json::json;

use crate::flow::files::write_private;
use crate::host::Secret;
use crate::plan::{Made, StepError};

/// What `secretbox` takes, in bytes.
const LENGTH: usize = 32;

/// The API servers' `EncryptionConfiguration` with a key that is made once and never replaced: what is in etcd cannot be read
/// without it. It lies in the environment's `pki` folder, where `cluster certs renew` leaves it alone.
#[derive(Debug)]
pub(super) struct Encryption {
    pub path: Utf8PathBuf,
    pub look_only: bool,
}

impl Encryption {
    fn failed(&self, why: impl std::fmt::Display) -> StepError {
        StepError::failed(format!("{}: {why}", self.path))
    }

    fn kept(&self) -> Result<Option<Secret>, StepError> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => Secret::new(text),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(self.failed(e)),
        };
        match STANDARD.decode(text.expose().trim()) {
            Ok(key) if key.len() == LENGTH => Ok(Some(text)),
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

    /// JSON, which is YAML too. `identity` reads what was written before there was a key.
    fn content(&self) -> Result<Option<Secret>, StepError> {
        let render = |key: Secret| {
            let keys = json!([{"name": "key1", "secret": key.expose().trim()}]);
            let value = json!({
                "apiVersion": "apiserver.config.k8s.io/v1", "kind": "EncryptionConfiguration",
                "resources": [{"resources": ["secrets"], "providers": [{"secretbox": {"keys": keys}}, {"identity": {}}]}],
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
        let text = Secret::new(STANDARD.encode(rand::random::<[u8; LENGTH]>()) + "\n");
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
        let made = |look_only| Encryption { path: path.clone(), look_only };
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
}
