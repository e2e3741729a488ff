//! What a host is and holds, asked in one round trip by `facts.sh`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::error::HostError;
use super::platform::platform;
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
    /// Its own address on the way to the world.
    pub route_address: Option<IpAddr>,
    /// The interface of that way, such as `eth0`.
    pub route_interface: Option<String>,
    /// The longest packet in bytes that this interface sends.
    pub route_mtu: Option<u32>,
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
    /// `/etc/resolv.conf` is missing, or names no server.
    pub without_nameserver: bool,
    pub swap: bool,
    pub systemd: bool,
    pub units: BTreeMap<String, UnitState>,
    pub listening: Vec<Listening>,
    pub packages: BTreeMap<String, Evr>,
}

/// What the facts of a host also tell, for somebody who runs something there. Names without blanks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Probe {
    /// Units, such as `kubelet.service`, by which [`Facts::units`] is asked.
    pub units: &'static [&'static str],
    /// Folders whose file systems [`Facts::disk_free`] tells of, where they are.
    pub folders: &'static [&'static str],
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

/// An interface of a pods' network, and its IPv4 address with the length of the network's prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodInterface {
    pub name: String,
    pub address: Option<(Ipv4Addr, u8)>,
}

/// A route of IPv4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub to: (Ipv4Addr, u8),
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
            "address" => self.addresses.extend(value.parse::<IpAddr>()),
            "route" => self.route_address = value.parse().ok(),
            "interface" => self.route_interface = (!value.is_empty()).then(|| value.to_owned()),
            // IPv6 wants 1280 bytes, IPv4's length has 16 bits.
            "mtu" => self.route_mtu = value.parse().ok().filter(|mtu| (1280..=65535).contains(mtu)),
            "path" => {
                let mut next = || words.next().unwrap_or("-");
                let (to, interface, protocol) = (next(), next().to_owned(), next().to_owned());
                let (ip, prefix) = to.split_once('/').unwrap_or((to, "32"));
                if let (Ok(ip), Ok(prefix @ 0..=32)) = (ip.parse(), prefix.parse()) {
                    self.routes.push(Route { to: (ip, prefix), interface, protocol });
                }
            }
            "pods" => {
                let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
                let name = words.next().filter(|name| name.bytes().all(is_plain));
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
            "listen" => {
                if let (Some(Ok(port)), process) = (words.next().map(str::parse), words.next()) {
                    let process = process.filter(|p| *p != "-").map(str::to_owned);
                    self.listening.push(Listening { port, process });
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
        if let (Some(theirs), Some((sent, arrived))) = (clock_of(&text), clock) {
            facts.clock_offset = theirs - f64::midpoint(sent, arrived);
            facts.clock_doubt = (arrived - sent).abs() / 2.0;
        }
        Ok(facts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_odd_ones_passed_over() {
        let facts = Facts::parse(
            "id\trocky\nlike\trhel centos fedora\nmanager\tdnf\naddress\t10.8.14.200\naddress\trubbish\n\
             iptables\tno\nmtu\t1450\npath\t10.0.0.0/8 eth0 static\npath\t10.9.0.1\npath\t10.0.0.0/40 a b\npath\tx\nfree\t/ 100\nfree\t/var 50\ncgroup\t2\nunit\tetcd active enabled\nlisten\t2379 etcd\nlisten\t22 -\n\
             pods\tcni0 10.85.0.1/16\npods\tflannel.1 \npods\na;b\n\
             package\tetcd 0 3.4.23 1.el9\nnonsense\nunit\n",
        );
        assert_eq!(facts.package_manager, Some(PackageManager::Dnf));
        assert_eq!(facts.addresses.len(), 1);
        assert_eq!(facts.disk_free_of("/var/lib/etcd"), Some(50 * 1024));
        assert_eq!(facts.disk_free_of("/opt"), Some(100 * 1024));
        assert!(facts.is_active("etcd") && !facts.firewalld());
        assert_eq!(facts.packages["etcd"].to_string(), "0:3.4.23-1.el9");
        assert_eq!((facts.route_mtu, facts.iptables_modules), (Some(1450), Some(false)));
        let route =
            |to, interface: &str, protocol: &str| Route { to, interface: interface.into(), protocol: protocol.into() };
        let (wide, one) = (Ipv4Addr::new(10, 0, 0, 0), Ipv4Addr::new(10, 9, 0, 1));
        assert_eq!(facts.routes, [route((wide, 8), "eth0", "static"), route((one, 32), "-", "-")]);
        let interface = |name: &str, address| PodInterface { name: name.into(), address };
        let bridge = Some((Ipv4Addr::new(10, 85, 0, 1), 16));
        assert_eq!(facts.pod_interfaces, [interface("cni0", bridge), interface("flannel.1", None)]);
        assert_eq!(facts.listening[0], Listening { port: 2379, process: Some("etcd".into()) });
    }

    #[test]
    fn a_clock_that_is_no_number_is_none_and_a_slow_answer_is_no_wrong_clock() {
        assert_eq!(clock_of("id\tx\nclock\t1700000000.5\n"), Some(1_700_000_000.5));
        for lie in ["inf", "-inf", "nan", "x", ""] {
            assert_eq!(clock_of(&format!("clock\t{lie}\n")), None, "{lie}");
        }
        let facts = |clock_offset, clock_doubt| Facts { clock_offset, clock_doubt, ..Facts::default() };
        assert_eq!(facts(-3.0, 0.5).clock_wrong_by(), -2.5);
        assert_eq!(facts(3.0, 4.0).clock_wrong_by(), 0.0);
    }

    #[test]
    fn a_size_of_packets_that_no_interface_has_is_passed_over() {
        for wrong in ["0", "-1", "70000", "x"] {
            assert_eq!(Facts::parse(&format!("mtu\t{wrong}\n")).route_mtu, None, "{wrong}");
        }
    }

    #[test]
    fn the_script_runs_under_plain_sh() {
        let output = std::process::Command::new("/bin/sh")
            .args(["-c", include_str!("facts.sh"), "sh", "", ""])
            .output()
            .unwrap();
        let facts = Facts::parse(&String::from_utf8_lossy(&output.stdout));
        assert_eq!(facts.arch, std::env::consts::ARCH);
        assert!(facts.memory_total > 0 && facts.cpus > 0 && !facts.hostname.is_empty());
    }
}
