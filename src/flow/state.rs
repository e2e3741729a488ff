//! What the control host keeps of an environment: documents of JSON in the store, and a folder of mode 0700 with the lock
//! and the certificates. No password is ever in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::FlowError;
use super::files::{make_private_dir, sync_dir, write_private_here};
use super::pki::Pki;
use crate::plan::RunLock;
use crate::store::{LastRun, Store, StoreError};

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

/// One environment: its folder, and its part of the store.
#[derive(Debug, Clone)]
pub struct Environment {
    pub name: String,
    pub dir: Utf8PathBuf,
    /// `None` when nothing is kept and nothing is to be made.
    store: Option<Arc<Store>>,
    /// For a dry run: nothing is written.
    look_only: bool,
    /// Its clusters are lost, and the run plans new ones: from here on those that are kept are not read.
    anew: Arc<AtomicBool>,
}

/// The documents of an environment's clusters, which are gone when they are.
const OF_CLUSTERS: [&str; 4] = ["etcd", "kubernetes", "registry", "site-registry"];

/// Of them those that are lost with the data of the environment's etcd, and the folders of their authorities and keys.
const LOST: [&str; 2] = ["etcd", "kubernetes"];
const LOST_KEYS: [&str; 4] = ["etcd", "kubernetes", "front-proxy", "secrets"];

impl Environment {
    /// Opens the environment `name` under `root`, and makes its folder and the store when they are not there.
    ///
    /// # Errors
    /// When they cannot be made or read.
    pub fn open(root: &Utf8Path, name: &str) -> Result<Self, FlowError> {
        // First the store: an environment's folder may hold files of an earlier version, which it imports.
        let store = Store::open(root)?;
        let dir = root.join("environments").join(name);
        make_private_dir(&dir).map_err(|source| FlowError::State { path: dir.clone(), source })?;
        Ok(Self { name: name.to_owned(), dir, store: Some(Arc::new(store)), look_only: false, anew: Arc::default() })
    }

    /// The environment `name` under `root` as a dry run uses it: nothing is made or written, not even what is missing. An
    /// environment that is not there is empty.
    ///
    /// # Errors
    /// When what is there cannot be read.
    pub fn look(root: &Utf8Path, name: &str) -> Result<Self, FlowError> {
        let dir = root.join("environments").join(name);
        let store = Store::look(root)?.map(Arc::new);
        Ok(Self { name: name.to_owned(), dir, store, look_only: true, anew: Arc::default() })
    }

