//! What a host is and holds, asked in one round trip by `facts.sh`.

mod reading;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ipnet::IpNet;

use super::error::HostError;
use super::session::Host;
use super::shell::Command;
use super::text::harmless;

/// The facts of one host. What a host does not tell is empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    pub distro_id: String,
    /// Words of `ID_LIKE` (os-release(5)).
    pub distro_like: Vec<String>,
    pub distro_version: String,
    /// Its distribution and the major version of that, such as `el9`; empty when the host does not tell.
    pub platform: String,
    pub pretty_name: String,
    pub package_manager: Option<PackageManager>,
    /// "dnf 1234": who holds the package manager's lock.
    pub pm_lock_held_by: Option<String>,
    pub arch: String,
    pub kernel: String,
    /// Whether the kernel has the modules of iptables; nothing where the host does not tell.
    pub iptables_modules: Option<bool>,
    pub hostname: String,
    pub machine_id: String,
    /// Addresses of global scope.
    pub addresses: Vec<IpAddr>,
    /// The interfaces that have them.
    pub interfaces: Vec<Interface>,
    /// The address that we have connected to: its own, or that of a gateway in front of it.
    pub reached_at: Option<IpAddr>,
    /// The address by which the host reaches the control host.
    pub reached_from: Option<IpAddr>,
    /// Its own address on the way to the world.
    pub route_address: Option<IpAddr>,
    /// The interface of that way, such as `eth0`.
    pub route_interface: Option<String>,
    /// The longest packet in bytes that this interface sends.
    pub route_mtu: Option<u32>,
    /// The interface on which a router announced the IPv6 default route: the kernel drops such a route once it forwards packets.
    pub announced_on: Option<String>,
    /// Networks that its table of routes leads to, but for the default.
    pub routes: Vec<Route>,
    /// Interfaces that networks of pods make, such as `cni0`.
    pub pod_interfaces: Vec<PodInterface>,
    /// CNI configurations that no package brought: files of `/etc/cni/net.d`.
    pub cni_files: Vec<String>,
    /// Seconds that the host's clock is ahead of ours.
    pub clock_offset: f64,
    /// Seconds by which that may be wrong: half of what the question took.
    pub clock_doubt: f64,
    /// Free bytes of the file system of a folder.
    pub disk_free: BTreeMap<String, u64>,
    /// Bytes.
    pub memory_total: u64,
    pub cpus: u32,
    pub cgroup_version: u8,
    /// `Enforcing`, `Permissive` or `Disabled`.
    pub selinux: String,
    /// The kernel is in FIPS mode: only algorithms of FIPS 140 are to be used.
    pub fips: bool,
    /// `/etc/resolv.conf` is missing, or names no server.
    pub without_nameserver: bool,
    pub swap: bool,
    pub systemd: bool,
    pub units: BTreeMap<String, UnitState>,
    /// Services, such as `docker.service`, that somebody masked.
    pub masked: BTreeSet<String>,
    pub listening: Vec<Listening>,
    pub packages: BTreeMap<String, Evr>,
    /// Why rpm's database does not answer, where it does not; and who has it open then, such as `rpm (process 1234)`.
    pub rpm_database: Option<String>,
    pub rpm_users: Vec<String>,
    /// Configuration files that a [`Probe`] asks for.
    pub files: BTreeMap<String, FoundFile>,
}

/// A configuration file, which the site may have written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FoundFile {
    pub mode: Option<u32>,
    /// What is in it; nothing where it is not there, or may not be read.
    pub text: Option<String>,
    /// A run of this product has written it; what was in it before that.
    pub before: Option<Option<String>>,
}

/// What the facts of a host also tell, for somebody who runs something there. Names without blanks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Probe {
    /// Units, such as `kubelet.service`, by which [`Facts::units`] is asked.
    pub units: &'static [&'static str],
    /// Folders whose file systems [`Facts::disk_free`] tells of, where they are.
    pub folders: &'static [&'static str],
    /// Files that [`Facts::files`] has.
    pub files: &'static [&'static str],
}

/// A unit as systemctl says: `is-active`, `is-enabled`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitState {
    pub active: String,
    pub enabled: String,
}

/// A TCP port that something listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listening {
    pub port: u16,
    pub process: Option<String>,
}

/// An interface with addresses of global scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    pub name: String,
    /// The longest packet in bytes that it sends.
    pub mtu: Option<u32>,
    pub addresses: Vec<IpAddr>,
    /// Those of them that others can know the host by: not temporary ones (RFC 8981), nor any that are not to be used.
    pub lasting: Vec<IpAddr>,
}

/// An interface of a pods' network, and its IPv4 address with the length of the network's prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodInterface {
    pub name: String,
    pub address: Option<(Ipv4Addr, u8)>,
}

