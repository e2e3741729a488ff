//! Docker's own configuration, `daemon.json` (dockerd manual, "daemon configuration file"). Docker may be in use already: what the
//! site has set stays, and what Kubernetes needs is added.

use payload::Bundle;
use serde_json::{Map, Value, json};

use crate::host::{Command, Facts, FileMeta, FoundFile};
use crate::plan::{Check, Cx, Step, StepError, Work};
use crate::resource::{self, FileSpec, Files, Store};

use super::component::On;
use super::docker_bridge;
use super::options;
use super::runtime::{ContainerRuntime, major};
use super::state::Cluster;

pub(super) const CONFIG: &str = "/etc/docker/daemon.json";
pub(super) const PACKAGES: [&str; 3] = ["docker", "docker-ce", "moby-engine"];
pub(super) const UNIT: &str = "docker";
/// What this product sets. In a file that it has written these are the site's as they were before.
const OURS: [&str; 11] = [
    "bip",
    "data-root",
    "exec-opts",
    "graph",
    "insecure-registries",
    "ip-masq",
    "live-restore",
    "log-driver",
    "log-opts",
    "mtu",
    "registry-mirrors",
];
const DRIVER: &str = "native.cgroupdriver=";

pub(super) type Settings = Map<String, Value>;

/// Docker. It is what the kubelet looks for by itself, until 1.23.
pub(super) struct Docker;

impl ContainerRuntime for Docker {
    fn title(&self) -> &'static str {
        "Docker"
    }

    fn packages(&self) -> &'static [&'static str] {
        &PACKAGES
    }

    fn unit(&self) -> &'static str {
        UNIT
    }

    fn files(&self, on: &On<'_>) -> Files {
        let mut file = FileSpec::text(CONFIG, config(on.cluster, on.facts, on.supply.bundle));
        if let Some(mode) = on.facts.files.get(CONFIG).and_then(|found| found.mode) {
            file.meta = FileMeta::mode(mode);
        }
        Files(vec![file])
    }

    fn before_restart(&self, on: &On<'_>) -> Option<Step> {
        let lives = is_in_use(on.facts) && to_live_on(&settings(on.cluster, on.facts, on.supply.bundle));
        lives.then(|| on.step("docker.live-restore", "have Docker leave its containers running", LiveRestore))
    }

    fn cgroup_driver(&self, on: &On<'_>) -> &'static str {
        cgroup_driver(on.facts, on.supply.bundle)
    }

    fn kubelet_args(&self, on: &On<'_>) -> Vec<String> {
        options::with_docker(on)
    }

    fn images(&self) -> &'static Store {
        &resource::DOCKER
    }
}

/// Whether Docker runs here with a configuration that is not of this product.
pub(super) fn is_in_use(facts: &Facts) -> bool {
    facts.is_active(UNIT) && facts.files.get(CONFIG).is_none_or(|found| found.before.is_none())
}

/// Whether containers go on while the daemon is restarted.
pub(super) fn to_live_on(settings: &Settings) -> bool {
    settings.get("live-restore") == Some(&Value::Bool(true))
}

/// The whole file. One that says all of it already stays as it is, to the letter.
pub(super) fn config(cluster: &Cluster, facts: &Facts, bundle: Option<&Bundle>) -> String {
    let settings = settings(cluster, facts, bundle);
    let is = facts.files.get(CONFIG).and_then(|found| found.text.as_deref());
    match is.filter(|text| parse(Some(text)).is_ok_and(|is| is == settings)) {
        Some(text) => text.to_owned(),
        None => format!("{:#}\n", Value::Object(settings)),
    }
}

fn settings(cluster: &Cluster, facts: &Facts, bundle: Option<&Bundle>) -> Settings {
    // One that cannot be read is a problem of its own.
    let mut settings = site(facts).unwrap_or_default();
    add(&mut settings, ours(cluster, facts, bundle));
    settings
}