    /// The environment `name` under `root`, for questions: it is not made.
    ///
    /// # Errors
    /// When there is no such environment.
    pub fn find(root: &Utf8Path, name: &str) -> Result<Self, FlowError> {
        let dir = root.join("environments").join(name);
        if dir.is_dir() {
            let store = Some(Arc::new(Store::open(root)?));
            return Ok(Self { name: name.to_owned(), dir, store, look_only: false, anew: Arc::default() });
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
    /// When the store cannot be read or written.
    pub fn id(&self) -> Result<String, FlowError> {
        let store = self.store()?;
        if let Some(id) = store.record_id(&self.name)? {
            return Ok(id);
        }
        let id = format!("{}-{}", self.name, hex::encode(rand::random::<[u8; 8]>()));
        Ok(store.keep_record_id(&self.name, &id)?)
    }

    /// The same where it was chosen already; none is made.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn known_id(&self) -> Result<Option<String>, FlowError> {
        Ok(match &self.store {
            Some(store) => store.record_id(&self.name)?,
            None => None,
        })
    }

    /// Its keys and certificates.
    pub fn pki(&self) -> Pki {
        Pki::new(self.dir.join("pki"), self.look_only)
    }

    /// Forgets the clusters, their hosts and certificates. The authorities, without which nobody can change what may still stand, are
    /// set aside: answers with their folder.
    ///
    /// # Errors
    /// When the store or the folder cannot be changed.
    pub fn empty(&self) -> Result<Option<Utf8PathBuf>, FlowError> {
        for document in OF_CLUSTERS {
            self.forget(document)?;
        }
        self.store()?.forget_logins(&self.name)?;
        set_authorities_aside(&self.dir, &self.name)
    }

    /// From here on the clusters are taken for lost, so that new ones are planned; nothing is written.
    pub(super) fn begin_anew(&self) {
        self.anew.store(true, Ordering::Relaxed);
    }

    /// Sets what is kept of the lost clusters aside, after [`Environment::begin_anew`]: their authorities, keys and documents.
    /// Answers with the folder; nothing where no clusters are taken for lost, or nothing is to be written.
    ///
    /// # Errors
    /// When the store or a folder cannot be changed. A part that was set aside stays so, and the next run sets the rest aside.
    pub(super) fn set_lost_aside(&self) -> Result<Option<Utf8PathBuf>, FlowError> {
        if self.look_only || !self.anew.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let Some(aside) = free_place_aside(&self.dir, &self.name)? else { return Ok(None) };
        let failed = |source| FlowError::State { path: aside.clone(), source };
        make_private_dir(&aside).map_err(failed)?;
        // The documents are forgotten last: until then the clusters are known to be lost.
        for document in LOST {
            if let Some(json) = self.store()?.document(&self.name, document)? {
                write_private_here(&aside.join(format!("{document}.json")), json.as_bytes()).map_err(failed)?;
            }
        }
        let pki = self.dir.join("pki");
        for folder in LOST_KEYS.iter().filter(|folder| pki.join(folder).is_dir()) {
            std::fs::rename(pki.join(folder), aside.join(folder)).map_err(failed)?;
            sync_dir(&pki).map_err(failed)?;
        }
        let kept = aside.parent().unwrap_or(&aside);
        sync_dir(&aside).and_then(|()| sync_dir(kept)).map_err(failed)?;
        for document in LOST {
            self.forget(document)?;
        }
        self.anew.store(false, Ordering::Relaxed);
        Ok(Some(aside))
    }

    /// Reads a document; `None` when this flow never ran in this environment.
    ///
    /// # Errors
    /// When it cannot be read, or is not what this version writes: it is named and never replaced.
    pub fn load<T: DeserializeOwned>(&self, document: &str) -> Result<Option<T>, FlowError> {
        if LOST.contains(&document) && self.anew.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let Some(store) = &self.store else { return Ok(None) };
        let Some(json) = store.document(&self.name, document)? else { return Ok(None) };
        serde_json::from_str(&json).map(Some).map_err(|e| self.wrong(document, &e))
    }

    /// Keeps a document; it is on disk when this returns. A dry run's checks may have learnt something, and keep nothing.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn save<T: Serialize>(&self, document: &str, value: &T) -> Result<(), FlowError> {
        if self.look_only {
            return Ok(());
        }
        let json = serde_json::to_string(value).map_err(|e| self.wrong(document, &e))?;
        Ok(self.store()?.save_document(&self.name, document, &json)?)
    }

    /// Removes a document, when it is there.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn forget(&self, document: &str) -> Result<(), FlowError> {
        Ok(self.store()?.forget_document(&self.name, document)?)
    }

    /// How the last run ended; `None` when there was none.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn last_run(&self) -> Result<Option<LastRun>, FlowError> {
        Ok(match &self.store {
            Some(store) => store.last_run(&self.name)?,
            None => None,
        })
    }

    /// The store, for what is kept of this environment beside documents.
    ///
    /// # Errors
    /// When there is none, in an environment that is only looked at.
    pub(super) fn store(&self) -> Result<&Store, FlowError> {
        self.store.as_deref().ok_or_else(|| FlowError::State {
            path: self.dir.clone(),
            source: std::io::Error::other("nothing is kept of this environment, and it is only read"),
        })
    }

    /// Whether something is kept to be read.
    pub(super) fn is_kept(&self) -> bool {
        self.store.is_some()
    }

    fn wrong(&self, document: &str, error: &serde_json::Error) -> FlowError {
        let path = self.store.as_ref().map_or(&*self.dir, |store| store.path()).to_owned();
        let words = format!("environment {}, document {document}: {error}", self.name);
        FlowError::State { path, source: std::io::Error::other(words) }
    }
}

