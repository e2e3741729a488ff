//! How an environment's hosts are logged in to, kept with the environment for its later tasks: users, ports and key files in
//! the clear; passwords not at all, or sealed with `--keep-credentials`.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::flow::request::{Job, Operation};
use crate::host::{Auth, HostId, Secret, Target};
use crate::store::vault::Vault;
use crate::store::{Store, StoreError};

/// What is kept in the clear.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Login {
    pub(crate) user: Option<String>,
    pub(crate) key: Option<Utf8PathBuf>,
    /// By host.
    #[serde(default)]
    pub(crate) hosts: BTreeMap<HostId, HostLogin>,
}

/// One host's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HostLogin {
    pub(crate) user: String,
    pub(crate) port: u16,
}

/// The secrets beside a [`Login`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Secrets {
    pub(crate) sudo: Option<Secret>,
    pub(crate) passwords: BTreeMap<HostId, Secret>,
}

#[derive(Serialize, Deserialize)]
struct Plain {
    sudo: Option<String>,
    passwords: BTreeMap<HostId, String>,
}

impl Secrets {
    /// As a text to seal.
    fn to_text(&self) -> Secret {
        let plain = Plain {
            sudo: self.sudo.as_ref().map(|s| s.expose().to_owned()),
            passwords: self.passwords.iter().map(|(host, s)| (host.clone(), s.expose().to_owned())).collect(),
        };
        Secret::new(serde_json::to_string(&plain).unwrap_or_default())
    }

    /// Back from [`Secrets::to_text`].
    fn from_text(text: &Secret) -> Option<Self> {
        let plain: Plain = serde_json::from_str(text.expose()).ok()?;
        Some(Self {
            sudo: plain.sudo.map(Secret::new),
            passwords: plain.passwords.into_iter().map(|(host, p)| (host, Secret::new(p))).collect(),
        })
    }
}

/// Adds how these hosts are logged in to.
pub(crate) fn learn<'a>(login: &mut Login, secrets: &mut Secrets, targets: impl IntoIterator<Item = &'a Target>) {
    for target in targets {
        let host = target.id();
        let own = HostLogin { user: target.user.clone(), port: target.port };
        // A password belongs to its user.
        if login.hosts.get(&host).is_some_and(|before| *before != own) {
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

/// Hosts that are, or become, the environment's.
fn hosts(operation: &Operation) -> Vec<&Target> {
    match operation {
        Operation::EtcdCreate(etcd) => etcd.members.iter().collect(),
        Operation::EtcdAdd(etcd) => etcd.members.iter().collect(),
        Operation::ClusterCreate(c) => c.masters.iter().chain(&c.nodes).chain(&c.etcd).collect(),
        Operation::ClusterAdd(c) => c.masters.iter().chain(&c.nodes).chain(&c.etcd).chain(&c.also).collect(),
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
    let sealed = vault.map(|vault| vault.seal(environment, &secrets.to_text())).transpose()?;
    store.keep_login(environment, &serde_json::to_string(login).unwrap_or_default(), sealed.as_deref())
}

/// The sealed logins of an environment, for a run that names its key file; none when the file is not there yet.
pub(crate) fn sealed(state: &Utf8Path, key_file: &Utf8Path, environment: &str) -> Result<Vec<Target>, StoreError> {
    // Opening makes what is missing, and a dry run must not.
    if !key_file.exists() || !Store::is_there(state) {
        return Ok(Vec::new());
    }
    let vault = Vault::open(key_file)?;
    let (login, secrets) = kept(&Store::open(state)?, Some(&vault), environment)?;
    let target = |(host, own): (HostId, HostLogin)| {
        let password = secrets.passwords.get(&host)?.clone();
        let auth = Auth { password: Some(password), sudo_password: secrets.sudo.clone(), ..Auth::default() };
        Some(Target { user: own.user, address: host.address().parse().ok()?, port: own.port, auth })
    };
    Ok(login.hosts.into_iter().filter_map(target).collect())
}

/// What was kept; the secrets only where there is a vault.
pub(crate) fn kept(store: &Store, vault: Option<&Vault>, environment: &str) -> Result<(Login, Secrets), StoreError> {
    let Some(kept) = store.login(environment)? else { return Ok((Login::default(), Secrets::default())) };
    let login: Login = serde_json::from_str(&kept.login).unwrap_or_default();
    let secrets = match (vault, kept.sealed) {
        (Some(vault), Some(sealed)) => Secrets::from_text(&vault.open_sealed(environment, &sealed)?),
        _ => None,
    };
    Ok(identified(login, secrets.unwrap_or_default()))
}

/// Reads states made before identities had ports: the entry of an address may be of another port than 22.
fn identified(mut login: Login, mut secrets: Secrets) -> (Login, Secrets) {
    for (host, own) in std::mem::take(&mut login.hosts) {
        let address = host.address().parse().ok();
        let identity = address.map_or_else(|| host.clone(), |address| HostId::new(&address, own.port));
        if let Some(password) = secrets.passwords.remove(&host) {
            secrets.passwords.insert(identity.clone(), password);
        }
        login.hosts.insert(identity, own);
    }
    (login, secrets)
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

    #[test]
    fn logins_kept_by_address_are_read_as_those_of_their_port() {
        let own = HostLogin { user: "m".to_owned(), port: 2222 };
        let login = Login { hosts: [("10.0.0.1".into(), own)].into(), ..Login::default() };
        let secrets = Secrets { passwords: [("10.0.0.1".into(), Secret::new("geheim"))].into(), ..Secrets::default() };
        let (login, secrets) = identified(login, secrets);
        assert!(login.hosts.contains_key("10.0.0.1:2222") && login.hosts.len() == 1, "{login:?}");
        assert_eq!(secrets.passwords["10.0.0.1:2222"].expose(), "geheim");
        assert_eq!(identified(login.clone(), secrets.clone()), (login, secrets));
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
