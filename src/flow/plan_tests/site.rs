//! What a case of a plan starts from: hosts, a bundle and kept state, constructed.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use payload::{Bundle, MemberKind, NewMember, RpmId, Source};
use serde_json::{Value, json};

use crate::deliver::{Delivery, RouteChoice};
use crate::host::{Evr, Facts, HostId, Interface, TargetDefaults, UnitState};
use crate::packages::InstallOptions;
use crate::plan::Plan;

use super::super::constructed::bundle_of;
use super::super::etcd::Found;
use super::super::job::make_plan;
use super::super::operations::checked_flows;
use super::super::ownership::Share;
use super::super::request::{Operation, RunOptions};
use super::super::scene::{Asked, Seen};
use super::super::state::Environment;

pub(super) const TOKEN: &str = "sunshine-0123456789abcdef";
pub(super) const DNS: &str = "kind: Service\nspec:\n  clusterIP: 10.254.0.10\n  ports:\n  - port: 53\n";

/// What a case starts from.
pub(super) struct Site {
    pub(super) dir: tempfile::TempDir,
    pub(super) facts: BTreeMap<HostId, Facts>,
    pub(super) found: BTreeMap<HostId, Found>,
    pub(super) bundle: Option<Bundle>,
    pub(super) hold: bool,
}

impl Site {
    /// Hosts `10.0.0.1` and so on, called `host1` and so on, with nothing on them.
    pub(super) fn new(hosts: u8) -> Self {
        let facts = (1..=hosts).map(|n| (id(n), facts(n))).collect();
        Self { dir: tempfile::tempdir().unwrap(), facts, found: BTreeMap::new(), bundle: None, hold: false }
    }

    pub(super) fn root(&self) -> Utf8PathBuf {
        Utf8Path::from_path(self.dir.path()).unwrap().to_owned()
    }

    /// With a bundle of these packages (`NAME-VERSION`), images, and manifests.
    pub(super) fn bundle(mut self, packages: &[&str], images: &[&str], manifests: &[(&str, MemberKind, &str)]) -> Self {
        let rpm = |package: &&str| {
            let (name, version) = package.rsplit_once('-').unwrap();
            let (name, version, release, arch) = (name.into(), version.into(), "1".into(), "x86_64".into());
            let id = RpmId { name, epoch: 0, version, release, arch };
            member(&format!("rpms/{package}-1.x86_64.rpm"), MemberKind::Rpm, package.as_bytes(), Some(id))
        };
        let image = |name: &&str| {
            let file = name.replace([':', '/'], "_");
            member(&format!("images/{file}.tar"), MemberKind::Image, &saved(name), None)
        };
        let manifest = |(name, kind, text): &(&str, MemberKind, &str)| {
            member(&format!("manifests/{name}"), *kind, text.as_bytes(), None)
        };
        let members = packages.iter().map(rpm).chain(images.iter().map(image)).chain(manifests.iter().map(manifest));
        self.bundle = Some(bundle_of(members.collect(), &self.root().join("test.bin")).unwrap());
        self
    }

    /// The hosts are changed first.
    pub(super) fn hosts(mut self, change: impl Fn(&str, &mut Facts)) -> Self {
        self.facts.iter_mut().for_each(|(host, facts)| change(host, facts));
        self
    }

    pub(super) fn without(mut self, host: u8) -> Self {
        self.facts.remove(&id(host));
        self
    }

    /// These hosts hold data of the etcd cluster that is kept.
    pub(super) fn with_data(mut self, hosts: impl IntoIterator<Item = u8>) -> Self {
        let ours = || Found { has_data: true, token: Some(TOKEN.into()), running: true };
        self.found.extend(hosts.into_iter().map(|n| (id(n), ours())));
        self
    }

    /// An etcd cluster of these hosts is kept.
    pub(super) fn etcd(self, hosts: impl IntoIterator<Item = u8>, standing: bool) -> Self {
        let member = |n| {
            let joining = json!({"new": "host1=https://10.0.0.1:2380"});
            (address(n), json!({"name": format!("host{n}"), "address": address(n), "joining": joining}))
        };
        let members: serde_json::Map<String, Value> = hosts.into_iter().map(member).collect();
        let cluster = json!({"token": TOKEN, "tls": true, "standing": standing, "members": members});
        self.keep("etcd", &cluster)
    }

    /// A Kubernetes cluster is kept, beside etcd on its control plane nodes.
    pub(super) fn cluster(self, control_plane: &[u8], workers: &[u8], more: &Value) -> Self {
        let machine = |n: u8| json!({"name": format!("host{n}"), "address": address(n)});
        let node = |(subnet, n): (usize, &u8)| {
            let mut node = machine(*n);
            node["subnet"] = subnet.into();
            (address(*n), node)
        };
        let control_plane: serde_json::Map<String, Value> =
            control_plane.iter().map(|n| (address(*n), machine(*n))).collect();
        let workers: serde_json::Map<String, Value> = workers.iter().enumerate().map(node).collect();
        let mut cluster = json!({
            "settings": {}, "network": "direct", "minor": 20, "balanced": true, "standing": true,
            "etcd": {"endpoints": ["https://10.0.0.1:2379"], "tls": true}, "control_plane": control_plane, "workers": workers,
        });
        cluster.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.keep("kubernetes", &cluster)
    }

    pub(super) fn keep(self, file: &str, value: &Value) -> Self {
        Environment::open(&self.root(), "e").unwrap().save(file, value).unwrap();
        self
    }

