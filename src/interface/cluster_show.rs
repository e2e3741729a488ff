//! What is asked about clusters, and changes nothing: `cluster status`, `cluster kubeconfig`, `cluster certs status`,
//! `etcd status`.

use camino::Utf8PathBuf;
use clap::Args;
use comfy_table::Table;
use serde::Serialize;

use crate::flow::{Environment, FlowError, etcd, kubernetes, registry, state_dir};
use crate::host::one_line;

use super::cli::Global;
use super::exit::Exit;
use super::registry_own;
use super::terminal;

/// Options of `cluster kubeconfig`.
#[derive(Debug, Args)]
pub(crate) struct KubeconfigArgs {
    /// Where to write it, mode 0600 [default: admin.kubeconfig here]
    #[arg(long, short, value_name = "FILE", default_value = "admin.kubeconfig")]
    output: Utf8PathBuf,
}

fn environment(global: &Global) -> Result<Environment, FlowError> {
    Environment::find(&state_dir(), &global.environment)
}

/// Days, hours, minutes or seconds, as kubectl says an age.
pub(crate) fn age(seconds: i64) -> String {
    match seconds {
        s if s >= 2 * 86_400 => format!("{}d", s / 86_400),
        s if s >= 2 * 3_600 => format!("{}h", s / 3_600),
        s if s >= 120 => format!("{}m", s / 60),
        s => format!("{}s", s.max(0)),
    }
}

pub(crate) fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(head.to_vec());
    table
}

/// Nodes and components; exit code 1 when one of them is not well.
pub(crate) fn status(global: &Global) -> Result<Exit, FlowError> {
    let environment = environment(global)?;
    let status = kubernetes::status(&environment)?;
    let registry = match registry::Registry::load(&environment)? {
        Some(_) => Some(registry::status(&environment)?),
        None => None,
    };
    let whole = status.is_whole() && registry.as_ref().is_none_or(registry::Status::is_whole);
    if global.json {
        terminal::print_json(&WithRegistry { cluster: status, registry });
    } else {
        let mut nodes = table(&["NODE", "STATUS", "ROLES", "AGE", "VERSION", "ADDRESS", "IMAGES"]);
        for (name, n) in &status.nodes {
            let images = format!("{} of {}", n.images.present, n.images.wanted);
            let cells = [name, &n.status, &n.roles.join(","), &age(n.age_seconds), &n.version, &n.address, &images];
            nodes.add_row(cells.map(String::as_str));
        }
        terminal::print(&format!("{nodes}\n\n"));
        let mut parts = table(&["COMPONENT", "STATUS", "MESSAGE"]);
        for (name, c) in &status.components {
            let (word, said) = if c.healthy { ("Healthy", &c.message) } else { ("Unhealthy", &c.error) };
            parts.add_row([name.as_str(), word, &one_line(said)]);
        }
        terminal::print(&format!("{parts}\n"));
        if let Some(registry) = &registry {
            terminal::print(&format!("\n{}", registry_own::status_text(registry)));
        }
        for (name, n) in status.nodes.iter().filter(|(_, n)| !n.message.is_empty()) {
            terminal::print(&format!("\n{name}: {}\n", one_line(&n.message)));
        }
        for (name, n) in status.nodes.iter().filter(|(_, n)| !n.drift.is_empty()) {
            terminal::print(&format!("\n{name}: {}; it was updated by other means\n", n.drift.join("; ")));
        }
        for (name, n) in status.nodes.iter().filter(|(_, n)| !n.images.missing.is_empty()) {
            let missing = n.images.missing.join("\n  ");
            terminal::print(&format!(
                "\n{name}: these images are missing (`cluster images sync` brings them back):\n  {missing}\n"
            ));
        }
        if let Some(days) = status.certificates_days {
            let help = if days < 60 { " (`cluster certs renew` makes new ones)" } else { "" };
            terminal::print(&format!("\nthe first certificate ends in {days} days{help}\n"));
        }
    }
    Ok(if whole { Exit::Done } else { Exit::Failed })
}

/// `cluster status`, as `--json` has it.
#[derive(Debug, Serialize)]
struct WithRegistry {
    #[serde(flatten)]
    cluster: kubernetes::Status,
    /// By host; not there without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    registry: Option<registry::Status>,
}

/// Members; exit code 1 when one of them is not well.
pub(crate) fn etcd_status(global: &Global) -> Result<Exit, FlowError> {
    let status = etcd::status(&environment(global)?)?;
    if global.json {
        terminal::print_json(&status);
    } else {
        let mut members = table(&["MEMBER", "NAME", "STATUS", "ROLE", "VERSION", "DATA", "MESSAGE"]);
        for (host, m) in &status.members {
            let role = match (m.healthy, m.leader, m.learner) {
                (false, ..) => "",
                (_, true, _) => "leader",
                (_, _, true) => "learner",
                _ => "follower",
            };
            let size = if m.healthy { indicatif::HumanBytes(m.db_size).to_string() } else { String::new() };
            let word = if m.healthy { "Healthy" } else { "Unhealthy" };
            members.add_row([host, m.name.as_str(), word, role, &m.version, &size, &m.error]);
        }
        terminal::print(&format!("{members}\n"));
        for alarm in &status.alarms {
            terminal::print(&format!("alarm: {alarm}\n"));
        }
    }
    Ok(if status.is_whole() { Exit::Done } else { Exit::Failed })
}

/// Writes the administrator's kubeconfig.
pub(crate) fn kubeconfig(global: &Global, args: &KubeconfigArgs) -> Result<Exit, FlowError> {
    let config = kubernetes::kubeconfig(&environment(global)?)?;
    kubernetes::write_kubeconfig(&args.output, &config)?;
    if !global.quiet {
        terminal::print(&format!("{}: the administrator's; kubectl --kubeconfig {0} get nodes\n", args.output));
    }
    Ok(Exit::Done)
}

/// The certificates kept, those that end first coming first.
pub(crate) fn certificates(global: &Global) -> Result<Exit, FlowError> {
    let kept = kubernetes::certificates(&environment(global)?)?;
    if global.json {
        terminal::print_json(&kept);
        return Ok(Exit::Done);
    }
    let mut rows = table(&["CERTIFICATE", "ENDS", "DAYS LEFT"]);
    for cert in &kept {
        let ends = jiff::Timestamp::from_second(cert.ends).map(|t| t.strftime("%Y-%m-%d").to_string());
        rows.add_row([cert.name.as_str(), &ends.unwrap_or_default(), &cert.days_left.to_string()]);
    }
    terminal::print(&format!("{rows}\n"));
    Ok(Exit::Done)
}
