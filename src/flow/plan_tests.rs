//! The plans of all operations, as a function of request, stored state and facts: no host is there, and nothing is written.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use payload::{Bundle, MemberKind, NewMember, RpmId, Source};
use serde_json::{Value, json};

use crate::deliver::{Delivery, RouteChoice};
use crate::host::{Facts, HostId, Secret, Target, TargetDefaults, UnitState};
use crate::packages::InstallOptions;
use crate::plan::Plan;

use super::constructed::bundle_of;
use super::etcd::Found;
use super::job::make_plan;
use super::operations::checked_flows;
use super::request::{
    ClusterChange, ClusterCreate, ClusterRemove, ClusterReset, ClusterSettings, EtcdChange, EtcdCreate, Network,
    Operation, RegistryCreate, RegistrySettings, RegistryUser, RunOptions, Runtime,
};
use super::scene::{Asked, Seen};
use super::state::Environment;

const TOKEN: &str = "sunshine-0123456789abcdef";
const DNS: &str = "kind: Service\nspec:\n  clusterIP: 10.254.0.10\n  ports:\n  - port: 53\n";

/// What a case starts from.
struct Site {
    dir: tempfile::TempDir,
    facts: BTreeMap<HostId, Facts>,
    found: BTreeMap<HostId, Found>,
    bundle: Option<Bundle>,
    hold: bool,
}

impl Site {
    /// Hosts `10.0.0.1` and so on, called `host1` and so on, with nothing on them.
    fn new(hosts: u8) -> Self {
        let facts = (1..=hosts).map(|n| (id(n), facts(n))).collect();
        Self { dir: tempfile::tempdir().unwrap(), facts, found: BTreeMap::new(), bundle: None, hold: false }
    }

    fn root(&self) -> Utf8PathBuf {
        Utf8Path::from_path(self.dir.path()).unwrap().to_owned()
    }

