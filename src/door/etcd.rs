//! `etcd create|add|remove`.

use clap::{Args, Subcommand, ValueEnum};

use crate::flow::FlowError;
use crate::flow::request::{EtcdChange, EtcdCreate, Operation};
use crate::host::TargetDefaults;

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

    /// The work that the words ask for; `None` for a question.
    pub(crate) fn operation(&self, defaults: &TargetDefaults) -> Result<Option<Operation>, FlowError> {
        Ok(Some(match self {
            Self::Create(args) => Operation::EtcdCreate(EtcdCreate {
                members: targets(&args.members.hosts, defaults)?,
                rpms: args.rpms.clone(),
                tls: args.etcd_tls == Switch::On,
                wipe_data: args.wipe_data.clone(),
            }),
            Self::Add(args) => Operation::EtcdAdd(EtcdChange {
                members: targets(&args.members.hosts, defaults)?,
                rpms: args.rpms.clone(),
                force: false,
            }),
            Self::Remove(args) => Operation::EtcdRemove(EtcdChange {
                members: targets(&args.members.hosts, defaults)?,
                rpms: Vec::new(),
                force: args.force,
            }),
            Self::Status => return Ok(None),
        }))
    }
}