    /// The plan of these operations, a line a step; or why there is none. What is on disk afterwards is what was before.
    pub(super) fn plan(&self, operations: &[Operation]) -> String {
        let before = files(&self.root());
        let planned = self.try_plan(operations).map_or_else(|e| format!("error: {e}\n"), |plan| written(&plan));
        assert_eq!(files(&self.root()), before, "planning has written something");
        let again = self.try_plan(operations).map_or_else(|e| format!("error: {e}\n"), |plan| written(&plan));
        assert_eq!(planned, again, "the same plan every time");
        planned
    }

    pub(super) fn try_plan(&self, operations: &[Operation]) -> Result<Plan, crate::flow::FlowError> {
        let environment = Environment::look(&self.root(), "e").unwrap();
        let options = RunOptions { login: logins(), ..RunOptions::default() };
        let asked = Asked { environment: &environment, bundle: self.bundle.as_ref(), options: &options };
        let (mut flows, _) = checked_flows(operations, &asked)?;
        let install = InstallOptions { hold: self.hold, ..InstallOptions::default() };
        let delivery = Delivery::new(None, RouteChoice::Auto);
        let mut seen = Seen::new(&environment, self.bundle.as_ref(), self.facts.iter().collect(), install, delivery);
        let found = |host: &HostId| (host.clone(), self.found.get(host).cloned().unwrap_or_default());
        seen.etcd_found = self.facts.keys().map(found).collect();
        // Everything there is the environment's own.
        let share = Share { node: true, undo: Some(Vec::new()), data: true, foreign_data: None };
        seen.shares = self.facts.keys().map(|host| (host.clone(), share.clone())).collect();
        TOKEN.clone_into(&mut seen.fresh_token);
        make_plan(&mut flows, &mut seen)
    }
}

/// The plan with what its steps own, and what is made for it.
pub(super) fn written(plan: &Plan) -> String {
    let mut text = String::new();
    for step in &plan.steps {
        text.push_str(&plan_line(step));
    }
    text
}

pub(super) fn plan_line(step: &crate::plan::Step) -> String {
    let after: Vec<&str> = step.after.iter().map(|edge| edge.id().as_str()).collect();
    let mut line = format!("{}: {}", step.id, step.title);
    if !after.is_empty() {
        line.push_str(&format!("  [after {}]", after.join(", ")));
    }
    line.push('\n');
    for owned in step.work.owns() {
        line.push_str(&match owned.kind {
            "file" | "unit" => format!("    {}\n", owned.name),
            _ => format!("    {owned}\n"),
        });
    }
    if step.title == "undo the recorded changes" {
        line.push_str(&format!("{:#?}\n", step.work));
    }
    line
}

pub(super) fn address(n: u8) -> String {
    format!("10.0.0.{n}")
}

pub(super) fn id(n: u8) -> HostId {
    address(n).into()
}

pub(super) fn facts(n: u8) -> Facts {
    let ip = address(n).parse().unwrap();
    Facts {
        hostname: format!("host{n}"),
        addresses: vec![ip],
        route_address: Some(ip),
        route_interface: Some("eth0".into()),
        selinux: "Disabled".into(),
        cgroup_version: 2,
        ..Facts::default()
    }
}

/// Its interface has an address of IPv6 too.
pub(super) fn with_ipv6(host: &str, facts: &mut Facts) {
    let number = host.rsplit('.').next().unwrap();
    facts.addresses.push(format!("fd00::{number}").parse().unwrap());
    let (addresses, lasting) = (facts.addresses.clone(), facts.addresses.clone());
    facts.interfaces = vec![Interface { name: "eth0".into(), mtu: None, addresses, lasting }];
}

pub(super) fn firewalld(facts: &mut Facts) {
    let active = UnitState { active: "active".into(), enabled: "enabled".into() };
    facts.units.insert("firewalld".into(), active);
}

/// NetworkManager is installed.
pub(super) fn network_manager(facts: &mut Facts) {
    let evr = Evr { epoch: 1, version: "1.48.10".into(), release: "2.el9".into() };
    facts.packages.insert("NetworkManager".into(), evr);
}

/// The distribution server is installed.
pub(super) fn has_distribution(facts: &mut Facts) {
    let evr = Evr { epoch: 0, version: "3.1.2".into(), release: "1".into() };
    facts.packages.insert("docker-distribution".into(), evr);
}

pub(super) fn member(name: &str, kind: MemberKind, bytes: &[u8], rpm: Option<RpmId>) -> NewMember {
    let (name, source) = (name.to_owned(), Source::Bytes(bytes.to_vec()));
    NewMember { name, kind, source, rpm, mtime: 1_700_000_000, sha256: None }
}

/// An image as `docker save` writes it, as far as it is read.
pub(super) fn saved(name: &str) -> Vec<u8> {
    let manifest = json!([{"RepoTags": [name], "Layers": []}]).to_string();
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(manifest.len() as u64);
    archive.append_data(&mut header, "manifest.json", manifest.as_bytes()).unwrap();
    archive.into_inner().unwrap()
}

/// Everything below a folder, with its content.
pub(super) fn files(dir: &Utf8Path) -> BTreeMap<Utf8PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in dir.read_dir_utf8().unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            all.extend(files(entry.path()));
        } else {
            all.insert(entry.path().to_owned(), std::fs::read(entry.path()).unwrap());
        }
    }
    all
}

pub(super) fn logins() -> TargetDefaults {
    let mut defaults = TargetDefaults::default();
    defaults.auth.password = Some(crate::host::Secret::new("x"));
    defaults
}
