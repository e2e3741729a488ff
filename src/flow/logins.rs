//! How the hosts of an environment were last logged in to: user, port and key file of each, never a password. So a later
//! operation that must reach a host which its line does not name finds the way.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use crate::host::{Auth, HostId, Target, TargetDefaults};

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
pub struct Logins(BTreeMap<HostId, Login>);

impl Logins {
    /// The logins kept; none when there are none.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn load(environment: &Environment) -> Result<Self, FlowError> {
        let kept: BTreeMap<HostId, Login> = environment.load(FILE)?.unwrap_or_default();
        // Reads states made before identities had ports: the entry of an address may be of another port than 22.
        let rekeyed = kept.into_iter().filter_map(|(host, login)| {
            let address = host.address().parse().ok()?;
            Some((HostId::new(&address, login.port), login))
        });
        Ok(Self(rekeyed.collect()))
    }

    /// The same hosts by their identities, where a state made before names them by their addresses: such a name means the
    /// one login of that address.
    pub(super) fn identify<T>(&self, hosts: BTreeMap<HostId, T>) -> BTreeMap<HostId, T> {
        let identity = |host: HostId| {
            if self.0.contains_key(&host) {
                return host;
            }
            HostId::named(&host, self.0.keys()).cloned().unwrap_or(host)
        };
        hosts.into_iter().map(|(host, value)| (identity(host), value)).collect()
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
            logins.0.insert(target.id(), login);
        }
        if logins == before { Ok(()) } else { environment.save(FILE, &logins) }
    }

    /// The way to a host: as it was last logged in to, with what the line gives for all hosts put first. `None` when
    /// nothing at hand could prove who we are.
    pub fn target(&self, host: &HostId, given: &TargetDefaults, sealed: &[Target]) -> Option<Target> {
        let kept = self.0.get(host);
        let address = host.address().parse().ok()?;
        let user = given.user.clone().or_else(|| kept.map(|l| l.user.clone())).unwrap_or_else(|| "root".to_owned());
        let key = given.auth.key.clone().or_else(|| kept.and_then(|l| l.key.clone()));
        let auth = Auth { key, ..given.auth.clone() };
        let mut target = Target { user, address, port: host.port(), auth };
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
    }

    #[test]
    fn a_state_that_names_a_host_by_its_address_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let environment = Environment::open(Utf8Path::from_path(dir.path()).unwrap(), "e").unwrap();
        let login = |port: u16| serde_json::json!({"user": "m", "port": port, "key": null});
        let kept = serde_json::json!({"10.0.0.1": login(2222), "10.0.0.2": login(22), "fe80::1": login(2222)});
        environment.save(FILE, &kept).unwrap();
        let logins = Logins::load(&environment).unwrap();
        assert_eq!(way(&logins, "10.0.0.1:2222"), "m@10.0.0.1:2222");
        let hosts = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "fe80::1"].map(|h| (HostId::from(h), ()));
        let found: Vec<HostId> = logins.identify(hosts.into()).into_keys().collect();
        assert_eq!(found, ["10.0.0.1:2222", "10.0.0.2", "10.0.0.3", "[fe80::1]:2222"]);
    }
}
