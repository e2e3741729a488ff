//! `ec2 create|status|terminate`.

use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::flow::ec2::{self, Access, Ec2Create, Ec2Terminate, Instance};
use crate::flow::request::{ClusterChange, Job, Operation, RunOptions, check_environment};
use crate::flow::{Environment, FlowError, kubernetes, state_dir};
use crate::plan::{Events, Interrupt};

use super::ask;
use super::cli::{Global, Source, begin, declined, open_log};
use super::cluster_show::table;
use super::credentials::{Credentials, targets};
use super::exit::Exit;
use super::start::on_signals;
use super::terminal::{self, Terminal};

/// The longest that instances are waited for once EC2 calls them well.
const SSH: Duration = Duration::from_secs(300);
const SSH_PORT: u16 = 22;

/// What to do with hosts on EC2.
#[derive(Debug, Subcommand)]
pub(crate) enum Ec2Command {
    /// Make instances and wait until EC2's checks pass; run again, the same command continues with those it made
    Create(Box<CreateArgs>),
    /// The environment's instances as EC2 sees them, with -v also those terminated lately; exit code 1 when one is not well
    Status(StatusArgs),
    /// Terminate the environment's instances, and no others
    Terminate(TerminateArgs),
}

/// Where EC2 is, and as whom it is asked.
#[derive(Debug, Args)]
pub(crate) struct AccessArgs {
    /// The region [default: AWS_REGION, the profile's, the instance's own]
    #[arg(long, value_name = "REGION", help_heading = "AWS")]
    region: Option<String>,
    /// A profile of ~/.aws [default: AWS_PROFILE, else `default`]
    #[arg(long, value_name = "NAME", help_heading = "AWS")]
    profile: Option<String>,
    /// Another address than AWS's own [default: AWS_ENDPOINT_URL_EC2]
    #[arg(long, value_name = "URL", help_heading = "AWS")]
    endpoint_url: Option<String>,
}

impl AccessArgs {
    fn access(&self) -> Access {
        Access { region: self.region.clone(), profile: self.profile.clone(), endpoint: self.endpoint_url.clone() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    Node,
    Master,
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CreateArgs {
    /// The image
    #[arg(long, value_name = "AMI", help_heading = "Instances")]
    image_id: String,
    /// The key pair whose private half opens the instances
    #[arg(long, value_name = "NAME", help_heading = "Instances")]
    key_name: String,
    /// How many at the least [default: 1]
    #[arg(long, value_name = "N", help_heading = "Instances")]
    min_count: Option<u16>,
    /// How many at the most [default: as many as --min-count]
    #[arg(long, value_name = "N", help_heading = "Instances")]
    max_count: Option<u16>,
    /// The instances' type
    #[arg(long, value_name = "T", default_value = ec2::INSTANCE_TYPE, help_heading = "Instances")]
    instance_type: String,
    /// Their subnet [default: the region's own]
    #[arg(long, value_name = "ID", help_heading = "Instances")]
    subnet_id: Option<String>,
    /// Their security groups [default: the network's own]
    #[arg(long = "security-group-id", alias = "security-group-ids", value_name = "ID", num_args = 1.., help_heading = "Instances")]
    security_groups: Vec<String>,
    /// Size of the root disk [default: the image's]
    #[arg(long, value_name = "GIB", help_heading = "Instances")]
    root_disk: Option<u32>,
    /// The tag Name [default: the environment]
    #[arg(long, value_name = "NAME", help_heading = "Instances")]
    name: Option<String>,
    /// Further tags
    #[arg(long = "tag", value_name = "KEY=VALUE", num_args = 1.., value_parser = tag, help_heading = "Instances")]
    tags: Vec<(String, String)>,
    #[command(flatten)]
    access: AccessArgs,
    /// Add them to the cluster of this environment once SSH answers, with --ssh-key and --ssh-user
    #[arg(long, value_name = "ENVIRONMENT", value_parser = environment, requires = "role", help_heading = "Joining a cluster")]
    join: Option<String>,
    /// As what they join
    #[arg(
        long = "as",
        value_name = "ROLE",
        id = "role",
        value_enum,
        requires = "join",
        help_heading = "Joining a cluster"
    )]
    role: Option<Role>,
    #[command(flatten)]
    source: Source,
}

const EXAMPLES: &str = "\
Examples:
  sunshine-installer ec2 create --image-id ami-0123456789abcdef0 --key-name ops --min-count 3 --region eu-central-1
  sunshine-installer ec2 create --image-id ami-0123456789abcdef0 --key-name ops --subnet-id subnet-0123456789abcdef0 \\
      --join default --as node --ssh-user rocky --ssh-key ~/.ssh/ops.pem

Credentials are found as the AWS tools find them: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, ~/.aws, an instance role.";

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// The environment [default: --environment]
    #[arg(value_name = "ID", value_parser = environment)]
    id: Option<String>,
    #[command(flatten)]
    access: AccessArgs,
}

