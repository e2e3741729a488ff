//! The token by which a host joins: made for it through the API, and deleted when it has joined (Kubernetes documentation,
//! "Authenticating with Bootstrap Tokens"). One that cannot be deleted ends by itself.

use std::thread;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use rand::seq::IndexedRandom;
use serde_json::{Value, json};

use crate::flow::retry::{self, Patience};
use crate::plan::{Cx, Interrupt, StepError};

use super::super::api::{Api, ApiError};

/// How long one lasts at most.
const LASTS: SignedDuration = SignedDuration::from_mins(30);

/// What a host that joins reads without a certificate, signed by every token.
const CLUSTER_INFO: &str = "/api/v1/namespaces/kube-public/configmaps/cluster-info";
/// For how long it is waited for.
const SIGNED: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(100);

/// A token of a cluster.
#[derive(Debug)]
pub(super) struct Token {
    id: String,
    secret: String,
}

impl Token {
    pub(super) fn new() -> Self {
        Self { id: random(6), secret: random(16) }
    }

    /// As kubeadm reads it.
    pub(super) fn text(&self) -> String {
        format!("{}.{}", self.id, self.secret)
    }

    fn object(&self, node: &str) -> Value {
        let ends = Timestamp::now().saturating_add(LASTS).unwrap_or(Timestamp::MAX);
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token",
            "metadata": {"name": format!("bootstrap-token-{}", self.id), "namespace": "kube-system"},
            "stringData": {
                "description": format!("sunshine-installer: {node} joins"),
                "token-id": self.id, "token-secret": self.secret,
                "expiration": ends.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
                "usage-bootstrap-authentication": "true", "usage-bootstrap-signing": "true",
                "auth-extra-groups": "system:bootstrappers:kubeadm:default-node-token",
            },
        })
    }

    /// Makes one for a host. After a failure that passes nobody knows whether it was made: the next try makes another.
    pub(super) fn make(api: &Api<'_>, cx: &Cx<'_>, node: &str) -> Result<Self, StepError> {
        // Finds the API server that answers.
        api.get("/api/v1/namespaces/kube-system")?;
        let made = retry::until(Patience::of_step(cx), || -> Result<Self, ApiError> {
            let token = Self::new();
            api.post_once("/api/v1/namespaces/kube-system/secrets", &token.object(node))?;
            Ok(token)
        });
        Ok(made?)
    }

    /// Waits until the cluster has signed with it what a host reads first: the controller manager does so within a second, and kubeadm, which
    /// finds no signature, waits five to ten seconds before it looks again. Where that takes long, kubeadm waits by itself.
    pub(super) fn await_signature(&self, api: &Api<'_>, interrupt: &Interrupt) {
        let end = Instant::now() + SIGNED;
        let is_signed = |info: Value| info["data"].get(format!("jws-kubeconfig-{}", self.id)).is_some();
        while Instant::now() < end && !interrupt.is_set() && !api.get(CLUSTER_INFO).is_ok_and(is_signed) {
            thread::sleep(POLL);
        }
    }

    /// Deletes it.
    pub(super) fn end(self, api: &Api<'_>) {
        if let Err(error) = api.delete(&format!("/api/v1/namespaces/kube-system/secrets/bootstrap-token-{}", self.id)) {
            tracing::info!(%error, "a token that was not deleted ends by itself");
        }
    }
}

fn random(length: usize) -> String {
    const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut rng = rand::rng();
    (0..length).filter_map(|_| LETTERS.choose(&mut rng).map(|letter| char::from(*letter))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_what_kubeadm_reads() {
        let token = Token::new();
        let text = token.text();
        let (id, secret) = text.split_once('.').unwrap();
        let is_good = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        assert!(id.len() == 6 && secret.len() == 16 && is_good(id) && is_good(secret), "{text}");
        let object = token.object("host1");
        let ends: Timestamp = object["stringData"]["expiration"].as_str().unwrap().parse().unwrap();
        let left = ends.duration_since(Timestamp::now()).as_secs();
        assert!((1790..=1800).contains(&left), "{left}");
    }
}
