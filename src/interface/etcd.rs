//! `etcd create|add|remove`.

use clap::{Args, Subcommand, ValueEnum};

use crate::flow::FlowError;
use crate::host::TargetDefaults;
use crate::spec::{ClusterSpec, EtcdSpec, Intent, Request, Role};

use super::cli::Source;
use super::credentials::targets;

/// What to do with an etcd cluster.
#[derive(Debug, Subcommand)]
pub(crate) enum EtcdCommand {
    /// Create an etcd cluster of these hosts, or add those that are new to the existing one
    Create(CreateArgs),
    /// Add members to the environment's cluster, one after the other
    Add(AddArgs),
    /// Remove members from the environment's cluster; their data is set aside on their hosts
    Remove(RemoveArgs),
    /// How each member is, asked from the live cluster; exit code 1 when one is not well
    Status,
}

#[derive(Debug, Args)]
pub(crate) struct Members {
    /// Members: user:password@address[:port], or [user@]address[:port] with --ssh-key
    #[arg(long = "host", alias = "hosts", value_name = "HOST", num_args = 1.., required = true)]
    hosts: Vec<String>,
    #[command(flatten)]
    source: Source,
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    members: Members,
    /// Install from these files, of the control host or by name of the bundle
    #[arg(long = "rpm", value_name = "RPM", num_args = 1..)]
    rpms: Vec<String>,
    /// TLS for peers and clients
    #[arg(long, value_enum, default_value = "on")]
    etcd_tls: Switch,
    /// Delete etcd data on this host that is not this cluster's
    #[arg(long, value_name = "HOST", num_args = 1..)]
    wipe_data: Vec<String>,
    /// Do not ask before data is deleted
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    #[command(flatten)]
    members: Members,
    /// Install from these files, of the control host or by name of the bundle
    #[arg(long = "rpm", value_name = "RPM", num_args = 1..)]
    rpms: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    #[command(flatten)]
    members: Members,
    /// Remove a member also when its host does not answer; nothing is undone on it then
    #[arg(long)]
    force: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

impl EtcdCommand {
    /// Where packages come from, for what installs any.
    pub(crate) fn source(&self) -> Option<&Source> {
        Some(match self {
            Self::Create(args) => &args.members.source,
            Self::Add(args) => &args.members.source,
            Self::Remove(args) => &args.members.source,
            Self::Status => return None,
        })
    }

    /// Whether the question before something is lost is answered.
    pub(crate) fn yes(&self) -> bool {
        match self {
            Self::Create(args) => args.yes,
            Self::Remove(args) => args.yes,
            Self::Add(_) | Self::Status => false,
        }
    }

    /// What the words ask for; `None` for a question.
    pub(crate) fn request(&self, defaults: &TargetDefaults) -> Result<Option<Request>, FlowError> {
        let request = |members: &Members, etcd: EtcdSpec, intent: Intent| {
            let mut spec = ClusterSpec::of_etcd(etcd);
            spec.add(Role::Etcd, targets(&members.hosts, defaults)?)?;
            Ok(Some(Request { spec, intent }))
        };
        match self {
            Self::Create(args) => {
                let etcd = EtcdSpec { tls: args.etcd_tls == Switch::On, rpms: args.rpms.clone() };
                request(&args.members, etcd, Intent::Converge { wipe_data: args.wipe_data.clone() })
            }
            Self::Add(args) => {
                let etcd = EtcdSpec { rpms: args.rpms.clone(), ..EtcdSpec::default() };
                request(&args.members, etcd, Intent::Add)
            }
            Self::Remove(args) => {
                let intent = Intent::Remove { force: args.force, drain_timeout: None };
                request(&args.members, EtcdSpec::default(), intent)
            }
            Self::Status => Ok(None),
        }
    }
}
