//! How the hosts of an environment were last logged in to: user, port and key file of each, never a password. So a later
//! operation that must reach a host which its line does not name finds the way.

use std::collections::BTreeMap;

use crate::host::{Auth, HostId, Target, TargetDefaults};
use crate::store::HostLogin;

use super::error::FlowError;
use super::state::Environment;

/// The logins of an environment, by host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Logins(BTreeMap<HostId, HostLogin>);

impl Logins {
    /// The logins kept; none when there are none.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn load(environment: &Environment) -> Result<Self, FlowError> {
        if !environment.is_kept() {
            return Ok(Self::default());
        }
        Ok(Self(environment.store()?.logins(&environment.name)?.hosts))
    }

    /// Keeps how these hosts are logged in to; writes only when that is news.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub fn keep(environment: &Environment, targets: &[Target]) -> Result<(), FlowError> {
        let before = Self::load(environment)?;
        let mut logins = before.clone();
        for target in targets {
            logins.0.insert(target.id(), HostLogin::of(target));
        }
        if logins != before {
            environment.store()?.keep_hosts(&environment.name, &logins.0)?;
        }
        Ok(())
    }

    /// The way to a host: as it was last logged in to, with what the line gives for all hosts put first. `None` when
    /// nothing at hand could prove who we are.
    pub fn target(&self, host: &HostId, given: &TargetDefaults, sealed: &[Target]) -> Option<Target> {
        let kept = self.0.get(host);
        let address = host.address().parse().ok()?;
        let user = given.user.clone().or_else(|| kept.map(|l| l.user.clone())).unwrap_or_else(|| "root".to_owned());
        let key = given.auth.key.clone().or_else(|| kept.and_then(|l| l.key.clone()));
        let auth = Auth { key, ..given.auth.clone() };
        let mut target = Target { user, address, port: host.port(), auth, node_address: None };
        target.complete(sealed);
        let proves = target.auth.key.is_some() || target.auth.password.is_some() || target.auth.agent;
        proves.then_some(target)
    }
}

#[cfg(test)]
mod tests {
    use camino::Utf8Path;

    use super::*;

    fn targets(texts: &[&str]) -> Vec<Target> {
        texts.iter().map(|t| Target::parse(t, &TargetDefaults::default()).unwrap()).collect()
    }

    fn way(logins: &Logins, host: &str) -> String {
        let auth = Auth { agent: true, ..Auth::default() };
        let given = TargetDefaults { auth, ..TargetDefaults::default() };
        logins.target(&host.into(), &given, &[]).unwrap().to_string()
    }

    #[test]
    fn two_ports_of_one_address_are_two_logins() {
        let dir = tempfile::tempdir().unwrap();
        let environment = Environment::open(Utf8Path::from_path(dir.path()).unwrap(), "e").unwrap();
        Logins::keep(&environment, &targets(&["a@10.0.0.1:2222", "b@10.0.0.1", "c@[fe80::1]:2222"])).unwrap();
        let logins = Logins::load(&environment).unwrap();
        for host in ["a@10.0.0.1:2222", "b@10.0.0.1", "c@[fe80::1]:2222"] {
            assert_eq!(way(&logins, host.split_once('@').unwrap().1), host);
        }
        environment.empty().unwrap();
        assert_eq!(Logins::load(&environment).unwrap(), Logins::default());
    }
}
