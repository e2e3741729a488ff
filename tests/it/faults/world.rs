//! A site, its hosts, and what stands on them: what one scenario leaves is what the next one finds.

#![allow(clippy::expect_used, reason = "a helper of tests: a panic is how a test fails")]

use std::path::PathBuf;
use std::process::Command;

use super::scenario::{Fault, Kind, Scenario, Verb};
use crate::cluster;
use crate::lab::{Host, Lab, Output};
use crate::site::Site;

pub(super) struct World {
    pub(super) kind: Kind,
    pub(super) lab: Lab,
    pub(super) site: Site,
    /// Every host's password of root: found anywhere, it is a secret that got out.
    pub(super) word: String,
    /// Hosts of the cluster that stay in it.
    fixed: usize,
    /// The host that may be replaced, and the one that comes.
    seat: usize,
    spare: usize,
    /// Whether the spare host is in the cluster too.
    extra: bool,
    pub(super) standing: bool,
    /// Keys that etcd acknowledged.
    pub(super) acknowledged: Vec<u64>,
    _state: Disk,
}

/// A small file system, as the control host's disk may be full.
struct Disk(PathBuf);

impl Disk {
    fn at(folder: PathBuf) -> Self {
        std::fs::create_dir_all(&folder).expect("a folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=16m,mode=0700", "sunshine-faults"]).arg(&folder);
        Output::of(&mut mount).expect_ok();
        Self(folder)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a run that was killed may still end.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

impl World {
    pub(super) fn new(kind: Kind) -> Self {
        let groups: &[&str] = match kind {
            Kind::Etcd => &["etcd"],
            Kind::Systemd => &cluster::GROUPS,
            Kind::Kubeadm => &cluster::kubeadm::GROUPS,
        };
        let fixed = if kind == Kind::Etcd { 2 } else { 1 };
        let site = Site::with(groups);
        let state = Disk::at(site.path("state"));
        std::fs::create_dir(site.path("tmp")).expect("a folder");
        let lab = Lab::up(fixed + 2);
        let word = format!("Geheim-{:08x}", rand::random::<u32>());
        for host in lab.hosts() {
            host.sh(&format!("echo root:{word} | chpasswd"));
        }
        let (seat, spare) = (fixed, fixed + 1);
        Self {
            kind,
            lab,
            site,
            word,
            fixed,
            seat,
            spare,
            extra: false,
            standing: false,
            acknowledged: Vec::new(),
            _state: state,
        }
    }

    /// Does, with nothing going wrong, what has to stand before this.
    pub(super) fn prepare(&mut self, verb: Verb) {
        let before: &[Verb] = match verb {
            Verb::Create => &[],
            Verb::Remove => &[Verb::Create, Verb::Add],
            _ => &[Verb::Create],
        };
        for verb in before {
            if !(self.standing && *verb == Verb::Create || self.extra && *verb == Verb::Add) {
                let line = self.line(*verb, &[]);
                self.command(&line).output_ok();
                self.done(*verb);
            }
        }
    }

    /// A flow has come to its end.
    pub(super) fn done(&mut self, verb: Verb) {
        match verb {
            Verb::Create => self.standing = true,
            Verb::Replace => std::mem::swap(&mut self.seat, &mut self.spare),
            Verb::Add => self.extra = true,
            Verb::Remove => self.extra = false,
            Verb::Renew => {}
            Verb::Reset => (self.standing, self.extra) = (false, false),
        }
    }

    /// The hosts of the cluster as it stands.
    pub(super) fn nodes(&self) -> Vec<usize> {
        (0..self.fixed).chain([self.seat]).chain(self.extra.then_some(self.spare)).collect()
    }

    /// The hosts that run etcd.
    pub(super) fn members(&self) -> Vec<usize> {
        if self.kind == Kind::Etcd { self.nodes() } else { (0..self.fixed).collect() }
    }

    /// The host that a scenario's fault happens to: one of those that its flow works on.
    pub(super) fn victim(&self, scenario: &Scenario) -> usize {
        let mut hosts = match (scenario.verb, scenario.fault) {
            (_, Fault::CorruptWal) => self.members(),
            (Verb::Replace, _) => vec![self.seat, self.spare],
            (Verb::Add | Verb::Remove, _) => vec![self.spare, 0],
            _ => self.nodes(),
        };
        hosts.dedup();
        hosts[scenario.victim % hosts.len()]
    }

    /// A host as the command line takes it.
    fn target(&self, host: usize, sudo: bool) -> String {
        let address = self.lab.host(host).address();
        if sudo { format!("maintuser@{address}") } else { format!("root:{}@{address}", self.word) }
    }

    /// The line of a flow. With a fault that is about sudo, as the user who needs it.
    pub(super) fn line(&self, verb: Verb, more: &[&str]) -> Vec<String> {
        self.line_as(verb, false, more)
    }

    pub(super) fn line_as(&self, verb: Verb, sudo: bool, more: &[&str]) -> Vec<String> {
        let of = |hosts: &[usize]| hosts.iter().map(|host| self.target(*host, sudo)).collect::<Vec<_>>();
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let (fixed, all): (Vec<usize>, _) = ((0..self.fixed).collect(), of(&self.nodes()));
        let (seat, spare, etcd) = (of(&[self.seat]), of(&[self.spare]), self.kind == Kind::Etcd);
        let role = if etcd { "--etcd" } else { "--node" };
        let mut line = match verb {
            Verb::Create if etcd => [words("etcd create --host"), all].concat(),
            Verb::Create => {
                let first = of(&[0]);
                let etcd = [words("-K onekey_deploy_ctl -create_etcd_cluster --host-list"), first.clone()].concat();
                let master = [words("-create_k8s_cluster --master-host-list"), first].concat();
                [etcd, master, words("--node-host-list"), all].concat()
            }
            Verb::Replace => {
                let who = [words("cluster replace --yes"), words(role), seat, words("--with"), spare].concat();
                [who, words("--also"), of(&fixed)].concat()
            }
            Verb::Add if etcd => [words("etcd add --host"), spare].concat(),
            Verb::Add => [words("cluster add --node"), spare].concat(),
            Verb::Remove if etcd => [words("etcd remove --host"), spare].concat(),
            Verb::Remove => [words("cluster remove --node"), spare].concat(),
            Verb::Renew => [words("cluster certs renew --host"), all].concat(),
            Verb::Reset => [words("cluster reset --yes --host"), all].concat(),
        };
        if sudo {
            let key = self.lab.host(0).login.key.as_ref().expect("the lab's key");
            line.extend(["--ssh-key".to_owned(), key.to_string_lossy().into_owned()]);
        }
        line.extend(more.iter().map(|word| (*word).to_owned()));
        line
    }

    /// The product on the control host, with a folder of its own for temporary files.
    pub(super) fn command(&self, line: &[String]) -> Run {
        let line: Vec<&str> = line.iter().map(String::as_str).collect();
        let mut command = self.site.command(&self.lab, &line);
        command.env("TMPDIR", self.site.path("tmp"));
        Run(command)
    }

    pub(super) fn host(&self, index: usize) -> &Host {
        self.lab.host(index)
    }
}

/// A command that is about to run.
pub(super) struct Run(pub(super) Command);

impl Run {
    pub(super) fn output(mut self) -> Output {
        Output::of(&mut self.0)
    }

    #[track_caller]
    pub(super) fn output_ok(self) -> Output {
        self.output().expect_ok()
    }
}
