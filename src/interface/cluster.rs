//! `cluster create|add|remove|reset`.

use std::time::Duration;

use clap::{Args, Subcommand};

use crate::flow::FlowError;
use crate::flow::request::{ClusterSettings, Network, Runtime};
use crate::host::TargetDefaults;
use crate::spec::{ClusterSpec, EtcdSpec, Intent, KubernetesSpec, Request, Role};

use super::cli::{A_YEAR, Source};
use super::cluster_file::{ApplyArgs, ShowArgs};
use super::cluster_replace::ReplaceArgs;
use super::cluster_show::KubeconfigArgs;
use super::credentials::targets;

/// What to do with a Kubernetes cluster.
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Create a cluster of these hosts, or change the existing one to what this command says
    Create(Box<CreateArgs>),
    /// Make etcd and Kubernetes what a file says; run it again after every change of the file
    Apply(Box<ApplyArgs>),
    /// Print the environment's cluster as a file for `cluster apply`; no password is in it
    Show(ShowArgs),
    /// Print the JSON schema of the files that `cluster apply` reads
    Schema,
    /// Add hosts to the environment's cluster
    Add(AddArgs),
    /// Drain hosts and remove them from the environment's cluster
    Remove(RemoveArgs),
    /// Put a new host into another's place, in all of its roles: the new one joins, then the other leaves
    Replace(Box<ReplaceArgs>),
    /// Reset hosts to what they were before this program changed them
    Reset(ResetArgs),
    /// Nodes and components, asked from the live cluster; exit code 1 when one is not well
    Status,
    /// Write the administrator's kubeconfig
    Kubeconfig(KubeconfigArgs),
    /// The cluster's certificates
    #[command(subcommand)]
    Certs(CertsCommand),
    /// The bundle's container images on the cluster's hosts
    #[command(subcommand)]
    Images(ImagesCommand),
}

/// What to do with certificates.
#[derive(Debug, Subcommand)]
pub(crate) enum CertsCommand {
    /// When each of them ends
    Status,
    /// Make new ones; services are restarted on one etcd member, one control plane node at a time
    Renew(RenewArgs),
}

/// What to do with images.
#[derive(Debug, Subcommand)]
pub(crate) enum ImagesCommand {
    /// Bring back what hosts lack; `cluster status` counts and names them
    Sync(SyncArgs),
}

#[derive(Debug, Args)]
pub(crate) struct SyncArgs {
    /// Only to these [default: every host that runs pods]
    #[arg(long = "host", value_name = "HOST", num_args = 1..)]
    hosts: Vec<String>,
    #[command(flatten)]
    source: Source,
}

