//! What the control host knows of the environment's own registry: how clients log in to it, and whose certificates they trust.

use camino::Utf8PathBuf;
use serde::Serialize;

use crate::flow::registry::Registry;
use crate::flow::{Environment, FlowError, state_dir};

use super::cli::Global;
use super::exit::Exit;
use super::terminal;

/// The authority of the environment's registry, when it may be called by this `HOST:PORT`.
///
/// # Errors
/// When the environment's state cannot be read.
pub(super) fn authority(address: &str, environment: &str) -> Result<Option<Utf8PathBuf>, FlowError> {
    let root = state_dir();
    if !root.join("environments").join(environment).is_dir() {
        return Ok(None);
    }
    let environment = Environment::look(&root, environment)?;
    let registry = Registry::load(&environment)?.filter(|registry| registry.names().contains_key(address));
    Ok(registry.map(|_| Registry::authority_file(&environment)))
}

/// `registry login-info`, as `--json` has it.
#[derive(Debug, Serialize)]
struct LoginInfo {
    /// `HOST:PORT`
    addresses: Vec<String>,
    /// The authority's certificate on the control host.
    ca: Utf8PathBuf,
    users: Vec<String>,
}

/// Runs `registry login-info`.
///
/// # Errors
/// When the environment has no registry, or its state cannot be read.
pub(super) fn login_info(global: &Global) -> Result<Exit, FlowError> {
    let environment = Environment::find(&state_dir(), &global.environment)?;
    let registry = Registry::load(&environment)?.ok_or_else(|| {
        FlowError::request_with_help(
            format!("environment {} has no registry", environment.name),
            "give a host the role registry in cluster.yaml, or name another with --environment",
        )
    })?;
    let info = LoginInfo {
        addresses: registry.addresses().collect(),
        ca: Registry::authority_file(&environment),
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
        "addresses  {}\nauthority  {ca}\nusers      {}\n\n",
        addresses.join(" "),
        if users.is_empty() { "none: everybody who reaches it may push and pull".to_owned() } else { users.join(" ") },
    );
    text.push_str(&format!("Push from here:\n  sunshine-installer registry push {first}{login}\n"));
    text.push_str(&format!(
        "Docker elsewhere, with the authority's file beside you:\n  mkdir -p /etc/docker/certs.d/{first}\n  \
         cp ca.crt /etc/docker/certs.d/{first}/\n"
    ));
    if !user.is_empty() {
        text.push_str(&format!("  docker login --username {user} {first}\n"));
        text.push_str(&format!("podman and skopeo:\n  podman login --cert-dir FOLDER --username {user} {first}\n"));
    }
    text
}
