//! Registries that a node's container runtime pulls from beside the run's own: the environment's and the site's, which it
//! trusts and logs in to, mirrors of docker.io, and registries without TLS. Upstream's names are asked of the first two first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::flow::problem::Problem;
use crate::flow::registry::Served;
use crate::flow::scene::Scene;
use crate::host::{Command, HostId, Secret, for_each};
use crate::plan::{Made, RunHost, Step, StepError};
use crate::resource::{FileSpec, Files, OnlyFiles, READS_RECORD};

use super::component::{Component, On};
use super::kept_registry;
use super::state::Cluster;

/// Where containerd looks for a folder with the name of a registry (containerd documentation, "Registry Configuration").
pub(super) const CONTAINERD: &str = "/etc/containerd/certs.d";
/// Docker's ("Verify repository client with certificates").
const DOCKER: &str = "/etc/docker/certs.d";
/// Where the kubelet looks for logins (Kubernetes documentation, "Images").
const LOGINS: &str = "/var/lib/kubelet/config.json";
/// The folder of registries that have none.
const ALL_OTHERS: &str = "_default";

/// The component: the registries of a node.
pub(super) struct Registries;

impl Component for Registries {
    fn is_on(&self, on: &On<'_>) -> bool {
        on.runs_pods()
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let files = files(on.cluster, on.supply.registries);
        // Also without any file: an earlier run may have known a registry, or made the host one.
        let without = kept_registry::unwanted(on);
        let files = OnlyFiles { files, within: &[CONTAINERD, DOCKER, LOGINS], without };
        vec![on.step("registries.configure", "let the container runtime know its registries", files)]
    }
}

/// The files from which the container runtime of a cluster's nodes knows its registries, the same on all nodes.
pub(super) fn files(cluster: &Cluster, registries: &[Served]) -> Files {
    let mut files = Vec::new();
    if cluster.containerd {
        for (folder, hosts) in folders(cluster, registries) {
            files.push(hosts.file(format!("{CONTAINERD}/{folder}/hosts.toml")));
        }
        for Served { address, ca, .. } in registries {
            files.extend(ca.clone().map(|ca| FileSpec::made(ca_path(address), ca)));
        }
    } else {
        for Served { names, ca, .. } in registries {
            let of = |name: &String| Some(FileSpec::made(format!("{DOCKER}/{name}/ca.crt"), ca.clone()?));
            files.extend(names.iter().filter_map(of));
        }
        files.extend(self::login(cluster, registries));
    }
    Files(files)
}

fn ca_path(address: &str) -> String {
    format!("{CONTAINERD}/{address}/ca.crt")
}

/// The kubelet's file of logins; containerd has them in its own.
pub(super) fn login(cluster: &Cluster, registries: &[Served]) -> Option<FileSpec> {
    let mut logins = BTreeMap::new();
    for Served { names, login, .. } in registries.iter().filter(|_| !cluster.containerd) {
        logins.extend(names.iter().filter_map(|name| Some((name.clone(), login.clone()?))));
    }
    (!logins.is_empty()).then(|| FileSpec::secret(LOGINS, Arc::new(Logins(logins)), "root"))
}

/// What is in the folder of each registry. A registry is reached by its own address, whatever name is asked for: a node need
/// not resolve it.
fn folders(cluster: &Cluster, registries: &[Served]) -> BTreeMap<String, Hosts> {
    let plain = |url: &String| Endpoint { url: url.clone(), ..Endpoint::default() };
    let mirrors: Vec<Endpoint> = registries.iter().map(Endpoint::of_upstream).collect();
    let mut folders = BTreeMap::new();
    let settings = &cluster.settings;
    for registry in &settings.insecure_registries {
        let url = format!("http://{registry}");
        let hosts = Hosts { server: Some(url.clone()), endpoints: vec![plain(&url)] };
        folders.insert(registry.clone(), hosts);
    }
    if !settings.registry_mirrors.is_empty() {
        let endpoints = mirrors.iter().cloned().chain(settings.registry_mirrors.iter().map(plain)).collect();
        folders.insert("docker.io".to_owned(), Hosts { server: None, endpoints });
    }
    for registry in registries {
        let own = Endpoint::of(registry);
        for name in &registry.names {
            folders.insert(name.clone(), Hosts { server: Some(own.url.clone()), endpoints: vec![own.clone()] });
        }
    }
    if !mirrors.is_empty() {
        folders.insert(ALL_OTHERS.to_owned(), Hosts { server: None, endpoints: mirrors });
    }
    folders
}