/// What the site has set.
///
/// # Errors
/// Why its file cannot be read.
pub(super) fn site(facts: &Facts) -> Result<Settings, String> {
    let Some(FoundFile { text, before, .. }) = facts.files.get(CONFIG) else { return Ok(Settings::new()) };
    let mut is = parse(text.as_deref())?;
    let Some(before) = before else { return Ok(is) };
    let before = parse(before.as_deref()).unwrap_or_default();
    is.retain(|key, _| !OURS.contains(&key.as_str()));
    is.extend(before.into_iter().filter(|(key, _)| OURS.contains(&key.as_str())));
    Ok(is)
}

fn parse(text: Option<&str>) -> Result<Settings, String> {
    let text = text.map(str::trim).filter(|text| !text.is_empty()).unwrap_or("{}");
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// What a cluster needs and sets. Where CentOS 7's Docker logs to, its cgroup driver and what flannel tells it are options of its
/// unit, and dockerd does not start when a file says so again; it knows `data-root` as `graph`.
fn ours(cluster: &Cluster, facts: &Facts, bundle: Option<&Bundle>) -> Settings {
    let mut ours = Settings::new();
    let mut set = |key: &str, value: Value| drop(ours.insert(key.to_owned(), value));
    set("live-restore", true.into());
    let is_1 = is_docker_1(facts, bundle);
    if !is_1 {
        set("exec-opts", json!([format!("{DRIVER}{}", cgroup_driver(facts, bundle))]));
        set("log-driver", "json-file".into());
        set("log-opts", json!({"max-size": "10m", "max-file": "3"}));
        for (key, value) in docker_bridge::of_pods(cluster, facts) {
            set(key, value);
        }
    }
    if let Some(address) = docker_bridge::address(cluster, facts) {
        set("bip", address.into());
    }
    if let Some(folder) = &cluster.settings.data_root {
        set(if is_1 { "graph" } else { "data-root" }, folder.clone().into());
    }
    for (key, registries) in [
        ("registry-mirrors", &cluster.settings.registry_mirrors),
        ("insecure-registries", &cluster.settings.insecure_registries),
    ] {
        if !registries.is_empty() {
            set(key, registries.clone().into());
        }
    }
    ours
}

/// Lists are put together. Of the rest what the site has set counts, and options of a log driver are for that driver.
fn add(settings: &mut Settings, mut ours: Settings) {
    if settings.contains_key("log-driver") {
        ours.remove("log-opts");
    }
    for (key, value) in ours {
        match (settings.get_mut(&key), value) {
            (Some(Value::Array(is)), Value::Array(more)) => {
                // The driver is what it is: `cgroup_driver`.
                let has_driver = driver(is.iter()).is_some();
                let is_new = |one: &Value| !(is.contains(one) || has_driver && driver([one]).is_some());
                let more: Vec<Value> = more.into_iter().filter(is_new).collect();
                is.extend(more);
            }
            (Some(_), _) => {}
            (None, value) => drop(settings.insert(key, value)),
        }
    }
}

/// The cgroup driver that these options name.
fn driver<'a>(options: impl IntoIterator<Item = &'a Value>) -> Option<&'static str> {
    let named = options.into_iter().filter_map(|option| option.as_str()?.strip_prefix(DRIVER)).next()?;
    ["systemd", "cgroupfs"].into_iter().find(|driver| *driver == named)
}

/// The site's, which its containers are made with, else what is best here.
fn cgroup_driver(facts: &Facts, bundle: Option<&Bundle>) -> &'static str {
    let site = site(facts).unwrap_or_default();
    let named = site.get("exec-opts").and_then(Value::as_array).and_then(driver);
    let usual = if is_docker_1(facts, bundle) || facts.cgroup_version == 2 { "systemd" } else { "cgroupfs" };
    named.unwrap_or(usual)
}

/// Whether it is Docker 1.x, which is the package of CentOS 7.
fn is_docker_1(facts: &Facts, bundle: Option<&Bundle>) -> bool {
    major("docker", bundle, facts) == Some(1)
}

/// Docker in use has read `live-restore`, which it does without being restarted: so its containers outlive that it is.
#[derive(Debug)]
struct LiveRestore;

