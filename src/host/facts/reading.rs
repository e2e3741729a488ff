//! What the script that collects facts prints, read.

use std::net::IpAddr;

use base64::Engine;
use ipnet::IpNet;

use super::super::platform::platform;
use super::{Evr, Facts, FoundFile, Interface, Listening, PackageManager, PodInterface, Route, UnitState};

/// More addresses than a host has; one that means harm may send them without end.
pub(super) const MOST_ADDRESSES: usize = 4096;

impl Facts {
    pub(in crate::host) fn parse(text: &str) -> Self {
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
