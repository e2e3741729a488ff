//! Registries that a node's container runtime pulls from beside the run's own: the environment's, which it trusts and logs in
//! to, mirrors of docker.io, and registries without TLS. Upstream's names are asked of the environment's registry first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::flow::pki::Pki;
use crate::flow::problem::Problem;
use crate::flow::registry::{NodeLogin, Registry};
use crate::flow::scene::Scene;
use crate::host::{Command, HostId, Secret, for_each};
use crate::plan::{Made, RunHost, Step, StepError};
use crate::resource::{FileSpec, Files, OnlyFiles, READS_RECORD};

use super::component::{Component, On};
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
        let files = files(on.cluster, on.supply.registry, on.keys.pki());
        // Also without any file: an earlier run may have known a registry.
        let files = OnlyFiles { files, within: &[CONTAINERD, DOCKER, LOGINS] };
        vec![on.step("registries.configure", "let the container runtime know its registries", files)]
    }
}

/// The files from which the container runtime of a cluster's nodes knows its registries, the same on all nodes.
pub(super) fn files(cluster: &Cluster, registry: Option<&Registry>, pki: &Pki) -> Files {
    let login = registry.filter(|r| !r.users.is_empty()).map(|_| NodeLogin::new(pki));
    let ca = || Registry::authority(pki).cert();
    let names: BTreeMap<String, String> = registry.map(Registry::names).unwrap_or_default();
    let mut files = Vec::new();
    if cluster.containerd {
        let addresses: BTreeSet<&String> = names.values().collect();
        let trusted = |address: &&String| Endpoint {
            url: format!("https://{address}"),
            ca: Some(format!("{CONTAINERD}/{address}/ca.crt")),
            login: login.clone(),
        };
        let own: Vec<Endpoint> = addresses.iter().map(trusted).collect();
        for (folder, hosts) in folders(cluster, own, &names) {
            files.push(hosts.file(format!("{CONTAINERD}/{folder}/hosts.toml")));
        }
        files.extend(addresses.iter().map(|address| FileSpec::made(format!("{CONTAINERD}/{address}/ca.crt"), ca())));
    } else {
        files.extend(names.keys().map(|name| FileSpec::made(format!("{DOCKER}/{name}/ca.crt"), ca())));
        files.extend(self::login(cluster, registry, pki));
    }
    Files(files)
}

/// The kubelet's file of logins; containerd has them in its own.
pub(super) fn login(cluster: &Cluster, registry: Option<&Registry>, pki: &Pki) -> Option<FileSpec> {
    let registry = registry.filter(|registry| !registry.users.is_empty() && !cluster.containerd)?;
    let logins = Logins { names: registry.names().into_keys().collect(), login: NodeLogin::new(pki) };
    Some(FileSpec::secret(LOGINS, Arc::new(logins), "root"))
}

/// What is in the folder of each registry. The environment's own is reached by its address, whatever name is asked for: a node
/// need not resolve it.
fn folders(cluster: &Cluster, own: Vec<Endpoint>, names: &BTreeMap<String, String>) -> BTreeMap<String, Hosts> {
    let plain = |url: &String| Endpoint { url: url.clone(), ca: None, login: None };
    let mut folders = BTreeMap::new();
    let settings = &cluster.settings;
    for registry in &settings.insecure_registries {
        let url = format!("http://{registry}");
        let hosts = Hosts { server: Some(url.clone()), endpoints: vec![plain(&url)] };
        folders.insert(registry.clone(), hosts);
    }
    if !settings.registry_mirrors.is_empty() {
        let endpoints = own.iter().cloned().chain(settings.registry_mirrors.iter().map(plain)).collect();
        folders.insert("docker.io".to_owned(), Hosts { server: None, endpoints });
    }
    for (name, address) in names {
        let url = format!("https://{address}");
        let endpoints: Vec<Endpoint> = own.iter().filter(|endpoint| endpoint.url == url).cloned().collect();
        folders.insert(name.clone(), Hosts { server: Some(url), endpoints });
    }
    if !own.is_empty() {
        folders.insert(ALL_OTHERS.to_owned(), Hosts { server: None, endpoints: own });
    }
    folders
}

