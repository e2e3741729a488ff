//! The environment's own registry: how clients log in to it and whose certificates they trust, how it is, and what is done
//! with it on its hosts.

use camino::Utf8PathBuf;
use clap::Args;
use serde::Serialize;

use crate::flow::registry::{self, Registry, SiteRegistry};
use crate::flow::request::{Operation, RegistryCollect, RegistryRemove};
use crate::flow::{Environment, FlowError, state_dir};
use crate::host::TargetDefaults;

use super::cli::{Global, Source};
use super::cluster_show::table;
use super::credentials::targets;
use super::exit::Exit;
use super::terminal;

/// The authority of the environment's registry, when it may be called by this `HOST:PORT`, or of the site's that its nodes use.
///
/// # Errors
/// When the environment's state cannot be read.
pub(super) fn authority(address: &str, environment: &str) -> Result<Option<Utf8PathBuf>, FlowError> {
    let root = state_dir();
    if !root.join("environments").join(environment).is_dir() {
        return Ok(None);
    }
    let environment = Environment::look(&root, environment)?;
    if let Some(registry) = Registry::load(&environment)?.filter(|registry| registry.is_called(address)) {
        return Ok(registry.authority_file(&environment.pki()));
    }
    let site = SiteRegistry::load(&environment)?.filter(|site| site.address == address);
    Ok(site.and_then(|site| site.authority_file(&environment)))
}

#[derive(Debug, Args)]
pub(crate) struct GcArgs {
    /// Only on these hosts of it [default: all]
    #[arg(long = "host", alias = "hosts", value_name = "HOST", num_args = 1..)]
    hosts: Vec<String>,
    /// Delete images without a tag too; needs version 3 of the distribution server
    #[arg(long)]
    delete_untagged: bool,
}

impl GcArgs {
    pub(super) fn operation(&self, defaults: &TargetDefaults) -> Result<Operation, FlowError> {
        let hosts = targets(&self.hosts, defaults)?;
        Ok(Operation::RegistryCollect(RegistryCollect { hosts, untagged: self.delete_untagged }))
    }
}

#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// Hosts that are to be no registry any more
    #[arg(long = "host", alias = "hosts", value_name = "HOST", num_args = 1.., required = true)]
    hosts: Vec<String>,
    /// Other hosts of the environment, for their credentials
    #[arg(long, value_name = "HOST", num_args = 1..)]
    also: Vec<String>,
    /// Remove it also when its host does not answer; nothing is undone on it then
    #[arg(long)]
    force: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    source: Source,
}

impl RemoveArgs {
    pub(super) fn operation(&self, defaults: &TargetDefaults) -> Result<Operation, FlowError> {
        let (hosts, also) = (targets(&self.hosts, defaults)?, targets(&self.also, defaults)?);
        Ok(Operation::RegistryRemove(RegistryRemove { hosts, force: self.force, also }))
    }

    pub(super) fn yes(&self) -> bool {
        self.yes
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }
}

/// Runs `registry status`.
///
/// # Errors
/// When the environment has no registry, or its state cannot be read.
pub(super) fn status(global: &Global) -> Result<Exit, FlowError> {
    let status = registry::status(&Environment::find(&state_dir(), &global.environment)?)?;
    if global.json {
        terminal::print_json(&status);
    } else {
        terminal::print(&status_text(&status));
    }
    Ok(if status.is_whole() { Exit::Done } else { Exit::Failed })
}

/// As `registry status` and `cluster status` print it.
pub(super) fn status_text(status: &registry::Status) -> String {
    let mut rows = table(&["REGISTRY", "ADDRESS", "STATUS", "MESSAGE"]);
    for (host, one) in &status.0 {
        let word = if one.healthy { "Healthy" } else { "Unhealthy" };
        rows.add_row([host.as_str(), &one.address, word, &one.error]);
    }
    format!("{rows}\n")
}

/// `registry login-info`, as `--json` has it.
#[derive(Debug, Serialize)]
struct LoginInfo {
    /// `HOST:PORT`
    addresses: Vec<String>,
    /// The authority's certificate on the control host; not there where clients trust the registry's anyway.
    ca: Option<Utf8PathBuf>,
    users: Vec<String>,
}

/// Runs `registry login-info`.
///
/// # Errors
/// When the environment has no registry, or its state cannot be read.
pub(super) fn login_info(global: &Global) -> Result<Exit, FlowError> {
    let environment = Environment::find(&state_dir(), &global.environment)?;
    let registry = Registry::of(&environment)?;
    let info = LoginInfo {
        addresses: registry.addresses().collect(),
        ca: registry.authority_file(&environment.pki()),
        users: registry.users.into_keys().collect(),
    };
    if global.json {
        terminal::print_json(&info);
    } else {
        terminal::print(&text(&info));
    }
    Ok(Exit::Done)
}

fn text(info: &LoginInfo) -> String {
    let LoginInfo { addresses, ca, users } = info;
    let first = addresses.first().map_or("HOST:PORT", String::as_str);
    let user = users.first().map_or("", String::as_str);
    let login = if user.is_empty() { String::new() } else { format!(" --user {user} --password-file FILE") };
    let mut text = format!(
        "addresses  {}\nauthority  {}\nusers      {}\n\n",
        addresses.join(" "),
        ca.as_ref().map_or("one that clients trust anyway", |path| path.as_str()),
        if users.is_empty() { "none: everybody who reaches it may push and pull".to_owned() } else { users.join(" ") },
    );
    text.push_str(&format!("Push from here:\n  sunshine-installer registry push {first}{login}\n"));
    if ca.is_some() {
        text.push_str(&format!(
            "Docker elsewhere, with the authority's file beside you:\n  mkdir -p /etc/docker/certs.d/{first}\n  \
             cp ca.crt /etc/docker/certs.d/{first}/\n"
        ));
    } else if !user.is_empty() {
        text.push_str("Docker elsewhere:\n");
    }
    if !user.is_empty() {
        let folder = if ca.is_some() { " --cert-dir FOLDER" } else { "" };
        text.push_str(&format!("  docker login --username {user} {first}\n"));
        text.push_str(&format!("podman and skopeo:\n  podman login{folder} --username {user} {first}\n"));
    }
    text
}