/// A server that is asked for images.
#[derive(Debug, Clone, Default)]
struct Endpoint {
    url: String,
    /// The URL is all that stands before an image's name: it has more than the server.
    whole: bool,
    /// The authority that it is trusted by.
    ca: Option<String>,
    /// In base64.
    login: Option<Arc<dyn Made>>,
}

impl Endpoint {
    /// For images that are named by it.
    fn of(registry: &Served) -> Self {
        let Served { address, ca, login, .. } = registry;
        let ca = ca.as_ref().map(|_| ca_path(address));
        Self { url: format!("https://{address}"), whole: false, ca, login: login.clone() }
    }

    /// For images by upstream's names.
    fn of_upstream(registry: &Served) -> Self {
        let own = Self::of(registry);
        match registry.prefix.as_str() {
            "" => own,
            prefix => Self { url: format!("{}/v2/{prefix}", own.url), whole: true, ..own },
        }
    }
}

/// A `hosts.toml`.
#[derive(Debug, Clone)]
struct Hosts {
    /// The registry itself, where its name does not say it.
    server: Option<String>,
    endpoints: Vec<Endpoint>,
}

impl Hosts {
    /// Only root reads a login.
    fn file(self, path: String) -> FileSpec {
        if self.endpoints.iter().any(|endpoint| endpoint.login.is_some()) {
            return FileSpec::secret(path, Arc::new(self), "root");
        }
        FileSpec::text(path, self.text(&[]))
    }

    /// `logins`: those of the servers, in base64, in their order.
    fn text(&self, logins: &[Option<Secret>]) -> String {
        // A JSON string is a basic string of TOML too.
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let mut text = "# Written by sunshine-installer.\n".to_owned();
        if let Some(server) = &self.server {
            text.push_str(&format!("server = {}\n", quoted(server)));
        }
        for (place, endpoint) in self.endpoints.iter().enumerate() {
            let url = quoted(&endpoint.url);
            text.push_str(&format!("[host.{url}]\n  capabilities = [\"pull\", \"resolve\"]\n"));
            if endpoint.whole {
                text.push_str("  override_path = true\n");
            }
            if let Some(ca) = &endpoint.ca {
                text.push_str(&format!("  ca = {}\n", quoted(ca)));
            }
            if let Some(Some(basic)) = logins.get(place) {
                let header = quoted(&format!("Basic {}", basic.expose()));
                text.push_str(&format!("  [host.{url}.header]\n    Authorization = [{header}]\n"));
            }
        }
        text
    }

    fn logins(&self) -> impl Iterator<Item = &Arc<dyn Made>> {
        self.endpoints.iter().filter_map(|endpoint| endpoint.login.as_ref())
    }
}

impl Made for Hosts {
    fn name(&self) -> String {
        let logins: Vec<String> = self.logins().map(|login| login.name()).collect();
        format!("hosts.toml with {}", logins.join(", "))
    }

    fn content(&self) -> Result<Option<Secret>, StepError> {
        let mut logins = Vec::new();
        for endpoint in &self.endpoints {
            let login = endpoint.login.as_ref().map(|login| login.content()).transpose()?;
            match login {
                Some(None) => return Ok(None),
                Some(login) => logins.push(login),
                None => logins.push(None),
            }
        }
        Ok(Some(Secret::new(self.text(&logins))))
    }