#[derive(Debug, Args)]
pub(crate) struct RenewArgs {
    /// Hosts of the environment, with their passwords where no key opens them
    #[arg(long = "host", value_name = "HOST", num_args = 1..)]
    hosts: Vec<String>,
    #[command(flatten)]
    source: Source,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum RuntimeName {
    Docker,
    Containerd,
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Control plane nodes
    #[arg(long = "master", value_name = "HOST", num_args = 1.., required = true)]
    control_plane: Vec<String>,
    /// Worker nodes [default: the control plane nodes]
    #[arg(long = "node", value_name = "HOST", num_args = 1..)]
    workers: Vec<String>,
    /// Members of the etcd cluster to use [default: the environment's]
    #[arg(long = "etcd", value_name = "HOST", num_args = 1..)]
    etcd: Vec<String>,
    /// Packages of control plane nodes from these files
    #[arg(long = "master-rpm", value_name = "RPM", num_args = 1..)]
    control_plane_rpm: Vec<String>,
    /// Packages of worker nodes from these files
    #[arg(long = "node-rpm", value_name = "RPM", num_args = 1..)]
    worker_rpm: Vec<String>,
    /// Of several in the bundle this one, such as 1.36.3 [default: the newest]
    #[arg(long, value_name = "VERSION")]
    kubernetes_version: Option<String>,
    /// flannel, direct, or a network manifest in the bundle [default: flannel when at hand, else direct]
    #[arg(long, value_name = "NAME")]
    cni: Option<String>,
    /// Addresses of pods; for dual stack a network of each family: IPV4,IPV6
    #[arg(long, value_name = "CIDR", default_value = "10.244.0.0/16")]
    pod_cidr: String,
    /// Addresses of services, of the same families
    #[arg(long, value_name = "CIDR", default_value = "10.254.0.0/16")]
    service_cidr: String,
    /// The domain that services are found under
    #[arg(long, value_name = "NAME", default_value = "cluster.local")]
    cluster_domain: String,
    /// A load balancer of the site in front of the control plane nodes
    #[arg(long, value_name = "HOST:PORT")]
    api_endpoint: Option<String>,
    /// A free address of the control plane's network, for the API: one control plane node holds it, by keepalived
    #[arg(long, value_name = "ADDRESS", conflicts_with = "api_endpoint")]
    api_vip: Option<String>,
    /// What runs containers [default: Docker; containerd from Kubernetes 1.24 on]
    #[arg(long, value_enum)]
    runtime: Option<RuntimeName>,
    /// Folder of its data
    #[arg(long, value_name = "DIR")]
    data_root: Option<String>,
    /// Registries that are asked before docker.io
    #[arg(long, value_name = "URL", num_args = 1..)]
    registry_mirror: Vec<String>,
    /// Registries that are used without TLS
    #[arg(long, value_name = "HOST:PORT", num_args = 1..)]
    insecure_registry: Vec<String>,
    /// Control plane nodes serve the cluster's images, read-only, so that nodes can pull them again; containerd only
    #[arg(long)]
    keep_registry: bool,
    #[command(flatten)]
    source: Source,
}

/// Hosts by what they are in the cluster; at least one.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct Roles {
    /// Control plane nodes
    #[arg(long = "master", value_name = "HOST", num_args = 1..)]
    control_plane: Vec<String>,
    /// Worker nodes
    #[arg(long = "node", value_name = "HOST", num_args = 1..)]
    workers: Vec<String>,
    /// Members of its etcd cluster
    #[arg(long = "etcd", value_name = "HOST", num_args = 1..)]
    etcd: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    #[command(flatten)]
    roles: Roles,
    /// Existing control plane nodes, for their passwords: all of them are updated when etcd members change
    #[arg(long, value_name = "HOST", num_args = 1..)]
    also: Vec<String>,
    /// Packages of control plane nodes from these files
    #[arg(long = "master-rpm", value_name = "RPM", num_args = 1..)]
    control_plane_rpm: Vec<String>,
    /// Packages of worker nodes from these files
    #[arg(long = "node-rpm", value_name = "RPM", num_args = 1..)]
    worker_rpm: Vec<String>,
    /// etcd packages from these files
    #[arg(long, value_name = "RPM", num_args = 1..)]
    etcd_rpm: Vec<String>,
    #[command(flatten)]
    source: Source,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    #[command(flatten)]
    roles: Roles,
    /// Control plane nodes that stay, for their passwords: all of them are updated when etcd members change
    #[arg(long, value_name = "HOST", num_args = 1..)]
    also: Vec<String>,
    #[command(flatten)]
    leaving: LeavingArgs,
    #[command(flatten)]
    source: Source,
}

/// How hosts leave a cluster.
#[derive(Debug, Args)]
pub(crate) struct LeavingArgs {
    /// Go on when a drain does not end in time, and when a host does not answer: nothing is undone on it then
    #[arg(long)]
    pub(crate) force: bool,
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// The longest a drain may take
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=A_YEAR))]
    drain_timeout: Option<u64>,
}

impl LeavingArgs {
    pub(crate) fn drain_timeout(&self) -> Option<Duration> {
        self.drain_timeout.map(Duration::from_secs)
    }
}

#[derive(Debug, Args)]
pub(crate) struct ResetArgs {
    /// Only these [default: every host of the environment]
    #[arg(long = "host", value_name = "HOST", num_args = 1..)]
    hosts: Vec<String>,
    /// Delete etcd's data too: of these hosts, or of all
    #[arg(long, value_name = "HOST", num_args = 0..)]
    wipe_data: Option<Vec<String>>,
    /// Undo also what this environment recorded, as where its control host is lost
    #[arg(long, value_name = "ID", requires = "hosts")]
    recorded_by: Vec<String>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    source: Source,
}

impl ClusterCommand {
    /// Where packages come from, for what installs any.
    pub(crate) fn source(&self) -> Option<&Source> {
        Some(match self {
            Self::Create(args) => &args.source,
            Self::Add(args) => &args.source,
            Self::Remove(args) => &args.source,
            Self::Reset(args) => &args.source,
            Self::Certs(CertsCommand::Renew(args)) => &args.source,
            Self::Images(ImagesCommand::Sync(args)) => &args.source,
            Self::Apply(args) => &args.source,
            Self::Replace(args) => &args.source,
            Self::Show(_) | Self::Schema | Self::Status | Self::Kubeconfig(_) | Self::Certs(CertsCommand::Status) => {
                return None;
            }
        })
    }

    /// Whether the question before something is lost is answered.
    pub(crate) fn yes(&self) -> bool {
        match self {
            Self::Remove(args) => args.leaving.yes,
            Self::Reset(args) => args.yes,
            _ => false,
        }
    }

