//! What the control host keeps of the instances it asked for: the environment's document `ec2`.
//!
//! It is written before EC2 is asked, so that a run killed at any moment asks with the same token again, and EC2 answers
//! with the instances it has made already.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::flow::error::FlowError;
use crate::flow::state::Environment;

use super::instance::Instance;
use super::request::Access;

pub(in crate::flow) const FILE: &str = "ec2";

/// Requests and what came of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Known {
    /// Chosen at random once: two machines may both have an environment `default` in one account.
    pub(super) owner: String,
    /// Where the instances are, for questions asked later.
    pub(super) access: Access,
    /// By the request's fingerprint.
    pub(super) requests: BTreeMap<String, Launch>,
}

/// One request for instances.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Launch {
    /// Counts how often its instances were terminated and wanted anew.
    pub(super) generation: u32,
    /// When EC2 said that the instances are made: seconds of the Unix epoch.
    pub(super) made: Option<i64>,
    /// As they were when last looked at.
    pub(super) instances: Vec<Instance>,
}

impl Known {
    pub(super) fn load(environment: &Environment) -> Result<Option<Self>, FlowError> {
        environment.load(FILE)
    }

    pub(super) fn new() -> Self {
        let owner: [u8; 16] = rand::random();
        Self { owner: hex::encode(owner), access: Access::default(), requests: BTreeMap::new() }
    }

    pub(super) fn save(&self, environment: &Environment) -> Result<(), FlowError> {
        environment.save(FILE, self)
    }

    /// The client token of a request as it stands: 64 characters, all that EC2 takes.
    pub(super) fn token(&self, environment: &str, fingerprint: &str) -> String {
        let generation = self.requests.get(fingerprint).map_or(0, |launch| launch.generation);
        hex::encode(Sha256::digest(format!("{}\n{environment}\n{fingerprint}\n{generation}", self.owner)))
    }

    /// All instances, as they were when last looked at.
    pub(super) fn instances(&self) -> Vec<Instance> {
        self.requests.values().flat_map(|launch| launch.instances.iter().cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_stays_until_its_instances_are_wanted_anew_and_is_no_other_machines() {
        let mut known = Known::new();
        let token = known.token("default", "f");
        assert_eq!(token.len(), 64);
        known.requests.insert("f".to_owned(), Launch::default());
        assert_eq!(known.token("default", "f"), token);
        assert_ne!(known.token("other", "f"), token);
        assert_ne!(Known::new().token("default", "f"), token);
        known.requests.get_mut("f").unwrap().generation += 1;
        assert_ne!(known.token("default", "f"), token);
    }
}
