//! How an environment's hosts are logged in to, kept with the environment for its later tasks: users, ports and key files in
//! the clear; passwords not at all, or sealed with `--keep-credentials`.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::flow::request::{Job, Operation};
use crate::host::{Auth, HostId, Secret, Target};
use crate::store::vault::Vault;
use crate::store::{HostLogin, KeptLogins, Store, StoreError};

/// What is kept in the clear.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) user: Option<String>,
    pub(crate) key: Option<Utf8PathBuf>,
    pub(crate) hosts: BTreeMap<HostId, HostLogin>,
}

/// The secrets beside a [`Login`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Secrets {
    pub(crate) sudo: Option<Secret>,
    pub(crate) passwords: BTreeMap<HostId, Secret>,
}

/// What is sealed. Earlier versions wrote no users, and called hosts by their bare address.
#[derive(Serialize, Deserialize)]
struct Plain {
    sudo: Option<String>,
    passwords: BTreeMap<HostId, String>,
    /// Whose the passwords are: the login beside them may have been changed without the key.
    #[serde(default)]
    users: BTreeMap<HostId, String>,
}

impl Secrets {
    /// As a text to seal.
    fn to_text(&self, login: &Login) -> Secret {
        let user = |host: &HostId| Some((host.clone(), login.hosts.get(host)?.user.clone()));
        let plain = Plain {
            sudo: self.sudo.as_ref().map(|s| s.expose().to_owned()),
            passwords: self.passwords.iter().map(|(host, s)| (host.clone(), s.expose().to_owned())).collect(),
            users: self.passwords.keys().filter_map(user).collect(),
        };
        Secret::new(serde_json::to_string(&plain).unwrap_or_default())
    }

    /// Back from [`Secrets::to_text`]; a password only where its login is kept still.
    fn from_text(text: &Secret, login: &Login) -> Option<Self> {
        let plain: Plain = serde_json::from_str(text.expose()).ok()?;
        let password = |(host, password): (HostId, String)| {
            let identity = HostId::named(&host, login.hosts.keys())?;
            let same = plain.users.get(&host).is_none_or(|user| *user == login.hosts[identity].user);
            same.then(|| (identity.clone(), Secret::new(password)))
        };
        Some(Self {
            sudo: plain.sudo.map(Secret::new),
            passwords: plain.passwords.into_iter().filter_map(password).collect(),
        })
    }
}

/// Adds how these hosts are logged in to.
pub(crate) fn learn<'a>(login: &mut Login, secrets: &mut Secrets, targets: impl IntoIterator<Item = &'a Target>) {
    for target in targets {
        let host = target.id();
        let own = HostLogin::of(target);
        // A password belongs to its user and port.
        if login.hosts.get(&host).is_some_and(|before| !before.is_same(&own)) {
            secrets.passwords.remove(&host);
        }
        if let Some(password) = &target.auth.password {
            secrets.passwords.insert(host.clone(), password.clone());
        }
        login.hosts.insert(host, own);
    }
}

/// Adds what a job of the command line tells.
pub(crate) fn learn_job(login: &mut Login, secrets: &mut Secrets, job: &Job) {
    let shared = &job.options.login;
    login.user = shared.user.clone().or_else(|| login.user.take());
    login.key = shared.auth.key.clone().or_else(|| login.key.take());
    secrets.sudo = shared.auth.sudo_password.clone().or_else(|| secrets.sudo.take());
    for operation in &job.operations {
        learn(login, secrets, hosts(operation));
    }
}

/// Hosts that are, or become, the environment's; not those that leave it.
fn hosts(operation: &Operation) -> Vec<&Target> {
    match operation {
        Operation::EtcdCreate(etcd) => etcd.members.iter().collect(),
        Operation::RegistryCreate(registry) => registry.hosts.iter().collect(),
        Operation::RegistryRemove(registry) => registry.also.iter().collect(),
        Operation::RegistryCollect(registry) => registry.hosts.iter().collect(),
        Operation::EtcdAdd(etcd) => etcd.members.iter().collect(),
        Operation::ClusterRemove(c) => c.also.iter().collect(),
        Operation::CertsRenew(hosts) | Operation::ImagesSync(hosts) => hosts.iter().collect(),
        Operation::ClusterCreate(c) => c.control_plane.iter().chain(&c.workers).chain(&c.etcd).collect(),
        Operation::ClusterAdd(c) => c.control_plane.iter().chain(&c.workers).chain(&c.etcd).chain(&c.also).collect(),
        _ => Vec::new(),
    }
}