impl From<StoreError> for FlowError {
    fn from(error: StoreError) -> Self {
        let help = error.help();
        match error {
            StoreError::Io { path, source } => Self::State { path, source },
            StoreError::Newer { .. } | StoreError::InUse { .. } | StoreError::Vault { .. } => {
                Self::Request { error: error.to_string(), help }
            }
            StoreError::Sql { .. } | StoreError::Damaged { .. } => Self::Failed { error: error.to_string(), help },
        }
    }
}

/// Moves an environment's keys and certificates to `authorities/NAME-TIME` beside the environments, where nothing deletes them.
/// Answers with that folder; nothing where there are none.
fn set_authorities_aside(environment: &Utf8Path, name: &str) -> Result<Option<Utf8PathBuf>, FlowError> {
    let pki = environment.join("pki");
    let failed = |path: &Utf8Path| {
        let path = path.to_owned();
        move |source| FlowError::State { path, source }
    };
    if !pki.is_dir() {
        return Ok(None);
    }
    let Some(aside) = free_place_aside(environment, name)? else { return Ok(None) };
    let kept = aside.parent().unwrap_or(environment);
    std::fs::rename(&pki, &aside).map_err(failed(&pki))?;
    sync_dir(kept).and_then(|()| sync_dir(environment)).map_err(failed(kept))?;
    Ok(Some(aside))
}

/// `authorities/NAME-TIME` beside the environments, which is not there yet; the folder above it is.
fn free_place_aside(environment: &Utf8Path, name: &str) -> Result<Option<Utf8PathBuf>, FlowError> {
    let kept = environment.ancestors().nth(2).unwrap_or(environment).join("authorities");
    make_private_dir(&kept).map_err(|source| FlowError::State { path: kept.clone(), source })?;
    let time = jiff::Zoned::now().strftime("%Y%m%d-%H%M%S");
    let names = std::iter::once(String::new()).chain((2..).map(|n| format!("-{n}")));
    let mut free = names.map(|n| kept.join(format!("{name}-{time}{n}"))).filter(|path| !path.exists());
    Ok(free.next())
}

/// What came of [`forget_environment`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forgotten {
    /// With the folder that its authorities were set aside in.
    Gone(Option<Utf8PathBuf>),
    Unknown,
    /// A cluster stands, or EC2 instances do, so it was not forgotten.
    Stands,
}

/// Whether a cluster or EC2 instances are kept.
fn stands(environment: &Environment) -> Result<bool, FlowError> {
    let store = environment.store()?;
    for document in OF_CLUSTERS {
        if store.document(&environment.name, document)?.is_some() {
            return Ok(true);
        }
    }
    Ok(!super::ec2::made(environment)?.is_empty())
}

/// Removes what is kept of an environment; hosts are not touched, and its certificates are set aside. Where a cluster stands, only
/// by force: without its certificates nobody can change it any more.
///
/// # Errors
/// When a run is working on it, or the folder cannot be removed.
pub fn forget_environment(root: &Utf8Path, name: &str, force: bool) -> Result<Forgotten, FlowError> {
    let dir = root.join("environments").join(name);
    if !dir.is_dir() {
        return Ok(Forgotten::Unknown);
    }
    let environment = Environment::find(root, name)?;
    let _lock = RunLock::take(&dir, name)?;
    if !force && stands(&environment)? {
        return Ok(Forgotten::Stands);
    }
    // In this order: certificates without a cluster are of no consequence, a cluster without them could not be changed.
    environment.store()?.forget(name)?;
    let aside = set_authorities_aside(&dir, name)?;
    std::fs::remove_dir_all(&dir).map_err(|source| FlowError::State { path: dir, source })?;
    Ok(Forgotten::Gone(aside))
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
