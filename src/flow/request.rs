//! What the user wants, as one typed value, whichever interface it came through.
//!
//! Interfaces (command line, the `-K` form, the ini files, REST) read words and give a [`Job`]; flows take a `Job` and never
//! learn which one it was. Everything that can be checked without a host is checked before a `Job` exists, except what
//! needs the bundle (is that rpm there?), which [`super::rpms`] checks first thing.

use std::time::Duration;

use camino::Utf8PathBuf;

use crate::deliver::RouteChoice;
use crate::host::{HostId, HostKeyPolicy, Secret, Target, TargetDefaults};

use super::ec2::{Ec2Create, Ec2Terminate};

mod components;
mod registry;
mod settings;

pub use components::{ComponentSettings, SiteFile};
pub use registry::{
    CertificateFiles, RegistryCollect, RegistryCreate, RegistryRemove, RegistrySettings, RegistryUser,
    SiteRegistrySettings,
};
pub use settings::{ClusterSettings, FlannelImages, Network, Runtime};

/// One invocation: operations in the order they are to run, and how to run them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    pub operations: Vec<Operation>,
    pub options: RunOptions,
}

/// How a job is run, the same for every operation in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunOptions {
    /// The environment's name: 1 to 64 of `A-Z a-z 0-9 . _ -`.
    pub environment: String,
    /// Print what would change, change nothing.
    pub dry_run: bool,
    /// How many hosts are worked on at once.
    pub forks: usize,
    pub repo_route: RouteChoice,
    pub host_key: HostKeyPolicy,
    /// Longest wait for a host to answer the first connection.
    pub connect_timeout: Duration,
    pub allow_downgrade: bool,
    /// Install packages given as files again where they are in that version already.
    pub reinstall: bool,
    /// Create new clusters in place of the environment's where those are lost: no host holds anything of them, and none
    /// answers.
    pub recreate: bool,
    /// Keep credentials for later operations on the environment, sealed with this key file (mode 0600).
    pub keep_credentials: Option<Utf8PathBuf>,
    /// Logins that were kept sealed with the environment: for the same user, address and port only, where the request gives
    /// no password.
    pub sealed: Vec<Target>,
    /// Credentials given once for all hosts, for those of the environment that the request does not name.
    pub login: TargetDefaults,
    /// What to do about hosts whose credentials are not at hand, in the terms of the interface that the request came by.
    pub login_help: &'static str,
    /// Whether whoever asks has shown who it is. For others nothing that lies on the control host is used: no login of
    /// earlier runs, no package but the bundle's.
    pub known_caller: bool,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            environment: DEFAULT_ENVIRONMENT.to_owned(),
            dry_run: false,
            forks: 64,
            repo_route: RouteChoice::Auto,
            host_key: HostKeyPolicy::AcceptNew,
            connect_timeout: Duration::from_secs(10),
            allow_downgrade: false,
            reinstall: false,
            recreate: false,
            keep_credentials: None,
            sealed: Vec::new(),
            login: TargetDefaults::default(),
            login_help: LOGIN_HELP,
            known_caller: true,
        }
    }
}

/// [`RunOptions::login_help`] of the command line.
const LOGIN_HELP: &str = "name those hosts too, with their passwords (`--help` says where), or give --ssh-key, or \
                          --keep-credentials with the key file of an earlier run";

/// The environment that is meant when none is named.
pub const DEFAULT_ENVIRONMENT: &str = "default";

/// Checks an environment's name against the contract: 1 to 64 of `A-Z a-z 0-9 . _ -`.
///
/// `.` and `..` fit the letters but not a folder of that name, so they are refused too.
///
/// # Errors
/// A sentence that says what a name may hold.
pub fn check_environment(name: &str) -> Result<(), String> {
    let letters = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if (1..=64).contains(&name.len()) && letters && name != "." && name != ".." {
        Ok(())
    } else {
        Err("an environment's name is 1 to 64 of the characters A-Z a-z 0-9 . _ -".to_owned())
    }
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    EtcdCreate(EtcdCreate),
    EtcdAdd(EtcdChange),
    EtcdRemove(EtcdChange),
    ClusterCreate(Box<ClusterCreate>),
    ClusterAdd(ClusterChange),
    ClusterRemove(ClusterRemove),
    ClusterReset(ClusterReset),
    /// New certificates for the environment's clusters; hosts named for their credentials.
    CertsRenew(Vec<Target>),
    /// The bundle's images, on these hosts of the environment's cluster, or on all that run pods.
    ImagesSync(Vec<Target>),
    RegistryCreate(RegistryCreate),
    RegistryRemove(RegistryRemove),
    RegistryCollect(RegistryCollect),
    /// Which registry of the site the nodes pull from, if any.
    RegistryUse(Option<SiteRegistrySettings>),
    Ec2Create(Box<Ec2Create>),
    Ec2Terminate(Ec2Terminate),
}

impl Operation {
    /// Every host that the request names.
    pub fn targets_mut(&mut self) -> Vec<&mut Target> {
        match self {
            Self::EtcdCreate(request) => request.members.iter_mut().collect(),
            Self::EtcdAdd(change) | Self::EtcdRemove(change) => change.members.iter_mut().collect(),
            Self::ClusterCreate(r) => r.control_plane.iter_mut().chain(&mut r.workers).chain(&mut r.etcd).collect(),
            Self::ClusterAdd(c) => {
                c.control_plane.iter_mut().chain(&mut c.workers).chain(&mut c.etcd).chain(&mut c.also).collect()
            }
            Self::ClusterRemove(c) => {
                c.control_plane.iter_mut().chain(&mut c.workers).chain(&mut c.etcd).chain(&mut c.also).collect()
            }
            Self::ClusterReset(request) => request.hosts.iter_mut().collect(),
            Self::CertsRenew(hosts) | Self::ImagesSync(hosts) => hosts.iter_mut().collect(),
            Self::RegistryCreate(request) => request.hosts.iter_mut().collect(),
            Self::RegistryRemove(request) => request.hosts.iter_mut().chain(&mut request.also).collect(),
            Self::RegistryCollect(request) => request.hosts.iter_mut().collect(),
            Self::RegistryUse(_) | Self::Ec2Create(_) | Self::Ec2Terminate(_) => Vec::new(),
        }
    }
}

