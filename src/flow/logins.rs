//! How the hosts of an environment were last logged in to: user, port and key file of each, never a password. So a later
//! operation that must reach a host which its line does not name finds the way.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use crate::host::{Auth, Target, TargetDefaults};

use super::error::FlowError;
use super::state::Environment;

const FILE: &str = "hosts";

/// One host's login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Login {
    user: String,
    port: u16,
    key: Option<Utf8PathBuf>,
}

/// The logins of an environment, by host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Logins(BTreeMap<String, Login>);

impl Logins {
    /// The logins kept; none when there are none.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn load(environment: &Environment) -> Result<Self, FlowError> {
        Ok(environment.load(FILE)?.unwrap_or_default())
    }

    /// Keeps how these hosts are logged in to; writes only when that is news.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn keep(environment: &Environment, targets: &[Target]) -> Result<(), FlowError> {
        let before = Self::load(environment)?;
        let mut logins = before.clone();
        for target in targets {
            let login = Login { user: target.user.clone(), port: target.port, key: target.auth.key.clone() };
            logins.0.insert(target.address.to_string(), login);
        }
        if logins == before { Ok(()) } else { environment.save(FILE, &logins) }
    }

    /// The way to a host: as it was last logged in to, with what the line gives for all hosts put first. `None` when
    /// nothing at hand could prove who we are.
    pub fn target(&self, host: &str, given: &TargetDefaults, sealed: &[Target]) -> Option<Target> {
        let kept = self.0.get(host);
        let address = host.parse().ok()?;
        let user = given.user.clone().or_else(|| kept.map(|l| l.user.clone())).unwrap_or_else(|| "root".to_owned());
        let port = given.port.or(kept.map(|l| l.port)).unwrap_or(22);
        let key = given.auth.key.clone().or_else(|| kept.and_then(|l| l.key.clone()));
        let auth = Auth { key, ..given.auth.clone() };
        let mut target = Target { user, address, port, auth };
        target.complete(sealed);
        let proves = target.auth.key.is_some() || target.auth.password.is_some() || target.auth.agent;
        proves.then_some(target)
    }
}
