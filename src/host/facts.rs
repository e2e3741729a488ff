//! What a host is and holds, asked in one round trip by `facts.sh`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use ipnet::IpNet;

use super::error::HostError;
use super::platform::platform;
use super::session::Host;
use super::shell::Command;
use super::text::harmless;

/// More addresses than a host has; one that means harm may send them without end.
const MOST_ADDRESSES: usize = 4096;

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

    pub(super) fn parse(text: &str) -> Self {
        let mut facts = Self::default();
        for line in text.lines() {
            if let Some((key, value)) = line.split_once('\t') {
                facts.take(key, value.trim());
            }
        }
        facts.platform = platform(&facts.platform, &facts.distro_id, &facts.distro_like, &facts.distro_version);
        facts
    }

    /// `more`: the interface, what it sends, and `passing` for an address that others should not know.
    fn take_address<'a>(&mut self, address: IpAddr, mut more: impl Iterator<Item = &'a str>) {
        if self.addresses.len() == MOST_ADDRESSES {
            return;
        }
        self.addresses.push(address);
        let Some(name) = more.next() else { return };
        let mtu = more.next().and_then(mtu);
        let is_lasting = more.next().is_none();
        let at = self.interfaces.iter().rposition(|interface| interface.name == name).unwrap_or_else(|| {
            let (addresses, lasting) = (Vec::new(), Vec::new());
            self.interfaces.push(Interface { name: name.to_owned(), mtu, addresses, lasting });
            self.interfaces.len() - 1
        });
        let interface = &mut self.interfaces[at];
        interface.addresses.push(address);
        interface.lasting.extend(is_lasting.then_some(address));
    }

    fn take(&mut self, key: &str, value: &str) {
        let mut words = value.split_whitespace();
        match key {
            "id" => value.clone_into(&mut self.distro_id),
            "like" => self.distro_like = words.map(str::to_owned).collect(),
            "version" => value.clone_into(&mut self.distro_version),
            // As it is until all that it follows from is there.
            "platform" => value.clone_into(&mut self.platform),
            "pretty" => value.clone_into(&mut self.pretty_name),
            "manager" => {
                let known = [PackageManager::Dnf5, PackageManager::Dnf, PackageManager::Yum, PackageManager::Zypper];
                self.package_manager = known.into_iter().find(|m| m.program() == value);
            }
            "lock" => self.pm_lock_held_by = Some(value.to_owned()),
            "arch" => value.clone_into(&mut self.arch),
            "kernel" => value.clone_into(&mut self.kernel),
            "iptables" => self.iptables_modules = Some(value == "yes"),
            "hostname" => value.clone_into(&mut self.hostname),
            "machine" => value.clone_into(&mut self.machine_id),
            "address" => {
                if let Some(Ok(address)) = words.next().map(str::parse::<IpAddr>) {
                    self.take_address(address, words);
                }
            }
            "announced" if is_plain(value) => self.announced_on = Some(value.to_owned()),
            "route" => self.route_address = value.parse().ok(),
            "interface" => self.route_interface = (!value.is_empty()).then(|| value.to_owned()),
            "mtu" => self.route_mtu = mtu(value),
            "path" => {
                let mut next = || words.next().unwrap_or("-");
                let (to, interface, protocol) = (next(), next().to_owned(), next().to_owned());
                let to = to.parse::<IpNet>().ok().or_else(|| to.parse::<IpAddr>().ok().map(IpNet::from));
                self.routes.extend(to.map(|to| Route { to, interface, protocol }));
            }
            "pods" => {
                let name = words.next().filter(|name| is_plain(name));
                if let (Some(name), address) = (name, words.next()) {
                    let parsed = address.and_then(|text| text.split_once('/'));
                    let address = parsed.and_then(|(ip, prefix)| Some((ip.parse().ok()?, prefix.parse().ok()?)));
                    self.pod_interfaces.push(PodInterface { name: name.to_owned(), address });
                }
            }
            "cni" => self.cni_files.push(value.to_owned()),
            "free" => {
                if let (Some(dir), Some(Ok(kib))) = (words.next(), words.next().map(str::parse::<u64>)) {
                    self.disk_free.insert(dir.to_owned(), kib.saturating_mul(1024));
                }
            }
            "memory" => self.memory_total = value.parse::<u64>().unwrap_or(0).saturating_mul(1024),
            "cpus" => self.cpus = value.parse().unwrap_or(0),
            "cgroup" => self.cgroup_version = value.parse().unwrap_or(1),
            "selinux" => value.clone_into(&mut self.selinux),
            "fips" => self.fips = value == "1",
            "nameserver" => self.without_nameserver = value == "none",
            "swap" => self.swap = value == "yes",
            "systemd" => self.systemd = value == "yes",
            "unit" => {
                if let (Some(unit), active, enabled) = (words.next(), words.next(), words.next()) {
                    let word = |w: Option<&str>| w.unwrap_or("unknown").to_owned();
                    let state = UnitState { active: word(active), enabled: word(enabled) };
                    self.units.insert(unit.to_owned(), state);
                }
            }
            "masked" => drop(self.masked.insert(value.to_owned())),
            "rpmdb" => self.rpm_database = Some(value.to_owned()),
            "rpmuser" => self.rpm_users.push(value.to_owned()),
            "listen" => {
                if let (Some(Ok(port)), process) = (words.next().map(str::parse), words.next()) {
                    let process = process.filter(|p| *p != "-").map(str::to_owned);
                    self.listening.push(Listening { port, process });
                }
            }
            "file" => {
                if let [path, mode, text, before] = words.collect::<Vec<_>>()[..] {
                    let mode = u32::from_str_radix(mode, 8).ok();
                    let before = (before != "?").then(|| content(before));
                    self.files.insert(path.to_owned(), FoundFile { mode, text: content(text), before });
                }
            }
            "package" => {
                if let (Some(name), Some(epoch), Some(version), Some(release)) =
                    (words.next(), words.next(), words.next(), words.next())
                {
                    let evr = Evr {
                        epoch: epoch.parse().unwrap_or(0),
                        version: version.to_owned(),
                        release: release.to_owned(),
                    };
                    self.packages.insert(name.to_owned(), evr);
                }
            }
            _ => {}
        }
    }
}

/// `=` and base64, or `-` for a file that is not there.
fn content(word: &str) -> Option<String> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(word.strip_prefix('=')?).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The name of an interface that may stand in a command.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

/// IPv6 wants 1280 bytes, IPv4's length has 16 bits.
fn mtu(text: &str) -> Option<u32> {
    text.parse().ok().filter(|mtu| (1280..=65535).contains(mtu))
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