/// A route of either family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub to: IpNet,
    pub interface: String,
    /// Who made it, as `ip route` says: `kernel`, `static`, or a number.
    pub protocol: String,
}

/// The package managers that are known, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackageManager {
    Dnf5,
    Dnf,
    Yum,
    Zypper,
}

impl PackageManager {
    pub fn program(self) -> &'static str {
        match self {
            Self::Dnf5 => "dnf5",
            Self::Dnf => "dnf",
            Self::Yum => "yum",
            Self::Zypper => "zypper",
        }
    }
}

/// Epoch, version and release of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evr {
    pub epoch: u32,
    pub version: String,
    pub release: String,
}

impl fmt::Display for Evr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}-{}", self.epoch, self.version, self.release)
    }
}

impl Facts {
    /// Free bytes where `path` lies: of the nearest folder above it that was asked about.
    pub fn disk_free_of(&self, path: &str) -> Option<u64> {
        let mut at = path;
        loop {
            if let Some(free) = self.disk_free.get(if at.is_empty() { "/" } else { at }) {
                return Some(*free);
            }
            at = &at[..at.rfind('/')?];
        }
    }

    /// The address of the default route, else the first there is.
    pub fn main_address(&self) -> Option<IpAddr> {
        self.route_address.or_else(|| self.addresses.first().copied())
    }

    /// The interface that has this address.
    pub fn interface_of(&self, address: IpAddr) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| interface.addresses.contains(&address))
    }

    /// The name of the interface that others reach by this address of the host: that of the default route where it is not known.
    pub fn interface_name(&self, address: IpAddr) -> Option<&str> {
        self.interface_of(address).map(|interface| interface.name.as_str()).or(self.route_interface.as_deref())
    }

    /// The longest packet that this interface sends.
    pub fn mtu_of(&self, address: IpAddr) -> Option<u32> {
        self.interface_of(address).map_or(self.route_mtu, |interface| interface.mtu)
    }

    pub fn is_active(&self, unit: &str) -> bool {
        self.units.get(unit).is_some_and(|u| u.active == "active")
    }

    pub fn firewalld(&self) -> bool {
        self.is_active("firewalld")
    }

    /// Seconds that the host's clock is surely ahead of ours (negative: behind), 0 when it may be right.
    pub fn clock_wrong_by(&self) -> f64 {
        (self.clock_offset.abs() - self.clock_doubt).max(0.0).copysign(self.clock_offset)
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}

/// The seconds since 1970 that a host says; nothing that is no such number.
fn clock_of(text: &str) -> Option<f64> {
    let said = text.lines().find_map(|line| line.strip_prefix("clock\t"))?;
    said.parse::<f64>().ok().filter(|seconds| seconds.is_finite())
}

/// An empty input that remembers when it was first asked for, which is when the command had been started: a wait for the
/// session or for a new connection before that must not count as a difference of clocks.
struct Stamp(Option<f64>);

impl std::io::Read for Stamp {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        self.0.get_or_insert_with(now);
        Ok(0)
    }
}

impl Host {
    /// Asks for the facts, and what `probes` ask beside them.
    ///
    /// # Errors
    /// When the host does not answer.
    pub fn facts(&self, probes: &[Probe]) -> Result<Facts, HostError> {
        let list = |of: fn(&Probe) -> &'static [&'static str]| {
            let names: BTreeSet<&str> = probes.iter().flat_map(of).copied().collect();
            names.into_iter().collect::<Vec<_>>().join(" ")
        };
        let command = Command::script(include_str!("facts.sh"))
            .arg(list(|probe| probe.units))
            .arg(list(|probe| probe.folders))
            .arg(list(|probe| probe.files))
            .label("read the host's facts")
            .timeout(Duration::from_secs(60));
        let mut sent = Stamp(None);
        let mut arrived = None;
        let mut text = Vec::new();
        let output = self.stream(&command, &mut sent, &mut |bytes| {
            arrived.get_or_insert_with(now);
            text.extend_from_slice(bytes);
        })?;
        self.succeeded(&command, output)?;
        // The host reads its clock first thing, between its being told to and the arrival of its first line.
        let clock = sent.0.zip(arrived);
        let text = String::from_utf8_lossy(&text);
        let text = harmless(&text);
        let mut facts = Facts::parse(&text);
        facts.reached_at = Some(self.remote_address());
        facts.reached_from = Some(self.local_address());
        if let (Some(theirs), Some((sent, arrived))) = (clock_of(&text), clock) {
            facts.clock_offset = theirs - f64::midpoint(sent, arrived);
            facts.clock_doubt = (arrived - sent).abs() / 2.0;
        }
        Ok(facts)
    }
}

#[cfg(test)]
#[path = "facts_tests.rs"]
mod tests;