    /// What the words ask for; `None` for a question.
    pub(crate) fn request(&self, defaults: &TargetDefaults) -> Result<Option<Request>, FlowError> {
        Ok(Some(match self {
            Self::Create(args) => args.request(defaults)?,
            Self::Add(args) => {
                let mut spec = args.roles.spec(&args.also, defaults)?;
                spec.etcd = EtcdSpec { rpms: args.etcd_rpm.clone(), ..EtcdSpec::default() };
                spec.kubernetes = Some(KubernetesSpec {
                    control_plane_rpms: args.control_plane_rpm.clone(),
                    worker_rpms: args.worker_rpm.clone(),
                    ..KubernetesSpec::default()
                });
                Request { spec, intent: Intent::Add }
            }
            Self::Remove(args) => {
                let mut spec = args.roles.spec(&args.also, defaults)?;
                spec.kubernetes = Some(KubernetesSpec::default());
                let (force, drain_timeout) = (args.leaving.force, args.leaving.drain_timeout());
                Request { spec, intent: Intent::Remove { force, drain_timeout } }
            }
            Self::Reset(args) => {
                let intent = Intent::Reset {
                    wipe_data: args.wipe_data.iter().flatten().cloned().collect(),
                    wipe_all: args.wipe_data.as_ref().is_some_and(Vec::is_empty),
                    recorded_by: args.recorded_by.iter().map(|id| environment_id(id)).collect::<Result<_, _>>()?,
                };
                Request { spec: named(&args.hosts, defaults)?, intent }
            }
            Self::Certs(CertsCommand::Renew(args)) => {
                Request { spec: named(&args.hosts, defaults)?, intent: Intent::Renew }
            }
            Self::Images(ImagesCommand::Sync(args)) => {
                Request { spec: named(&args.hosts, defaults)?, intent: Intent::SyncImages }
            }
            // `apply` and `replace` are more than one request.
            Self::Apply(_)
            | Self::Replace(_)
            | Self::Show(_)
            | Self::Schema
            | Self::Status
            | Self::Kubeconfig(_)
            | Self::Certs(CertsCommand::Status) => return Ok(None),
        }))
    }
}

/// Hosts named for their credentials.
/// An environment as hosts' change records call it: its name, and more letters of the same kind.
fn environment_id(text: &str) -> Result<String, FlowError> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if (1..=128).contains(&text.len()) && text.bytes().all(is_plain) {
        return Ok(text.to_owned());
    }
    Err(FlowError::request_with_help(
        format!("--recorded-by {text:?}: no environment is called so in a host's change record"),
        "the message that left a host alone names the environment, such as default-0123456789abcdef",
    ))
}

fn named(hosts: &[String], defaults: &TargetDefaults) -> Result<ClusterSpec, FlowError> {
    let mut spec = ClusterSpec::default();
    spec.name(targets(hosts, defaults)?)?;
    Ok(spec)
}

impl Roles {
    fn spec(&self, also: &[String], defaults: &TargetDefaults) -> Result<ClusterSpec, FlowError> {
        let mut spec = named(also, defaults)?;
        for (role, hosts) in
            [(Role::ControlPlane, &self.control_plane), (Role::Worker, &self.workers), (Role::Etcd, &self.etcd)]
        {
            spec.add(role, targets(hosts, defaults)?)?;
        }
        Ok(spec)
    }
}

impl CreateArgs {
    fn request(&self, defaults: &TargetDefaults) -> Result<Request, FlowError> {
        let settings = ClusterSettings {
            network: self.cni.as_deref().map_or(Network::Auto, Network::parse),
            pod_cidr: self.pod_cidr.clone(),
            service_cidr: self.service_cidr.clone(),
            cluster_domain: self.cluster_domain.clone(),
            api_endpoint: self.api_endpoint.clone(),
            api_vip: self.api_vip.clone(),
            runtime: match self.runtime {
                None => Runtime::Auto,
                Some(RuntimeName::Docker) => Runtime::Docker,
                Some(RuntimeName::Containerd) => Runtime::Containerd,
            },
            data_root: self.data_root.clone(),
            registry_mirrors: self.registry_mirror.clone(),
            insecure_registries: self.insecure_registry.clone(),
            keep_registry: self.keep_registry,
            version: self.kubernetes_version.clone(),
            ..ClusterSettings::default()
        };
        let mut spec = ClusterSpec::default();
        spec.add(Role::ControlPlane, targets(&self.control_plane, defaults)?)?;
        spec.add(Role::Worker, targets(&self.workers, defaults)?)?;
        spec.kubernetes = Some(KubernetesSpec {
            settings,
            described: false,
            external_etcd: targets(&self.etcd, defaults)?,
            control_plane_rpms: self.control_plane_rpm.clone(),
            worker_rpms: self.worker_rpm.clone(),
        });
        Ok(Request { spec, intent: Intent::converge() })
    }
}
