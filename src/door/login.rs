//! How an environment's hosts are logged in to, kept with the environment for its later tasks: users, ports and key files in
//! the clear; passwords not at all, or sealed with `--keep-credentials`.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use crate::flow::request::{Job, Operation};
use crate::host::{Secret, Target};
use crate::store::vault::Vault;
use crate::store::{Store, StoreError};

/// What is kept in the clear.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Login {
    pub(crate) user: Option<String>,
    pub(crate) key: Option<Utf8PathBuf>,
    /// By address.
    #[serde(default)]
    pub(crate) hosts: BTreeMap<String, HostLogin>,
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
    pub(crate) passwords: BTreeMap<String, Secret>,
}

#[derive(Serialize, Deserialize)]
struct Plain {
    sudo: Option<String>,
    passwords: BTreeMap<String, String>,
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
        let address = target.address.to_string();
        if let Some(password) = &target.auth.password {
            secrets.passwords.insert(address.clone(), password.clone());
        }
        login.hosts.insert(address, HostLogin { user: target.user.clone(), port: target.port });
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

/// What was kept; the secrets only where there is a vault.
pub(crate) fn kept(store: &Store, vault: Option<&Vault>, environment: &str) -> Result<(Login, Secrets), StoreError> {
    let Some(kept) = store.login(environment)? else { return Ok((Login::default(), Secrets::default())) };
    let login = serde_json::from_str(&kept.login).unwrap_or_default();
    let secrets = match (vault, kept.sealed) {
        (Some(vault), Some(sealed)) => Secrets::from_text(&vault.open_sealed(environment, &sealed)?),
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