/// Keeps both with the environment; the secrets only where there is a vault.
pub(crate) fn keep(
    store: &Store,
    vault: Option<&Vault>,
    environment: &str,
    login: &Login,
    secrets: &Secrets,
) -> Result<(), StoreError> {
    let sealed = vault.map(|vault| vault.seal(environment, &secrets.to_text(login))).transpose()?;
    let Login { user, key, hosts } = login.clone();
    store.keep_logins(environment, &KeptLogins { user, key, hosts, sealed })
}

/// The sealed logins of an environment, for a run that names its key file; none when the file is not there yet.
pub(crate) fn sealed(state: &Utf8Path, key_file: &Utf8Path, environment: &str) -> Result<Vec<Target>, StoreError> {
    // Opening makes what is missing, and a dry run must not.
    let Some(store) = Store::look(state)?.filter(|_| key_file.exists()) else { return Ok(Vec::new()) };
    let vault = Vault::open(key_file)?;
    let (login, secrets) = kept(&store, Some(&vault), environment)?;
    Ok(targets(&login, &secrets, &Auth::default()))
}

/// The hosts for which a password is kept, their own or sudo's, with what else `auth` gives for all of them.
pub(crate) fn targets(login: &Login, secrets: &Secrets, auth: &Auth) -> Vec<Target> {
    let target = |(host, own): (&HostId, &HostLogin)| {
        let password = secrets.passwords.get(host).cloned();
        let sudo_password = auth.sudo_password.clone().or_else(|| secrets.sudo.clone());
        if password.is_none() && (sudo_password.is_none() || own.user == "root") {
            return None;
        }
        let address = host.address().parse().ok()?;
        let auth = Auth { password, sudo_password, kept: true, ..auth.clone() };
        Some(Target { user: own.user.clone(), address, port: own.port, auth, node_address: None })
    };
    login.hosts.iter().filter_map(target).collect()
}

