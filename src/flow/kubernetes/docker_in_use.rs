//! A Docker that the site uses already, on a host that is to become a node: what of its configuration a cluster cannot live with, and which
//! containers would stop when it is restarted. What can stay is merged: `docker.rs`.

use payload::Bundle;
use serde_json::Value;

use crate::flow::problem::Problem;
use crate::host::{Command, HostId};
use crate::plan::RunHost;

use super::docker::{self, CONFIG};
use super::state::Cluster;

/// Whether containers outlive the daemon, `inactive` where the host is in no swarm, then the names of those that run.
const ASK: &str =
    r"docker info --format '{{.LiveRestoreEnabled}} {{.Swarm.LocalNodeState}}' && docker ps --format '{{.Names}}'";
/// So many names are shown.
const SHOWN: usize = 10;

/// What is in the way on this host, and what it should be told.
pub(super) fn check(host: &RunHost, cluster: &Cluster, bundle: Option<&Bundle>) -> Vec<Problem> {
    let (name, facts) = (host.host.name(), &host.facts);
    let site = match docker::site(facts) {
        Ok(site) => site,
        Err(why) => return vec![Problem::error(name, format!("{CONFIG} is no JSON: {why}"), "correct that file")],
    };
    let mut problems = configured(name, &site, cluster);
    let config = docker::config(cluster, facts, bundle);
    let is_kept = facts.files.get(CONFIG).and_then(|found| found.text.as_ref()) == Some(&config);
    if docker::is_in_use(facts) && !is_kept && host.host.is_root() {
        let asked = host.host.run(&Command::script(ASK).label("docker info, docker ps"));
        // One that does not answer is found by whoever starts it anew.
        if let Some(said) = asked.ok().and_then(|output| output.ok().then(|| output.text())) {
            problems.extend(restarted(name, &site, &said));
        }
    }
    problems
}

fn configured(host: &HostId, site: &docker::Settings, cluster: &Cluster) -> Vec<Problem> {
    let text = |key: &str| site.get(key).and_then(Value::as_str);
    let mut problems = Vec::new();
    if let (Some(is), Some(asked)) = (text("data-root").or(text("graph")), &cluster.settings.data_root)
        && is.trim_end_matches('/') != asked.trim_end_matches('/')
    {
        let said = format!("Docker keeps its data in {is} here ({CONFIG}), and the cluster asks for {asked}");
        let help =
            "leave --data-root out: each host's own counts; or take that line out of the file, and move the data";
        problems.push(Problem::error(host, said, help));
    }
    if let Some(driver) = text("log-driver").filter(|driver| *driver != "json-file") {
        let said = format!("Docker logs by {driver} here ({CONFIG}): `kubectl logs` shows nothing of this node's pods");
        let help = "set \"log-driver\": \"json-file\" in that file where this matters".to_owned();
        problems.push(Problem::warning(Some(host), said, Some(help)));
    }
    problems
}

/// What a restart with other settings does to what runs; `said`: what [`ASK`] prints.
fn restarted(host: &HostId, site: &docker::Settings, said: &str) -> Option<Problem> {
    let mut lines = said.lines();
    let mut first = lines.next().unwrap_or_default().split_whitespace();
    let (lives_on, swarm) = (first.next() == Some("true"), first.next().unwrap_or("inactive"));
    let names: Vec<&str> = lines.collect();
    let by_site = site.get("live-restore").and_then(Value::as_bool);
    if swarm != "inactive" && by_site.is_none() {
        let text = "Docker here is part of a swarm, which cannot be with \"live-restore\"";
        let help = format!("set \"live-restore\": false in {CONFIG}, or leave the swarm: docker swarm leave");
        return Some(Problem::error(host, text, help));
    }
    if names.is_empty() {
        return None;
    }
    let more = if names.len() > SHOWN { format!(" and {} more", names.len() - SHOWN) } else { String::new() };
    let names = format!("{}{more}", names.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", "));
    if lives_on || by_site != Some(false) {
        let text = format!("Docker is restarted with settings for Kubernetes; its containers go on: {names}");
        return Some(Problem::info(host, text));
    }
    let text =
        format!("Docker must be restarted with settings for Kubernetes, which would stop its containers: {names}");
    let help = format!(
        "have them outlive it: \"live-restore\": true in {CONFIG}, then `systemctl reload docker`; or stop them before"
    );
    Some(Problem::error(host, text, help))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::flow::kubernetes::options::rendered::cluster;
    use crate::plan::Level;

    fn said(site: &Value, asked: &str) -> Option<(Level, String)> {
        let problem = restarted(&"10.0.0.1".into(), site.as_object().unwrap(), asked)?;
        Some((problem.level, problem.text))
    }

    #[test]
    fn containers_that_would_stop_are_named() {
        let goes_on = Some((
            Level::Info,
            "Docker is restarted with settings for Kubernetes; its containers go on: web, db".to_owned(),
        ));
        assert_eq!(said(&json!({}), "false inactive\nweb\ndb\n"), goes_on, "live-restore is set before");
        assert_eq!(said(&json!({"live-restore": true}), "true inactive\nweb\ndb\n"), goes_on);
        let many = (0..12).map(|n| format!("c{n}\n")).collect::<String>();
        let (level, text) = said(&json!({"live-restore": false}), &format!("false inactive\n{many}")).unwrap();
        assert!(level == Level::Error && text.ends_with("c8, c9 and 2 more"), "{text}");
        assert_eq!(said(&json!({"live-restore": false}), "false inactive\n"), None);
        assert!(said(&json!({}), "false active\n").unwrap().1.contains("swarm"));
        assert_eq!(said(&json!({"live-restore": false}), "false active\n"), None);
    }

    #[test]
    fn another_folder_for_its_data_is_refused() {
        let found = |folder: &str| {
            let cluster = cluster(13, &json!({"settings": {"data_root": folder}}));
            configured(&"10.0.0.1".into(), json!({"data-root": "/srv/docker/"}).as_object().unwrap(), &cluster)
        };
        assert!(found("/srv/docker").is_empty());
        assert_eq!(found("/data").len(), 1);
    }
}