#[derive(Debug, Args)]
pub(crate) struct TerminateArgs {
    /// The environment [default: --environment]
    #[arg(value_name = "ID", value_parser = environment)]
    id: Option<String>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    access: AccessArgs,
}

fn environment(text: &str) -> Result<String, String> {
    check_environment(text).map(|()| text.to_owned())
}

fn tag(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("KEY=VALUE is wanted")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Runs the command.
pub(crate) fn run(command: &Ec2Command, credentials: &Credentials, global: &Global) -> Result<Exit, FlowError> {
    match command {
        Ec2Command::Create(args) => create(args, credentials, global),
        Ec2Command::Status(args) => status(args, global),
        Ec2Command::Terminate(args) => terminate(args, global),
    }
}

fn create(args: &CreateArgs, credentials: &Credentials, global: &Global) -> Result<Exit, FlowError> {
    let joining = match (&args.join, args.role) {
        (Some(cluster), Some(role)) => Some(Joining::prepare(cluster, role, args, credentials, global)?),
        _ => None,
    };
    let operations = vec![Operation::Ec2Create(Box::new(args.request()))];
    let exit = begin(&Job { operations, options: global.options() }, None, global);
    match joining {
        Some(joining) if exit == Exit::Done && !global.dry_run => joining.join(global),
        _ => Ok(exit),
    }
}

impl CreateArgs {
    fn request(&self) -> Ec2Create {
        let min = self.min_count.unwrap_or(1);
        Ec2Create {
            min,
            max: self.max_count.unwrap_or(min),
            instance_type: self.instance_type.clone(),
            subnet: self.subnet_id.clone(),
            security_groups: self.security_groups.clone(),
            root_disk: self.root_disk,
            name: self.name.clone(),
            tags: self.tags.clone(),
            access: self.access.access(),
            ..Ec2Create::new(self.image_id.clone(), self.key_name.clone())
        }
    }
}

/// What follows once the instances are there.
struct Joining {
    role: Role,
    options: RunOptions,
    bundle: Option<payload::Bundle>,
}

impl Joining {
    /// Everything that would refuse the second half is found before the first one costs money.
    fn prepare(
        cluster: &str,
        role: Role,
        args: &CreateArgs,
        credentials: &Credentials,
        global: &Global,
    ) -> Result<Self, FlowError> {
        let login = credentials.defaults()?;
        if login.auth.key.is_none() && !login.auth.agent {
            return Err(FlowError::request_with_help(
                "--join wants the private half of the key pair",
                "name it with --ssh-key, and the image's user with --ssh-user (rocky, centos, ec2-user)",
            ));
        }
        let found = Environment::find(&state_dir(), cluster)?;
        if kubernetes::Cluster::load(&found)?.is_none() {
            return Err(FlowError::request_with_help(
                format!("environment {cluster} has no Kubernetes cluster to join"),
                "create one with `cluster create`, or name another with --join",
            ));
        }
        let bundle = args.source.open()?;
        let options = RunOptions { environment: cluster.to_owned(), login, ..global.options() };
        Ok(Self { role, options, bundle })
    }

    fn join(self, global: &Global) -> Result<Exit, FlowError> {
        let Self { role, options, bundle } = self;
        let instances = ec2::made(&Environment::find(&state_dir(), &global.environment)?)?;
        let addresses = reach(&instances, global)?;
        let hosts = targets(&addresses, &options.login)?;
        let change = match role {
            Role::Node => ClusterChange { workers: hosts, ..ClusterChange::default() },
            Role::Master => ClusterChange { control_plane: hosts, ..ClusterChange::default() },
        };
        Ok(begin(&Job { operations: vec![Operation::ClusterAdd(change)], options }, bundle, global))
    }
}

fn reach(instances: &[Instance], global: &Global) -> Result<Vec<String>, FlowError> {
    let terminal = Terminal::new(global.manner());
    let (events, interrupt) = (Events::new(), Arc::new(Interrupt::default()));
    events.listen(super::log::Reader);
    events.listen(terminal.reader());
    on_signals(Arc::clone(&interrupt), &terminal);
    ec2::join::ways(instances, SSH_PORT, SSH, global.options().forks, &events, &interrupt)
}

fn status(args: &StatusArgs, global: &Global) -> Result<Exit, FlowError> {
    open_log(global);
    let environment = Environment::find(&state_dir(), args.id.as_deref().unwrap_or(&global.environment))?;
    let mut instances = ec2::status(&environment, &args.access.access())?;
    let well = instances.iter().filter(|i| i.is_alive()).all(|i| i.checks_passed);
    if !global.verbose {
        instances.retain(Instance::is_alive);
    }
    if global.json {
        terminal::print_json(&instances);
    } else if instances.is_empty() {
        terminal::print(&format!("environment {} has no EC2 instances\n", environment.name));
    } else {
        terminal::print(&listing(&instances));
    }
    Ok(if well { Exit::Done } else { Exit::Failed })
}

fn listing(instances: &[Instance]) -> String {
    let mut rows = table(&["INSTANCE", "STATE", "CHECKS", "TYPE", "PRIVATE", "PUBLIC", "PUBLIC NAME", "MESSAGE"]);
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    for i in instances {
        let checks = match (i.state.as_str(), i.checks_passed) {
            ("running", true) => "passed",
            ("running", false) => "waiting",
            _ => "",
        };
        let message = if i.state == "running" { String::new() } else { text(&i.reason) };
        rows.add_row([
            &i.id,
            &i.state,
            checks,
            &i.instance_type,
            &text(&i.private_ip),
            &text(&i.public_ip),
            &text(&i.public_dns),
            &message,
        ]);
    }
    format!("{rows}\n")
}

fn terminate(args: &TerminateArgs, global: &Global) -> Result<Exit, FlowError> {
    let mut options = global.options();
    if let Some(id) = &args.id {
        options.environment.clone_from(id);
    }
    let access = args.access.access();
    if !args.yes && !global.dry_run && !agreed(&options.environment, &access)? {
        return Ok(declined(global));
    }
    let operations = vec![Operation::Ec2Terminate(Ec2Terminate { access })];
    Ok(begin(&Job { operations, options }, None, global))
}

/// Shows what would go, and asks.
fn agreed(name: &str, access: &Access) -> Result<bool, FlowError> {
    if !ask::is_possible() {
        return Err(FlowError::request_with_help(
            "there is no terminal to ask on whether to terminate them",
            "--yes terminates without asking; --dry-run shows what would go",
        ));
    }
    let instances = ec2::status(&Environment::find(&state_dir(), name)?, access)?;
    let alive: Vec<Instance> = instances.into_iter().filter(Instance::is_alive).collect();
    if alive.is_empty() {
        return Ok(true);
    }
    let lines = [
        format!("Environment {name}: {} instance(s) are terminated, and their disks are deleted:", alive.len()),
        listing(&alive).trim_end().to_owned(),
    ];
    Ok(ask::agreed(&lines, "Go on?"))
}