const LOOK: &str = r#"systemctl -q is-active docker || exit 0
[ "$(docker info --format '{{.LiveRestoreEnabled}}' 2>/dev/null)" = true ] || echo "reload Docker's configuration""#;
const RELOAD: &str = r#"systemctl reload docker || kill -HUP "$(cat /run/docker.pid)" || exit
for n in 1 2 3 4 5 6 7 8 9 10; do
  [ "$(docker info --format '{{.LiveRestoreEnabled}}' 2>&1)" != true ] || exit 0
  sleep 1
done
journalctl -u docker -n 5 --no-pager -o cat >&2
exit 1"#;

impl Work for LiveRestore {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let look = Command::script(LOOK).label("docker info");
        let said = cx.host()?.run(&look)?.text();
        Ok(Check::from_changes(said.lines().map(str::to_owned).collect()))
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        cx.host()?.run_ok(&Command::script(RELOAD).label("systemctl reload docker"))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::kubernetes::options::rendered::{cluster, facts};

    fn found(text: Option<&str>, before: Option<Option<&str>>) -> FoundFile {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        FoundFile { mode: Some(0o600), text: owned(text), before: before.map(owned) }
    }

    /// The file for a host that has such a one, in a cluster with these settings.
    fn made(file: FoundFile, settings: &Value) -> String {
        let mut facts = facts(13);
        facts.files.insert(CONFIG.to_owned(), file);
        config(&cluster(13, &json!({"settings": settings})), &facts, None)
    }

    const SITE: &str = r#"{"data-root": "/srv/docker", "exec-opts": ["native.umask=normal"], "log-driver": "journald",
        "insecure-registries": ["10.0.0.5:5000"], "dns": ["10.0.0.53"]}"#;

    #[test]
    fn what_the_site_has_set_stays_and_what_it_has_not_is_added() {
        let settings = json!({"registry_mirrors": ["http://m"], "insecure_registries": ["r:5000", "10.0.0.5:5000"]});
        let once = made(found(Some(SITE), None), &settings);
        let expected = json!({
            "data-root": "/srv/docker", "dns": ["10.0.0.53"], "log-driver": "journald", "live-restore": true,
            "exec-opts": ["native.umask=normal", "native.cgroupdriver=cgroupfs"], "registry-mirrors": ["http://m"],
            "insecure-registries": ["10.0.0.5:5000", "r:5000"],
        });
        assert_eq!(serde_json::from_str::<Value>(&once).unwrap(), expected);
        assert_eq!(made(found(Some(&once), Some(Some(SITE))), &settings), once, "the next run finds the same");
        // What is set no more goes; what the site has added since stays.
        let since = once.replace("\"dns\"", "\"debug\": true, \"dns\"");
        let is: Value = serde_json::from_str(&made(found(Some(&since), Some(Some(SITE))), &json!({}))).unwrap();
        assert_eq!((&is["debug"], &is["insecure-registries"]), (&json!(true), &json!(["10.0.0.5:5000"])));
        assert_eq!(is.get("registry-mirrors"), None);
    }

    #[test]
    fn a_file_that_says_it_all_stays_to_the_letter() {
        let plain = made(FoundFile::default(), &json!({}));
        let compact = serde_json::from_str::<Value>(&plain).unwrap().to_string();
        assert_ne!(plain, compact);
        assert_eq!(made(found(Some(&compact), None), &json!({})), compact);
        assert_eq!(made(found(Some("\n"), None), &json!({})), plain, "an empty one says nothing");
        assert_eq!(made(found(Some(&plain), Some(None)), &json!({})), plain);
    }

    #[test]
    fn the_cgroup_driver_is_the_one_that_docker_in_use_has() {
        let mut facts = facts(13);
        assert_eq!(cgroup_driver(&facts, None), "cgroupfs");
        let text = r#"{"exec-opts": ["native.cgroupdriver=systemd"], "live-restore": false}"#;
        facts.files.insert(CONFIG.to_owned(), found(Some(text), None));
        assert_eq!(cgroup_driver(&facts, None), "systemd");
        let settings = settings(&cluster(13, &json!({})), &facts, None);
        assert_eq!(settings["exec-opts"], json!(["native.cgroupdriver=systemd"]));
        assert!(!to_live_on(&settings), "the site does not want it, as in a swarm");
    }
}
