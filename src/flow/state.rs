//! What the control host keeps of an environment: a folder of mode 0700 with the journal, the lock, the certificates
//! and one JSON file a flow. No password is ever in it.

use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::FlowError;
use super::files::{make_private_dir, write_private};
use super::pki::Pki;
use crate::plan::RunLock;

/// The folder that holds all environments: `/var/lib/onekey_deploy` for root, else the user's state folder.
///
/// `SUNSHINE_STATE_DIR` names another one.
pub fn state_dir() -> Utf8PathBuf {
    if let Ok(dir) = std::env::var("SUNSHINE_STATE_DIR")
        && !dir.is_empty()
    {
        return dir.into();
    }
    if nix::unistd::geteuid().is_root() {
        return "/var/lib/onekey_deploy".into();
    }
    user_state_dir()
}

/// `$XDG_STATE_HOME/onekey_deploy`, as the XDG base directory specification has it.
pub fn user_state_dir() -> Utf8PathBuf {
    let home = || Utf8PathBuf::from(std::env::var("HOME").unwrap_or_else(|_| "/tmp".into())).join(".local/state");
    std::env::var("XDG_STATE_HOME").map_or_else(|_| home(), Utf8PathBuf::from).join("onekey_deploy")
}

/// One environment's folder.
#[derive(Debug, Clone)]
pub struct Environment {
    pub name: String,
    pub dir: Utf8PathBuf,
    /// For a dry run: nothing is written.
    look_only: bool,
}

/// What is kept of an environment's clusters and hosts, which is gone when they are.
const OF_CLUSTERS: [&str; 3] = ["etcd", "kubernetes", "hosts"];

impl Environment {
    /// Opens, or makes, the folder of `name` under `root`.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(root: &Utf8Path, name: &str) -> Result<Self, FlowError> {
        let dir = root.join("environments").join(name);
        make_private_dir(&dir).map_err(|source| FlowError::State { path: dir.clone(), source })?;
        Ok(Self { name: name.to_owned(), dir, look_only: false })
    }

    /// The folder of `name` under `root` as a dry run uses it: it need not be there, and nothing is ever written to it.
    pub fn look(root: &Utf8Path, name: &str) -> Self {
        Self { name: name.to_owned(), dir: root.join("environments").join(name), look_only: true }
    }

    /// The folder of `name` under `root`, for questions: nothing is made.
    ///
    /// # Errors
    /// When there is no such environment.
    pub fn find(root: &Utf8Path, name: &str) -> Result<Self, FlowError> {
        let dir = root.join("environments").join(name);
        if dir.is_dir() {
            return Ok(Self { name: name.to_owned(), dir, look_only: false });
        }
        Err(FlowError::request_with_help(
            format!("there is no environment {name} on the control host"),
            format!("environments are kept in {root}/environments; --environment names one"),
        ))
    }

    /// What hosts' change records call this environment: its name, and a part chosen at random once, since another control
    /// host may have an environment of the same name.
    ///
    /// # Errors
    /// When the folder cannot be read or written.
    pub fn id(&self) -> Result<String, FlowError> {
        let path = self.dir.join("id");
        let fail = |source| FlowError::State { path: path.clone(), source };
        match std::fs::read_to_string(&path) {
            Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(fail(e)),
            _ => {}
        }
        let id = format!("{}-{}", self.name, hex::encode(rand::random::<[u8; 8]>()));
        write_private(&path, id.as_bytes()).map_err(fail)?;
        Ok(id)
    }

    /// Its keys and certificates.
    pub fn pki(&self) -> Pki {
        Pki::new(self.dir.join("pki"), self.look_only)
    }

    /// Forgets the clusters, their hosts and certificates.
    ///
    /// # Errors
    /// When the folder cannot be changed.
    pub fn empty(&self) -> Result<(), FlowError> {
        for file in OF_CLUSTERS {
            self.forget(file)?;
        }
        let path = self.dir.join("pki");
        match std::fs::remove_dir_all(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(FlowError::State { path, source }),
            _ => Ok(()),
        }
    }

    /// Reads `FILE.json`; `None` when this flow never ran in this environment.
    ///
    /// # Errors
    /// When it cannot be read, or is not what this version writes: it is named and never replaced.
    pub fn load<T: DeserializeOwned>(&self, file: &str) -> Result<Option<T>, FlowError> {
        let path = self.dir.join(file).with_extension("json");
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|e| FlowError::State { path, source: std::io::Error::other(e) }),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(FlowError::State { path, source }),
        }
    }

    /// Writes `FILE.json` by rename; a dry run's checks may have learnt something, and keep nothing.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn save<T: Serialize>(&self, file: &str, value: &T) -> Result<(), FlowError> {
        if self.look_only {
            return Ok(());
        }
        let path = self.dir.join(file).with_extension("json");
        let fail = |source| FlowError::State { path: path.clone(), source };
        let bytes = serde_json::to_vec_pretty(value).map_err(|e| fail(e.into()))?;
        write_private(&path, &bytes).map_err(fail)
    }

    /// Removes `FILE.json`, when it is there.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn forget(&self, file: &str) -> Result<(), FlowError> {
        let path = self.dir.join(file).with_extension("json");
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(FlowError::State { path, source }),
            _ => Ok(()),
        }
    }
}

/// What came of [`forget_environment`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forgotten {
    Gone,
    Unknown,
    /// A cluster stands, or EC2 instances do, so it was not forgotten.
    Stands,
}

/// Removes what is kept of an environment, its certificates too; hosts are not touched. Where a cluster stands, only by
/// force: without its certificates nobody can change it any more.
///
/// # Errors
/// When a run is working on it, or the folder cannot be removed.
pub fn forget_environment(root: &Utf8Path, name: &str, force: bool) -> Result<Forgotten, FlowError> {
    let dir = root.join("environments").join(name);
    if !dir.is_dir() {
        return Ok(Forgotten::Unknown);
    }
    let _lock = RunLock::take(&dir, name)?;
    let environment = Environment { name: name.to_owned(), dir: dir.clone(), look_only: false };
    if !force
        && (["etcd.json", "kubernetes.json"].iter().any(|file| dir.join(file).exists())
            || !super::ec2::made(&environment)?.is_empty())
    {
        return Ok(Forgotten::Stands);
    }
    std::fs::remove_dir_all(&dir).map_err(|source| FlowError::State { path: dir, source })?;
    Ok(Forgotten::Gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dry_run_reads_what_is_kept_and_writes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap();
        let looking = Environment::look(root, "e");
        assert_eq!(looking.load::<String>("etcd").unwrap(), None);
        looking.save("etcd", &"new").unwrap();
        assert_eq!(std::fs::read_dir(root).unwrap().count(), 0);
        Environment::open(root, "e").unwrap().save("etcd", &"kept").unwrap();
        looking.save("etcd", &"new").unwrap();
        assert_eq!(looking.load::<String>("etcd").unwrap().as_deref(), Some("kept"));
    }
}
