//! The registry that a cluster keeps: each control plane node serves the cluster's images, read-only, with this program. The
//! images are copied out of the node's containerd into one archive; nodes ask for them when they pull by upstream's names.

use std::net::SocketAddr;

use crate::flow::disk_space::DiskSpace;
use crate::flow::error::FlowError;
use crate::flow::pki::Pki;
use crate::flow::problem::Problem;
use crate::flow::registry::{Answers, Served, certificate};
use crate::host::{FileMeta, HostId, Probe};
use crate::plan::{Owned, RunHost, Step};
use crate::resource::{FileSpec, Files, FirewallPorts, Image, ImageCopy, archive_size};

use super::component::{Component, On};
use super::state::{Cluster, Machine};

/// Beside 5000, which a registry of the environment's own has.
const PORT: u16 = 5001;
const NAME: &str = "sunshine-registry";
const UNIT: &str = "sunshine-registry.service";
/// What the server runs as: it opens three files and its port, no more.
const USER: &str = "nobody";
const PROGRAM: &str = "/usr/local/libexec/sunshine-installer";
/// Of `ss`, which cuts names at 15 characters.
const PROCESS: &str = "sunshine-instal";
const FOLDER: &str = "/var/lib/sunshine-registry";
const ARCHIVE: &str = "/var/lib/sunshine-registry/images.tar";
const CA: &str = "/etc/sunshine-registry/ca.crt";
const CERT: &str = "/etc/sunshine-registry/tls.crt";
const KEY: &str = "/etc/sunshine-registry/tls.key";

/// What can be said without a host.
pub(super) fn check(cluster: &Cluster) -> Result<(), FlowError> {
    let refuse = |what: &str, help: &str| Err(FlowError::request_with_help(what, help));
    if !cluster.containerd {
        return refuse(
            "the images of a cluster with Docker cannot be kept in a registry: Docker asks no registry for upstream's names",
            "leave keepRegistry (--keep-registry) out, and give a host the role registry in cluster.yaml",
        );
    }
    if cluster.images.is_empty() {
        return refuse(
            "there are no images that the cluster's registry could serve: the bundle holds none",
            "run this with a bundle that has images, or leave keepRegistry (--keep-registry) out",
        );
    }
    if !cluster.control_plane.keys().any(|host| cluster.keeps_registry(host)) {
        return refuse(
            "no control plane node runs containers, so that none has the images that the cluster's registry would serve",
            "make a control plane node a worker node too, or leave keepRegistry (--keep-registry) out",
        );
    }
    Ok(())
}

/// What its images take there.
pub(super) fn disk_space(images: &[Image]) -> DiskSpace {
    DiskSpace::new(FOLDER, archive_size(images), "the images of the registry that the cluster keeps")
}

/// What stands in the way on a host that is to become one.
pub(super) fn check_host(host: &RunHost) -> Vec<Problem> {
    let (name, facts) = (host.host.name(), &host.facts);
    let mut problems = Vec::new();
    let foreign = |process: Option<&str>| process.is_some_and(|process| process != PROCESS);
    if let Some(taken) = facts.listening.iter().find(|l| l.port == PORT && foreign(l.process.as_deref())) {
        let by = taken.process.as_deref().unwrap_or("another program");
        let text = format!("port {PORT}, of the registry that the cluster keeps, is taken by {by}");
        problems.push(Problem::error(name, text, "stop that service, or leave keepRegistry (--keep-registry) out"));
    }
    problems
}

/// What the nodes of a cluster must know of it.
pub(super) fn served(cluster: &Cluster, pki: &Pki) -> Vec<Served> {
    let hosts = cluster.control_plane.iter().filter(|(host, _)| cluster.keeps_registry(host));
    hosts.map(|(host, machine)| Served::open(pki, host, &machine.name, machine.address, PORT)).collect()
}

/// What an earlier run made on a control plane node that is to have none of it any more, in the order in which it goes.
pub(super) fn unwanted(on: &On<'_>) -> Vec<Owned> {
    if KeptRegistry.is_on(on) {
        return Vec::new();
    }
    let mut owned = KeptRegistry.owns(on);
    owned.reverse();
    owned
}

/// The step that copies the images, on a host that serves them.
pub(super) fn copy(on: &On<'_>) -> Option<Step> {
    KeptRegistry.is_on(on).then(|| copy_step(on))
}

fn copy_step(on: &On<'_>) -> Step {
    let names = on.cluster.images.iter().cloned().collect();
    let copy = ImageCopy { archive: ARCHIVE.to_owned(), names, unit: UNIT };
    on.step(&format!("{NAME}.images"), "copy the cluster's images for its registry", copy).weight(4)
}

/// The component: a control plane node that serves the cluster's images.
pub(super) struct KeptRegistry;

impl Component for KeptRegistry {
    fn is_on(&self, on: &On<'_>) -> bool {
        on.cluster.keeps_registry(on.host)
    }

    fn probe(&self) -> Probe {
        Probe { folders: &[FOLDER], ..Probe::default() }
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let Some(machine) = on.control_plane() else { return Vec::new() };
        let mut steps = vec![copy_step(on)];
        if on.facts.firewalld() {
            let ports = FirewallPorts { ports: vec![format!("{PORT}/tcp")], at: machine.address };
            steps.push(on.step(&format!("{NAME}.firewall"), "open the registry's port in firewalld", ports));
        }
        steps.extend(on.service(NAME, "the registry that the cluster keeps", files(on, on.host, machine)));
        let address = SocketAddr::new(machine.address, PORT).to_string();
        let answers = Answers { address, at: machine.address, port: PORT, ca: CA.to_owned() };
        steps.push(on.step(&format!("{NAME}.answers"), "ask the registry over TLS", answers));
        steps
    }
}

/// The program, its unit, and its certificate.
fn files(on: &On<'_>, host: &HostId, machine: &Machine) -> Files {
    let pki = on.keys.pki();
    let keys = certificate(pki, "kept-registry", host, &machine.name, machine.address);
    let mut key = FileSpec::secret(KEY, keys.key(), USER);
    // What the group of that user is called differs.
    key.meta = FileMeta { group: Some("root".to_owned()), ..key.meta };
    let authority = Served::open(pki, host, &machine.name, machine.address, PORT).ca;
    let mut files = vec![FileSpec::program(PROGRAM), FileSpec::made(CERT, keys.cert()), key];
    files.extend(authority.map(|authority| FileSpec::made(CA, authority)));
    files.push(FileSpec::text(format!("/etc/systemd/system/{UNIT}"), unit(machine)));
    Files(files)
}

/// The options are those of systemd 219. All that it writes is its log.
fn unit(machine: &Machine) -> String {
    let any = if machine.address.is_ipv4() { "0.0.0.0" } else { "[::]" };
    format!(
        "# Written by sunshine-installer.\n[Unit]\nDescription=The cluster's images as a read-only registry\n\
         After=network-online.target\nWants=network-online.target\n\n\
         [Service]\nExecStart={PROGRAM} registry serve --images {ARCHIVE} --listen {any}:{PORT} --tls-cert {CERT} --tls-key {KEY}\n\
         User={USER}\nNoNewPrivileges=yes\nCapabilityBoundingSet=\nPrivateTmp=yes\nPrivateDevices=yes\n\
         ProtectSystem=full\nProtectHome=yes\nRestart=always\nRestartSec=2\n\n\
         [Install]\nWantedBy=multi-user.target\n"
    )
}