    fn missing(&self) -> Result<Vec<String>, StepError> {
        missing(self.logins())
    }

    fn make(&self) -> Result<(), StepError> {
        self.logins().try_for_each(|login| login.make())
    }
}

fn missing<'a>(logins: impl Iterator<Item = &'a Arc<dyn Made>>) -> Result<Vec<String>, StepError> {
    let mut missing = BTreeSet::new();
    for login in logins {
        missing.extend(login.missing()?);
    }
    Ok(missing.into_iter().collect())
}

/// The kubelet's `config.json`, in the form of Docker's: logins in base64, by registry.
#[derive(Debug)]
struct Logins(BTreeMap<String, Arc<dyn Made>>);

impl Made for Logins {
    fn name(&self) -> String {
        "config.json".to_owned()
    }

    fn content(&self) -> Result<Option<Secret>, StepError> {
        let mut auths = serde_json::Map::new();
        for (name, login) in &self.0 {
            let Some(basic) = login.content()? else { return Ok(None) };
            auths.insert(name.clone(), serde_json::json!({"auth": basic.expose()}));
        }
        Ok(Some(Secret::new(format!("{:#}\n", serde_json::json!({"auths": auths})))))
    }

    fn missing(&self) -> Result<Vec<String>, StepError> {
        missing(self.0.values())
    }

    fn make(&self) -> Result<(), StepError> {
        self.0.values().try_for_each(|login| login.make())
    }
}

/// `FILE…`: prints those that are there and that no run of this product wrote; nothing where only root may read the record.
const FOREIGN: &str = r#"[ ! -d "$d" ] || [ -x "$d" ] || exit 0
ours=$(names file)
for p; do
  [ -e "$p" ] || continue
  printf '%s\n' "$ours" | grep -qxF -- "$p" || printf '%s\n' "$p"
done"#;