/// What was kept; the secrets only where there is a vault.
pub(crate) fn kept(store: &Store, vault: Option<&Vault>, environment: &str) -> Result<(Login, Secrets), StoreError> {
    let KeptLogins { user, key, hosts, sealed } = store.logins(environment)?;
    let login = Login { user, key, hosts };
    let secrets = match (vault, sealed) {
        (Some(vault), Some(sealed)) => Secrets::from_text(&vault.open_sealed(environment, &sealed)?, &login),
        _ => None,
    };
    Ok((login, secrets.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use camino::Utf8Path;

    use super::*;
    use crate::flow::request::{EtcdCreate, RunOptions};
    use crate::host::TargetDefaults;

    fn target(text: &str) -> Target {
        Target::parse(text, &TargetDefaults::default()).unwrap()
    }

    #[test]
    fn a_sealed_password_is_used_for_its_own_user_address_and_port_only() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap();
        let key = root.join("key");
        let store = Store::open(root).unwrap();
        let (mut login, mut secrets) = (Login::default(), Secrets::default());
        learn(&mut login, &mut secrets, &[target("m:geheim@10.8.14.200:2222")]);
        keep(&store, Some(&Vault::open(&key).unwrap()), "e", &login, &secrets).unwrap();
        let kept = sealed(root, &key, "e").unwrap();
        let password = |text: &str| {
            let mut target = target(text);
            target.complete(&kept);
            target.auth.password.map(|p| p.expose().to_owned())
        };
        assert_eq!(password("m@10.8.14.200:2222").as_deref(), Some("geheim"));
        assert_eq!(password("m:own@10.8.14.200:2222").as_deref(), Some("own"));
        for other in ["root@10.8.14.200:2222", "m@10.8.14.200", "m@10.8.14.201:2222"] {
            assert_eq!(password(other), None, "{other}");
        }
        assert!(sealed(root, &key, "another").unwrap().is_empty());
        assert!(sealed(root, &root.join("no-key"), "e").unwrap().is_empty() && !root.join("no-key").exists());
        drop(Vault::open(&root.join("wrong")).unwrap());
        assert!(sealed(root, &root.join("wrong"), "e").is_err());
    }

    /// What 0.1.0 sealed: no users, and hosts by their bare address.
    #[test]
    fn what_an_earlier_version_sealed_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap();
        let key = root.join("key");
        let text = Secret::new(r#"{"sudo":"s","passwords":{"10.8.14.200":"geheim","10.8.14.201":"other"}}"#);
        let sealed = Vault::open(&key).unwrap().seal("prod", &text).unwrap();
        let login = r#"{"user":null,"key":null,"hosts":{"10.8.14.200":{"user":"m","port":2222}}}"#;
        let db = rusqlite::Connection::open(root.join("environments.db")).unwrap();
        db.execute_batch(include_str!("../../tests/data/state-0.1.0/environments.sql")).unwrap();
        db.execute("UPDATE environments SET login = ?1, sealed = ?2", rusqlite::params![login, sealed]).unwrap();
        drop(db);
        for _ in 0..2 {
            let kept = super::sealed(root, &key, "prod").unwrap();
            assert_eq!(kept.len(), 1, "{kept:?}");
            assert_eq!(kept[0].to_string(), "m@10.8.14.200:2222");
            assert_eq!(kept[0].auth.password, Some(Secret::new("geheim")));
            assert_eq!(kept[0].auth.sudo_password, Some(Secret::new("s")));
            // Looked at before, and imported.
            drop(Store::open(root).unwrap());
        }
    }

    #[test]
    fn a_password_is_not_used_for_a_user_that_was_kept_without_the_key() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap();
        let (store, vault) = (Store::open(root).unwrap(), Vault::open(&root.join("key")).unwrap());
        for (host, vault) in [("m:geheim@10.8.14.200", Some(&vault)), ("root:other@10.8.14.200", None)] {
            let (mut login, mut secrets) = (Login::default(), Secrets::default());
            learn(&mut login, &mut secrets, &[target(host)]);
            keep(&store, vault, "e", &login, &secrets).unwrap();
        }
        let (login, secrets) = kept(&store, Some(&vault), "e").unwrap();
        assert_eq!(login.hosts["10.8.14.200"].user, "root");
        assert_eq!(secrets, Secrets::default());
    }

    #[test]
    fn another_user_does_not_inherit_the_password() {
        let (mut login, mut secrets) = (Login::default(), Secrets::default());
        learn(&mut login, &mut secrets, &[target("m:geheim@10.8.14.200")]);
        learn(&mut login, &mut secrets, &[target("m@10.8.14.200")]);
        assert!(secrets.passwords.contains_key("10.8.14.200"));
        learn(&mut login, &mut secrets, &[target("root@10.8.14.200")]);
        assert!(secrets.passwords.is_empty());
    }

    #[test]
    fn passwords_are_kept_only_with_a_vault() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap();
        let store = Store::open(root).unwrap();
        let vault = Vault::open(&root.join("key")).unwrap();
        let member = Target::parse("m:geheim@10.8.14.200:2222", &TargetDefaults::default()).unwrap();
        let create = EtcdCreate { members: vec![member], rpms: vec![], tls: true, wipe_data: vec![] };
        let job = Job { operations: vec![Operation::EtcdCreate(create)], options: RunOptions::default() };
        let (mut login, mut secrets) = (Login::default(), Secrets::default());
        learn_job(&mut login, &mut secrets, &job);

        keep(&store, None, "e", &login, &secrets).unwrap();
        assert_eq!(kept(&store, Some(&vault), "e").unwrap(), (login.clone(), Secrets::default()));
        keep(&store, Some(&vault), "e", &login, &secrets).unwrap();
        assert_eq!(kept(&store, Some(&vault), "e").unwrap(), (login.clone(), secrets));
        assert_eq!(kept(&store, None, "e").unwrap(), (login, Secrets::default()));
    }
}
