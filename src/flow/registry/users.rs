//! Who may use the registry: users whose passwords the site gives, kept as hashes only, and a login of the cluster's nodes,
//! whose password follows from a key of the environment. The file is htpasswd's, with bcrypt, as the distribution server reads it.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::flow::error::FlowError;
use crate::flow::pki::{Ask, KeyKind, Material, Pki, Purpose};
use crate::flow::request::RegistryUser;
use crate::host::Secret;
use crate::plan::{Made, StepError};

/// The user that the nodes of a cluster pull as.
const NODES: &str = "sunshine-nodes";
/// Of bcrypt, for passwords that people choose: some 50 ms for a guess.
const COST: u32 = 10;
/// For one that nobody can guess.
const LOWEST_COST: u32 = 4;
/// bcrypt reads no more of a password.
const LONGEST: usize = 72;

/// The hash of each user's password: that which is known while the password stays the same.
///
/// # Errors
/// When a new user has no password, or one that bcrypt cannot tell from another.
pub(super) fn hashes(
    users: &[RegistryUser],
    known: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, FlowError> {
    let mut hashes = BTreeMap::new();
    for RegistryUser { name, password } in users {
        let refuse = |what: String, help: &str| FlowError::request_with_help(what, help);
        if name == NODES {
            return Err(refuse(format!("the registry's user {NODES} is the cluster's own"), "choose another name"));
        }
        let kept = known.get(name);
        let hash = match (password, kept) {
            (None, Some(kept)) => kept.clone(),
            (None, None) => {
                let help = "name its file with passwordFile, or a variable with passwordEnv";
                return Err(refuse(format!("the registry's user {name} has no password yet"), help));
            }
            (Some(password), _) if password.expose().len() > LONGEST => {
                let help = "choose a shorter one";
                return Err(refuse(format!("the password of {name} is longer than {LONGEST} bytes"), help));
            }
            (Some(password), Some(kept)) if bcrypt::verify(password.expose(), kept).unwrap_or(false) => kept.clone(),
            (Some(password), _) => hash(password.expose(), COST, rand::random())
                .map_err(|why| FlowError::request(format!("the password of {name} cannot be used: {why}")))?,
        };
        hashes.insert(name.clone(), hash);
    }
    Ok(hashes)
}

fn hash(password: &str, cost: u32, salt: [u8; 16]) -> Result<String, String> {
    let parts = bcrypt::hash_with_salt(password, cost, salt).map_err(|e| e.to_string())?;
    // The version that htpasswd writes.
    Ok(parts.format_for_version(bcrypt::Version::TwoY))
}

/// The nodes' login, made with a key that is never replaced.
#[derive(Debug, Clone)]
pub(super) struct NodeLogin(Material);

impl NodeLogin {
    pub(super) fn new(pki: &Pki) -> Self {
        Self(pki.material(Purpose::Registry, Ask::LastingKey("nodes", KeyKind::Elliptic)))
    }

    fn digest(&self, of: &str) -> Result<Option<[u8; 32]>, StepError> {
        let key = self.0.key().content()?;
        Ok(key.map(|key| Sha256::new().chain_update(of).chain_update(key.expose()).finalize().into()))
    }

    /// `NAME:PASSWORD` in base64.
    fn basic(&self) -> Result<Option<Secret>, StepError> {
        let password = self.digest("registry password of nodes")?.map(hex::encode);
        Ok(password.map(|password| Secret::new(STANDARD.encode(format!("{NODES}:{password}")))))
    }

    /// The same password has the same hash.
    fn line(&self) -> Result<Option<String>, StepError> {
        let (Some(password), Some(salt)) =
            (self.digest("registry password of nodes")?, self.digest("registry salt of nodes")?)
        else {
            return Ok(None);
        };
        let salt = std::array::from_fn(|at| salt.get(at).copied().unwrap_or_default());
        hash(&hex::encode(password), LOWEST_COST, salt)
            .map(|hash| Some(format!("{NODES}:{hash}\n")))
            .map_err(StepError::failed)
    }

    /// What makes it.
    fn key(&self) -> Arc<dyn Made> {
        self.0.key()
    }
}

/// The login, as HTTP's basic authentication has it (RFC 7617).
impl Made for NodeLogin {
    fn name(&self) -> String {
        format!("the login of {NODES}")
    }

    fn content(&self) -> Result<Option<Secret>, StepError> {
        self.basic()
    }

    fn missing(&self) -> Result<Vec<String>, StepError> {
        self.key().missing()
    }

    fn make(&self) -> Result<(), StepError> {
        self.key().make()
    }
}

/// The file with everybody's line.
#[derive(Debug)]
pub(super) struct Htpasswd {
    pub users: BTreeMap<String, String>,
    pub nodes: NodeLogin,
}

impl Made for Htpasswd {
    fn name(&self) -> String {
        "registry/htpasswd".to_owned()
    }

    fn content(&self) -> Result<Option<Secret>, StepError> {
        let Some(nodes) = self.nodes.line()? else { return Ok(None) };
        let users: String = self.users.iter().map(|(name, hash)| format!("{name}:{hash}\n")).collect();
        Ok(Some(Secret::new(users + &nodes)))
    }

    fn missing(&self) -> Result<Vec<String>, StepError> {
        self.nodes.key().missing()
    }

    fn make(&self) -> Result<(), StepError> {
        self.nodes.key().make()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(password: Option<&str>) -> [RegistryUser; 1] {
        [RegistryUser { name: "site".to_owned(), password: password.map(Secret::new) }]
    }

    #[test]
    fn the_same_password_keeps_its_hash_and_another_gets_a_new_one() {
        let none = BTreeMap::new();
        let first = hashes(&user(Some("geheim")), &none).unwrap();
        assert!(first["site"].starts_with("$2y$10$") && bcrypt::verify("geheim", &first["site"]).unwrap());
        assert_eq!(hashes(&user(Some("geheim")), &first).unwrap(), first);
        assert_eq!(hashes(&user(None), &first).unwrap(), first);
        assert_ne!(hashes(&user(Some("anders")), &first).unwrap(), first);
        assert!(hashes(&user(None), &none).unwrap_err().to_string().contains("has no password yet"));
        let long = "x".repeat(73);
        let error = hashes(&user(Some(&long)), &none).unwrap_err().to_string();
        assert!(error.contains("longer than 72") && !error.contains("xxx"), "{error}");
    }

    #[test]
    fn nodes_have_a_login_that_stays_and_that_the_file_knows() {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::new(camino::Utf8Path::from_path(dir.path()).unwrap().join("pki"), false);
        let file = Htpasswd { users: [("site".to_owned(), "$2y$…".to_owned())].into(), nodes: NodeLogin::new(&pki) };
        assert!(file.content().unwrap().is_none() && file.nodes.basic().unwrap().is_none());
        file.make().unwrap();
        let text = file.content().unwrap().unwrap();
        assert_eq!(text.expose(), file.content().unwrap().unwrap().expose());
        let basic = STANDARD.decode(file.nodes.basic().unwrap().unwrap().expose()).unwrap();
        let basic = String::from_utf8(basic).unwrap();
        let (name, password) = basic.split_once(':').unwrap();
        let hash = text.expose().lines().find_map(|line| line.strip_prefix("sunshine-nodes:")).unwrap();
        assert!(name == NODES && bcrypt::verify(password, hash).unwrap() && text.expose().starts_with("site:$2y$…\n"));
        assert!(!format!("{file:?}").contains(password));
    }
}