/// An etcd cluster of these members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdCreate {
    pub members: Vec<Target>,
    /// `-f`: install from these files (a path on the control host, else a file name of the bundle) instead of by name.
    pub rpms: Vec<String>,
    pub tls: bool,
    /// Members, as the user names them, whose foreign or old data may be deleted.
    pub wipe_data: Vec<String>,
}

impl EtcdCreate {
    /// Whether `--wipe-data` names this member.
    pub(super) fn wipes(&self, host: &HostId) -> bool {
        names(&self.wipe_data, &self.members, host)
    }
}

/// Whether one of the texts means this host, which is one of `all`.
fn names(texts: &[String], all: &[Target], host: &HostId) -> bool {
    let among_all = |text: &str| HostId::named(text, &all.iter().map(Target::id).collect::<Vec<_>>()) == Some(host);
    texts.iter().any(|text| *host == **text || among_all(text))
}

/// Members to add to, or to take out of, the environment's etcd cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdChange {
    pub members: Vec<Target>,
    pub rpms: Vec<String>,
    /// Remove members whose hosts do not answer too.
    pub force: bool,
}

/// A Kubernetes cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterCreate {
    pub control_plane: Vec<Target>,
    pub workers: Vec<Target>,
    /// Members of an etcd cluster that stands (`-enl`); empty: the one created on the same line, else the environment's.
    pub etcd: Vec<Target>,
    pub control_plane_rpms: Vec<String>,
    pub worker_rpms: Vec<String>,
    pub settings: ClusterSettings,
    /// From a file: what it does not set on components is not to be set.
    pub described: bool,
}

/// Hosts to add to a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterChange {
    pub control_plane: Vec<Target>,
    pub workers: Vec<Target>,
    pub etcd: Vec<Target>,
    pub control_plane_rpms: Vec<String>,
    pub worker_rpms: Vec<String>,
    pub etcd_rpms: Vec<String>,
    /// Hosts of the cluster that the line names for their credentials only.
    pub also: Vec<Target>,
    /// The request behind this one updates etcd's members in the API servers that stay.
    pub api_servers_later: bool,
}

/// Hosts to take out of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterRemove {
    pub control_plane: Vec<Target>,
    pub workers: Vec<Target>,
    pub etcd: Vec<Target>,
    /// Go on when a drain does not end in time.
    pub force: bool,
    pub drain_timeout: Option<Duration>,
    /// Hosts of the cluster that the line names for their credentials only.
    pub also: Vec<Target>,
    /// As in [`ClusterChange`].
    pub api_servers_later: bool,
}

/// Hosts to restore.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterReset {
    /// Empty: every host of the environment.
    pub hosts: Vec<Target>,
    /// Hosts, as the user names them, whose etcd data goes too.
    pub wipe_data: Vec<String>,
    /// All of them.
    pub wipe_all: bool,
    /// Environments, as hosts' change records call them, whose objects are this one's too; `-` for those that the record's first
    /// format names none for.
    pub recorded_by: Vec<String>,
}

impl ClusterReset {
    /// Whether this host, one of `targets`, loses its etcd data too.
    pub(super) fn wipes(&self, host: &HostId, targets: &[Target]) -> bool {
        self.wipe_all || names(&self.wipe_data, targets, host)
    }
}

/// Credentials given once for all hosts (`--ssh-user`, `--ssh-key`, `--ssh-sudo-pw`), also as REST gives them.
#[derive(Debug, Clone, Default)]
pub struct SharedCredentials {
    pub user: Option<String>,
    pub key: Option<Utf8PathBuf>,
    pub passphrase: Option<Secret>,
    pub sudo_password: Option<Secret>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_names_are_checked() {
        for good in ["default", "a", "A.b_c-9", &"x".repeat(64)] {
            assert!(check_environment(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a b", "ü", &"x".repeat(65), "a\n"] {
            assert!(check_environment(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn data_is_wiped_of_the_host_that_is_named_and_no_other() {
        let target = |text: &&str| Target::parse(text, &TargetDefaults::default()).unwrap();
        let wiped = |texts: &[&str], hosts: &[&str]| -> Vec<String> {
            let hosts: Vec<Target> = hosts.iter().map(target).collect();
            let wipe_data = texts.iter().map(|t| (*t).to_owned()).collect();
            let reset = ClusterReset { wipe_data, ..ClusterReset::default() };
            let wiped = hosts.iter().map(Target::id).filter(|id| reset.wipes(id, &hosts));
            wiped.map(String::from).collect()
        };
        assert_eq!(wiped(&["10.0.0.1"], &["10.0.0.1:2222", "10.0.0.2"]), ["10.0.0.1:2222"]);
        assert_eq!(wiped(&["10.0.0.1"], &["10.0.0.1:2222", "10.0.0.1"]), ["10.0.0.1"]);
        assert!(wiped(&["10.0.0.1"], &["10.0.0.1:2222", "10.0.0.1:2223"]).is_empty());
        assert!(wiped(&[], &["10.0.0.1"]).is_empty());
    }
}