/// A server that is asked for images.
#[derive(Debug, Clone)]
struct Endpoint {
    url: String,
    /// The authority that it is trusted by.
    ca: Option<String>,
    login: Option<NodeLogin>,
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
        FileSpec::text(path, self.text(None))
    }

    /// `basic`: the login, in base64.
    fn text(&self, basic: Option<&str>) -> String {
        // A JSON string is a basic string of TOML too.
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let mut text = "# Written by sunshine-installer.\n".to_owned();
        if let Some(server) = &self.server {
            text.push_str(&format!("server = {}\n", quoted(server)));
        }
        for endpoint in &self.endpoints {
            let url = quoted(&endpoint.url);
            text.push_str(&format!("[host.{url}]\n  capabilities = [\"pull\", \"resolve\"]\n"));
            if let Some(ca) = &endpoint.ca {
                text.push_str(&format!("  ca = {}\n", quoted(ca)));
            }
            if let Some(basic) = basic.filter(|_| endpoint.login.is_some()) {
                let header = quoted(&format!("Basic {basic}"));
                text.push_str(&format!("  [host.{url}.header]\n    Authorization = [{header}]\n"));
            }
        }
        text
    }

    fn login(&self) -> Option<&NodeLogin> {
        self.endpoints.iter().find_map(|endpoint| endpoint.login.as_ref())
    }
}

impl Made for Hosts {
    fn name(&self) -> String {
        "hosts.toml".to_owned()
    }

    fn content(&self) -> Result<Option<Secret>, StepError> {
        let basic = self.login().map(NodeLogin::basic).transpose()?.flatten();
        Ok(basic.map(|basic| Secret::new(self.text(Some(basic.expose())))))
    }

    fn missing(&self) -> Result<Vec<String>, StepError> {
        self.login().map_or(Ok(Vec::new()), |login| login.key().missing())
    }

    fn make(&self) -> Result<(), StepError> {
        self.login().map_or(Ok(()), |login| login.key().make())
    }
}

/// The kubelet's `config.json`, in the form of Docker's.
#[derive(Debug)]
struct Logins {
    names: Vec<String>,
    login: NodeLogin,
}

impl Made for Logins {
    fn name(&self) -> String {
        "config.json".to_owned()
    }

    fn content(&self) -> Result<Option<Secret>, StepError> {
        let Some(basic) = self.login.basic()? else { return Ok(None) };
        let login = |name: &String| (name.clone(), serde_json::json!({"auth": basic.expose()}));
        let auths: serde_json::Map<String, serde_json::Value> = self.names.iter().map(login).collect();
        Ok(Some(Secret::new(format!("{:#}\n", serde_json::json!({"auths": auths})))))
    }

    fn missing(&self) -> Result<Vec<String>, StepError> {
        self.login.key().missing()
    }

    fn make(&self) -> Result<(), StepError> {
        self.login.key().make()
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
        let registry = json!({"port": 5000, "storage": "/r", "users": users, "hosts": {"r.example": machine}});
        let registry: Registry = serde_json::from_value(registry).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::new(camino::Utf8Path::from_path(dir.path()).unwrap().join("pki"), false);
        Registry::authority(&pki).cert().make().unwrap();
        NodeLogin::new(&pki).key().make().unwrap();
        let text = |file: &FileSpec| match &file.content {
            Content::Bytes(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            Content::Made(made) => made.content().unwrap().unwrap().expose().to_owned(),
        };
        let files = files(&cluster, Some(&registry), &pki);
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
        assert!(!hosts(ALL_OTHERS).contains("server ="));
        let (own, mirror) = ("[host.\"https://10.0.0.3:5000\"]", "[host.\"https://m.example\"]");
        assert!(hosts("docker.io").find(own) < hosts("docker.io").find(mirror));
        assert!(hosts("plain.example:5000").contains("server = \"http://plain.example:5000\"\n[host.\"http://"));
        assert!(rendered(true, &json!({})).values().all(|text| !text.contains("Basic")), "no users, no login");
    }

    #[test]
    fn docker_trusts_its_names_and_the_kubelet_logs_in() {
        let files = rendered(false, &json!({"dev": "$2y$"}));
        let logins: Value = serde_json::from_str(&files[LOGINS]).unwrap();
        for name in ["10.0.0.3:5000", "host3:5000", "r.example:5000"] {
            assert!(files[&format!("{DOCKER}/{name}/ca.crt")].starts_with("-----BEGIN CERTIFICATE"));
            assert!(logins["auths"][name]["auth"].is_string());
        }
        assert!(!rendered(false, &json!({})).contains_key(LOGINS));
    }
}