    /// With a bundle of these packages (`NAME-VERSION`), images, and manifests.
    fn bundle(mut self, packages: &[&str], images: &[&str], manifests: &[(&str, MemberKind, &str)]) -> Self {
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
    fn hosts(mut self, change: impl Fn(&str, &mut Facts)) -> Self {
        self.facts.iter_mut().for_each(|(host, facts)| change(host, facts));
        self
    }

    fn without(mut self, host: u8) -> Self {
        self.facts.remove(&id(host));
        self
    }

    /// These hosts hold data of the etcd cluster that is kept.
    fn with_data(mut self, hosts: impl IntoIterator<Item = u8>) -> Self {
        let ours = || Found { has_data: true, token: Some(TOKEN.into()), running: true };
        self.found.extend(hosts.into_iter().map(|n| (id(n), ours())));
        self
    }

    /// An etcd cluster of these hosts is kept.
    fn etcd(self, hosts: impl IntoIterator<Item = u8>, standing: bool) -> Self {
        let member = |n| {
            let joining = json!({"new": "host1=https://10.0.0.1:2380"});
            (address(n), json!({"name": format!("host{n}"), "address": address(n), "joining": joining}))
        };
        let members: serde_json::Map<String, Value> = hosts.into_iter().map(member).collect();
        let cluster = json!({"token": TOKEN, "tls": true, "standing": standing, "members": members});
        self.keep("etcd", &cluster)
    }

    /// A Kubernetes cluster is kept, beside etcd on its control plane nodes.
    fn cluster(self, control_plane: &[u8], workers: &[u8], more: &Value) -> Self {
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

    fn keep(self, file: &str, value: &Value) -> Self {
        Environment::open(&self.root(), "e").unwrap().save(file, value).unwrap();
        self
    }

    /// The plan of these operations, a line a step; or why there is none. What is on disk afterwards is what was before.
    fn plan(&self, operations: &[Operation]) -> String {
        let before = files(&self.root());
        let planned = self.try_plan(operations).map_or_else(|e| format!("error: {e}\n"), |plan| written(&plan));
        assert_eq!(files(&self.root()), before, "planning has written something");
        let again = self.try_plan(operations).map_or_else(|e| format!("error: {e}\n"), |plan| written(&plan));
        assert_eq!(planned, again, "the same plan every time");
        planned
    }

    fn try_plan(&self, operations: &[Operation]) -> Result<Plan, super::FlowError> {
        let environment = Environment::look(&self.root(), "e").unwrap();
        let options = RunOptions { login: logins(), ..RunOptions::default() };
        let asked = Asked { environment: &environment, bundle: self.bundle.as_ref(), options: &options };
        let (mut flows, _) = checked_flows(operations, &asked)?;
        let install = InstallOptions { hold: self.hold, ..InstallOptions::default() };
        let delivery = Delivery::new(None, RouteChoice::Auto);
        let mut seen = Seen::new(&environment, self.bundle.as_ref(), self.facts.iter().collect(), install, delivery);
        let found = |host: &HostId| (host.clone(), self.found.get(host).cloned().unwrap_or_default());
        seen.etcd_found = self.facts.keys().map(found).collect();
        TOKEN.clone_into(&mut seen.fresh_token);
        make_plan(&mut flows, &mut seen)
    }
}

/// The plan with what its steps own, and what is made for it.
fn written(plan: &Plan) -> String {
    let mut text = String::new();
    for step in &plan.steps {
        text.push_str(&plan_line(step));
    }
    text
}

fn plan_line(step: &crate::plan::Step) -> String {
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

fn address(n: u8) -> String {
    format!("10.0.0.{n}")
}

fn id(n: u8) -> HostId {
    address(n).into()
}

fn facts(n: u8) -> Facts {
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

fn firewalld(facts: &mut Facts) {
    let active = UnitState { active: "active".into(), enabled: "enabled".into() };
    facts.units.insert("firewalld".into(), active);
}

fn member(name: &str, kind: MemberKind, bytes: &[u8], rpm: Option<RpmId>) -> NewMember {
    let (name, source) = (name.to_owned(), Source::Bytes(bytes.to_vec()));
    NewMember { name, kind, source, rpm, mtime: 1_700_000_000, sha256: None }
}

/// An image as `docker save` writes it, as far as it is read.
fn saved(name: &str) -> Vec<u8> {
    let manifest = json!([{"RepoTags": [name], "Layers": []}]).to_string();
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(manifest.len() as u64);
    archive.append_data(&mut header, "manifest.json", manifest.as_bytes()).unwrap();
    archive.into_inner().unwrap()
}

/// Everything below a folder, with its content.
fn files(dir: &Utf8Path) -> BTreeMap<Utf8PathBuf, Vec<u8>> {
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

fn logins() -> TargetDefaults {
    let mut defaults = TargetDefaults::default();
    defaults.auth.password = Some(crate::host::Secret::new("x"));
    defaults
}

fn targets(hosts: impl IntoIterator<Item = u8>) -> Vec<Target> {
    hosts.into_iter().map(|n| Target::parse(&address(n), &logins()).unwrap()).collect()
}

fn etcd(hosts: impl IntoIterator<Item = u8>) -> Operation {
    etcd_with(hosts, true, &[])
}

fn etcd_with(hosts: impl IntoIterator<Item = u8>, tls: bool, wipe: &[u8]) -> Operation {
    let wipe_data = wipe.iter().map(|n| address(*n)).collect();
    Operation::EtcdCreate(EtcdCreate { members: targets(hosts), rpms: Vec::new(), tls, wipe_data })
}

fn members(hosts: impl IntoIterator<Item = u8>) -> EtcdChange {
    EtcdChange { members: targets(hosts), rpms: Vec::new(), force: false }
}

fn cluster(control_plane: &[u8], workers: &[u8], settings: ClusterSettings) -> Operation {
    Operation::ClusterCreate(Box::new(ClusterCreate {
        control_plane: targets(control_plane.iter().copied()),
        workers: targets(workers.iter().copied()),
        etcd: Vec::new(),
        control_plane_rpms: Vec::new(),
        worker_rpms: Vec::new(),
        settings,
    }))
}

fn add(control_plane: &[u8], workers: &[u8], etcd: &[u8]) -> Operation {
    let of = |hosts: &[u8]| targets(hosts.iter().copied());
    let change = ClusterChange {
        control_plane: of(control_plane),
        workers: of(workers),
        etcd: of(etcd),
        ..ClusterChange::default()
    };
    Operation::ClusterAdd(change)
}

fn remove(control_plane: &[u8], workers: &[u8], etcd: &[u8]) -> Operation {
    let of = |hosts: &[u8]| targets(hosts.iter().copied());
    let change = ClusterRemove {
        control_plane: of(control_plane),
        workers: of(workers),
        etcd: of(etcd),
        ..ClusterRemove::default()
    };
    Operation::ClusterRemove(change)
}

fn usual() -> ClusterSettings {
    ClusterSettings::default()
}

macro_rules! plans {
    ($($name:ident: $site:expr, $operations:expr;)*) => {
        $(#[test]
        fn $name() {
            insta::assert_snapshot!(stringify!($name), $site.plan(&$operations));
        })*
    };
}

const KUBEADM: [&str; 6] = [
    "kubeadm-1.36.3",
    "kubelet-1.36.3",
    "kubectl-1.36.3",
    "cri-tools-1.37.0",
    "kubernetes-cni-1.10.0",
    "containerd.io-2.4.2",
];
const FLANNEL: [(&str, MemberKind, &str); 1] = [("flannel.yaml", MemberKind::NetworkManifest, "kind: DaemonSet\n")];

/// A cluster that kubeadm made, behind a load balancer.
fn of_kubeadm() -> Value {
    json!({
        "distribution": "kubeadm", "version": "1.36.3", "minor": 36, "containerd": true, "balanced": false,
        "network": {"manifest": "flannel"}, "settings": {"api_endpoint": "lb.example:6443"},
    })
}

const KUBERNETES: [&str; 3] = ["kubernetes-master-1.20.2", "kubernetes-node-1.20.2", "kubernetes-client-1.20.2"];

/// A registry with a user.
fn registry(hosts: impl IntoIterator<Item = u8>) -> Operation {
    let users = vec![RegistryUser { name: "site".into(), password: Some(Secret::new("geheim")) }];
    let settings = RegistrySettings { users, storage: "/data/registry".into(), ..RegistrySettings::default() };
    Operation::RegistryCreate(RegistryCreate { hosts: targets(hosts), settings })
}

fn kept_registry() -> Value {
    let machine = json!({"name": "host3", "address": "10.0.0.3"});
    json!({"port": 5000, "storage": "/var/lib/registry", "users": {"site": "$2y$10$x"}, "hosts": {"10.0.0.3": machine}})
}

plans! {
    registry_alone: Site::new(1).hosts(|_, facts| firewalld(facts)).bundle(&["docker-distribution-2.8.3"], &[], &[]),
        [registry([1])];
    registry_beside_a_new_cluster: Site::new(3).etcd([1], true).bundle(&[&KUBEADM[..], &["docker-registry-2.8.1"]].concat(), &[], &FLANNEL),
        [registry([3]), cluster(&[1], &[2], usual())];
    registry_known_to_a_new_node: Site::new(3).etcd([1], true).cluster(&[1], &[1], &json!({})).keep("registry", &kept_registry()),
        [add(&[], &[2], &[])];
    registry_certificates_renewed: Site::new(3).keep("registry", &kept_registry()).bundle(&["docker-distribution-2.8.3"], &[], &[]),
        [Operation::CertsRenew(Vec::new())];
    registry_reset: Site::new(3).keep("registry", &kept_registry()), [Operation::ClusterReset(ClusterReset::default())];
    etcd_new: Site::new(3), [etcd(1..=3)];
    etcd_new_without_tls: Site::new(1), [etcd_with([1], false, &[])];
    etcd_new_on_its_own_holds_the_repository: Site { hold: true, ..Site::new(1) }, [etcd([1])];
    etcd_new_behind_firewalld: Site::new(1).hosts(|_, facts| firewalld(facts)), [etcd([1])];
    etcd_first_start_continued: Site::new(3).etcd(1..=3, false).with_data([2]), [etcd(1..=3)];
    etcd_first_start_with_other_members: Site::new(3).etcd(1..=2, false).with_data([2]), [etcd(2..=3)];
    etcd_again: Site::new(3).etcd(1..=3, true).with_data(1..=3), [etcd(1..=3)];
    etcd_grown_by_create: Site::new(3).etcd(1..=2, true).with_data(1..=2), [etcd(1..=3)];
    etcd_grown_by_add: Site::new(4).etcd(1..=3, true), [Operation::EtcdAdd(members([4]))];
    etcd_one_member_lost: Site::new(3).etcd(1..=3, true).with_data([1, 3]), [etcd(1..=3)];
    etcd_all_members_lost: Site::new(2).etcd(1..=2, true), [etcd(1..=2)];
    etcd_wiped: Site::new(2), [etcd_with(1..=2, true, &[2])];
    etcd_member_removed: Site::new(3).etcd(1..=3, true), [Operation::EtcdRemove(members([2]))];
    etcd_member_removed_from_a_node: Site::new(3).etcd(1..=3, true).cluster(&[1], &[1, 2], &json!({})),
        [Operation::EtcdRemove(members([2]))];
    etcd_dead_member_removed: Site::new(3).etcd(1..=3, true).without(2), [Operation::EtcdRemove(members([2]))];
    cluster_new_with_its_etcd: Site::new(3), [etcd(1..=3), cluster(&[1], &[1, 2, 3], usual())];
    cluster_new_with_several_control_planes: Site::new(4).etcd(1..=3, true), [cluster(&[1, 2, 3], &[4], usual())];
    cluster_new_with_virtual_address: Site::new(2).etcd([1], true),
        [cluster(&[1, 2], &[1, 2], ClusterSettings { api_vip: Some("10.0.0.100".into()), ..usual() })];
    cluster_new_with_endpoint: Site::new(2).etcd([1], true),
        [cluster(&[1], &[2], ClusterSettings { api_endpoint: Some("lb.example:6443".into()), ..usual() })];
    cluster_new_with_flannel: Site::new(2).etcd([1], true).bundle(&[&KUBERNETES[..], &["flannel-0.5.5"]].concat(), &[], &[]),
        [cluster(&[1], &[1, 2], usual())];
    cluster_new_with_containerd: Site::new(2).etcd([1], true),
        [cluster(&[1], &[2], ClusterSettings { runtime: Runtime::Containerd, ..usual() })];
    cluster_new_from_a_bundle_with_everything: Site::new(2).etcd([1], true).hosts(|_, facts| {
            firewalld(facts);
            facts.selinux = "Enforcing".into();
        }).bundle(
            &[&KUBERNETES[..], &["haproxy-2.4.0", "chrony-4.0"]].concat(),
            &["k8s.gcr.io/pause:3.2"],
            &[("calico.yaml", MemberKind::NetworkManifest, "kind: DaemonSet\n"), ("dns.yaml", MemberKind::Addon, DNS)],
        ), [cluster(&[1], &[1, 2], ClusterSettings { network: Network::Manifest("calico".into()), ..usual() })];
    cluster_new_of_1_5: Site::new(1).etcd([1], true).bundle(&["kubernetes-master-1.5.2", "kubernetes-node-1.5.2", "kubernetes-client-1.5.2"], &[], &[]),
        [cluster(&[1], &[1], usual())];
    cluster_new_of_kubeadm: Site::new(3).etcd([1], true).bundle(
            &KUBEADM,
            &["registry.k8s.io/pause:3.10.2"],
            &FLANNEL,
        ), [cluster(&[1], &[2, 3], usual())];
    cluster_of_kubeadm_without_a_network: Site::new(1).etcd([1], true).bundle(&KUBEADM, &[], &[]),
        [cluster(&[1], &[1], usual())];
    cluster_of_kubeadm_with_two_control_planes: Site::new(2).etcd([1], true).bundle(&KUBEADM, &[], &[]),
        [cluster(&[1, 2], &[1], usual())];
    cluster_of_kubeadm_with_endpoint: Site::new(3).etcd([1], true).bundle(&KUBEADM, &["registry.k8s.io/pause:3.10.2"], &FLANNEL),
        [cluster(&[1, 2], &[1, 3], ClusterSettings { api_endpoint: Some("lb.example:6443".into()), ..usual() })];
    cluster_of_kubeadm_grown: Site::new(4).etcd([1], true).cluster(&[1], &[3], &of_kubeadm()), [add(&[2], &[4], &[])];
    cluster_of_kubeadm_host_given_another_role: Site::new(2).etcd([1], true).cluster(&[1], &[2], &of_kubeadm()),
        [add(&[2], &[1], &[])];
    cluster_of_kubeadm_control_plane_removed: Site::new(3).etcd([3], true).cluster(&[1, 2], &[1, 3], &of_kubeadm()),
        [remove(&[1], &[1], &[])];
    cluster_of_kubeadm_one_role_removed: Site::new(2).etcd([1], true).cluster(&[1, 2], &[1], &of_kubeadm()),
        [remove(&[1], &[], &[])];
    cluster_again: Site::new(2).etcd([1], true).cluster(&[1], &[1, 2], &json!({})), [cluster(&[1], &[1, 2], usual())];
    cluster_without_etcd: Site::new(1), [cluster(&[1], &[1], usual())];
    cluster_node_added: Site::new(3).etcd([1], true).cluster(&[1], &[1, 2], &json!({})), [add(&[], &[3], &[])];
    cluster_control_plane_added: Site::new(3).etcd([1], true).cluster(&[1], &[1, 2], &json!({})), [add(&[2, 3], &[], &[])];
    cluster_etcd_member_added_with_a_node: Site::new(3).etcd(1..=2, true).cluster(&[1, 2], &[1, 2], &json!({})),
        [add(&[], &[3], &[3])];
    cluster_node_removed: Site::new(3).etcd([1], true).cluster(&[1], &[1, 2, 3], &json!({})), [remove(&[], &[3], &[])];
    cluster_node_role_removed_from_a_control_plane:
        Site::new(2).etcd([1], true).cluster(&[1, 2], &[1, 2], &json!({"network": "flannel"})), [remove(&[], &[1], &[])];
    cluster_node_role_removed_behind_firewalld:
        Site::new(2).etcd([1], true).cluster(&[1, 2], &[1, 2], &json!({})).hosts(|_, facts| firewalld(facts)),
        [remove(&[], &[1], &[])];
    cluster_control_plane_role_removed_from_a_node:
        Site::new(2).etcd([1], true).cluster(&[1, 2], &[1, 2], &json!({"containerd": true})), [remove(&[1], &[], &[])];
    cluster_host_with_all_roles_removed: Site::new(3).etcd(1..=3, true).cluster(&[1, 2, 3], &[1, 2, 3], &json!({})),
        [remove(&[1], &[1], &[1])];
    cluster_last_control_plane_is_not_removed: Site::new(1).etcd([1], true).cluster(&[1], &[1], &json!({})),
        [remove(&[1], &[], &[])];
    certificates_renewed: Site::new(3).etcd(1..=2, true).with_data(1..=2).cluster(&[1, 2], &[1, 3], &json!({})),
        [Operation::CertsRenew(Vec::new())];
    reset_of_all: Site::new(2).etcd([1], true).cluster(&[1], &[1, 2], &json!({})),
        [Operation::ClusterReset(ClusterReset::default())];
    reset_of_all_with_data: Site::new(2).etcd([1], true).cluster(&[1], &[1, 2], &json!({})),
        [Operation::ClusterReset(ClusterReset { wipe_all: true, ..ClusterReset::default() })];
}