/// Files of the site at the places of ours: they are named, and nothing is changed.
pub(super) fn conflicts(hosts: &[(&RunHost, Files)], scene: &Scene<'_>) -> Vec<Problem> {
    let looks = for_each(hosts, scene.options.forks, |(host, files)| {
        let paths = files.0.iter().map(|file| file.path.clone());
        let look = Command::script_with(READS_RECORD, FOREIGN).args(paths).label("look for files of the site");
        host.host.run_ok(&look).map(|output| output.text())
    });
    let mut problems = Vec::new();
    for ((host, _), look) in hosts.iter().zip(looks) {
        let name: &HostId = host.host.name();
        match look {
            Some(Ok(text)) => problems.extend(text.lines().map(|path| {
                let help = "put what it says into cluster.yaml (registryMirrors, insecureRegistries), and move it away";
                Problem::error(name, format!("{path} is the site's own; the cluster needs one there"), help)
            })),
            Some(Err(error)) => problems.push(Problem::error(name, error.to_string(), "see the log")),
            None => problems.push(Problem::error(name, "the look at its files ended unexpectedly", "see the log")),
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::flow::pki::Pki;
    use crate::flow::registry::Registries;
    use crate::resource::Content;

    /// A cluster with a mirror and a registry without TLS, and what its nodes get to know of a registry.
    fn rendered(containerd: bool, users: &Value) -> BTreeMap<String, String> {
        let cluster: Cluster = serde_json::from_value(json!({
            "settings": {"registry_mirrors": ["https://m.example"], "insecure_registries": ["plain.example:5000"]},
            "network": "direct", "containerd": containerd, "etcd": {"endpoints": [], "tls": false},
            "control_plane": {}, "workers": {},
        }))
        .unwrap();
        let machine = json!({"name": "host3", "address": "10.0.0.3"});
        let own = json!({"port": 5000, "storage": "/r", "users": users, "hosts": {"r.example": machine}});
        let site = json!({"address": "harbor.corp", "prefix": "k8s", "ca_file": null, "user": "robot"});
        let registries = Registries {
            own: Some(serde_json::from_value(own).unwrap()),
            site: Some(serde_json::from_value(site).unwrap()),
        };
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::new(camino::Utf8Path::from_path(dir.path()).unwrap().join("pki"), false);
        pki.given("site-registry", "password", Some(Secret::new("geheim"))).make().unwrap();
        let registries = registries.served(&pki);
        for registry in &registries {
            registry.ca.iter().chain(&registry.login).for_each(|made| made.make().unwrap());
        }
        let text = |file: &FileSpec| match &file.content {
            Content::Bytes(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            Content::Made(made) => made.content().unwrap().unwrap().expose().to_owned(),
            Content::Program => panic!("no node gets the program"),
        };
        let files = files(&cluster, &registries);
        for file in &files.0 {
            assert_eq!(file.meta.mode == 0o600, text(file).contains("Basic ") || file.path == LOGINS, "{}", file.path);
        }
        files.0.iter().map(|file| (file.path.clone(), text(file))).collect()
    }

    #[test]
    fn containerd_asks_the_registry_by_its_address_for_each_of_its_names_and_for_all_others() {
        let files = rendered(true, &json!({"dev": "$2y$"}));
        let hosts = |name: &str| files[&format!("{CONTAINERD}/{name}/hosts.toml")].clone();
        for name in ["10.0.0.3:5000", "host3:5000", "r.example:5000", ALL_OTHERS] {
            assert!(hosts(name).contains("[host.\"https://10.0.0.3:5000\"]\n"), "{}", hosts(name));
            assert!(hosts(name).contains("ca = \"/etc/containerd/certs.d/10.0.0.3:5000/ca.crt\""), "{}", hosts(name));
            assert!(hosts(name).contains("Authorization = [\"Basic "), "{}", hosts(name));
        }
        let upstream = hosts(ALL_OTHERS);
        assert!(!upstream.contains("server ="));
        let prefixed =
            "[host.\"https://harbor.corp/v2/k8s\"]\n  capabilities = [\"pull\", \"resolve\"]\n  override_path = true\n";
        assert!(upstream.find("10.0.0.3:5000") < upstream.find(prefixed) && upstream.contains(prefixed), "{upstream}");
        let site = hosts("harbor.corp");
        // robot:geheim
        assert!(
            site.contains("server = \"https://harbor.corp\"\n") && site.contains("Basic cm9ib3Q6Z2VoZWlt"),
            "{site}"
        );
        assert!(!site.contains("override_path") && !site.contains("ca ="), "{site}");
        let (own, mirror) = ("[host.\"https://10.0.0.3:5000\"]", "[host.\"https://m.example\"]");
        assert!(hosts("docker.io").find(own) < hosts("docker.io").find(mirror));
        assert!(hosts("plain.example:5000").contains("server = \"http://plain.example:5000\"\n[host.\"http://"));
        let anonymous = rendered(true, &json!({}));
        assert!(!anonymous[&format!("{CONTAINERD}/10.0.0.3:5000/hosts.toml")].contains("Basic"), "no users, no login");
    }

    #[test]
    fn docker_trusts_its_names_and_the_kubelet_logs_in() {
        let files = rendered(false, &json!({"dev": "$2y$"}));
        let logins: Value = serde_json::from_str(&files[LOGINS]).unwrap();
        for name in ["10.0.0.3:5000", "host3:5000", "r.example:5000"] {
            assert!(files[&format!("{DOCKER}/{name}/ca.crt")].starts_with("-----BEGIN CERTIFICATE"));
            assert!(logins["auths"][name]["auth"].is_string());
        }
        assert!(logins["auths"]["harbor.corp"]["auth"].is_string());
        assert!(!files.contains_key(&format!("{DOCKER}/harbor.corp/ca.crt")), "hosts trust it anyway");
        let logins: Value = serde_json::from_str(&rendered(false, &json!({}))[LOGINS]).unwrap();
        assert!(logins["auths"]["10.0.0.3:5000"].is_null(), "no users, no login");
    }
}
