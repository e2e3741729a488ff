//! Whether what a run brings fits on each host, counted by file system: packages, images, etcd's data and whatever else the operations
//! name often lie on the same one, and each alone would fit.

use std::collections::{BTreeMap, BTreeSet};

use crate::host::{HostId, Mount, for_each};
use crate::plan::RunHost;

use super::problem::Problem;
use super::scene::Scene;

/// Bytes that something takes in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DiskSpace {
    pub folder: String,
    pub bytes: u64,
    /// What takes it, as the operator knows it.
    pub what: String,
}

impl DiskSpace {
    pub(super) fn new(folder: impl Into<String>, bytes: u64, what: impl Into<String>) -> Self {
        Self { folder: folder.into(), bytes, what: what.into() }
    }
}

/// All of several, by host.
pub(super) fn merge(all: &mut BTreeMap<HostId, Vec<DiskSpace>>, more: BTreeMap<HostId, Vec<DiskSpace>>) {
    for (host, spaces) in more {
        let known = all.entry(host).or_default();
        for disk_space in spaces {
            // Two operations of a line may name the same.
            if !known.contains(&disk_space) {
                known.push(disk_space);
            }
        }
    }
}

/// Adds every file system of every host that is too small for what comes to the `problems`. What rpm itself said of such a one goes: it is a part.
pub(super) fn check(needed: &BTreeMap<HostId, Vec<DiskSpace>>, scene: &Scene<'_>, problems: &mut Vec<Problem>) {
    let hosts: Vec<(&RunHost, &Vec<DiskSpace>)> =
        needed.iter().filter_map(|(name, spaces)| Some((scene.hosts.get(name)?, spaces))).collect();
    let looks = for_each(&hosts, scene.options.forks, |(host, spaces)| {
        let folders: BTreeSet<&str> = spaces.iter().map(|disk_space| disk_space.folder.as_str()).collect();
        host.host.mounts(folders.into_iter())
    });
    for ((host, spaces), look) in hosts.iter().zip(looks) {
        // A host that does not answer here is told by what asks it next.
        let Some(Ok(mounts)) = look else { continue };
        let name = host.host.name();
        for (at, text) in too_small(spaces, &mounts) {
            let rpm_s = format!(" on the {at} filesystem");
            problems.retain(|problem| problem.host.as_ref() != Some(name) || !problem.text.ends_with(&rpm_s));
            let help = "free space on that file system, or give the folder a larger one of its own";
            problems.push(Problem::error(name, text, help));
        }
    }
}

/// Where those that are too small are mounted, with what is needed.
fn too_small(spaces: &[DiskSpace], mounts: &BTreeMap<String, Mount>) -> Vec<(String, String)> {
    let mut systems: BTreeMap<&str, (&Mount, BTreeMap<&str, u64>)> = BTreeMap::new();
    for disk_space in spaces {
        let Some(mount) = mounts.get(&disk_space.folder) else { continue };
        let (_, takers) = systems.entry(&mount.device).or_insert((mount, BTreeMap::new()));
        let bytes: &mut u64 = takers.entry(&disk_space.what).or_default();
        *bytes = bytes.saturating_add(disk_space.bytes);
    }
    let mut texts = Vec::new();
    for (mount, takers) in systems.values() {
        let needed = takers.values().fold(0_u64, |sum, bytes| sum.saturating_add(*bytes));
        if needed > mount.free {
            let takers: Vec<String> =
                takers.iter().map(|(what, bytes)| format!("{what} {} MiB", mib(*bytes))).collect();
            let text = format!(
                "{} has {} MiB free, {} MiB are needed: {}",
                mount.at,
                mount.free >> 20,
                mib(needed),
                takers.join(", ")
            );
            texts.push((mount.at.clone(), text));
        }
    }
    texts
}

/// Rounded up: what is needed is never told as less.
fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn mount(device: &str, at: &str, free: u64) -> Mount {
        Mount { device: device.into(), at: at.into(), free: free * MIB }
    }

    fn told(spaces: &[DiskSpace], mounts: &BTreeMap<String, Mount>) -> Vec<String> {
        too_small(spaces, mounts).into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn what_lies_on_one_file_system_is_counted_together() {
        let spaces = [
            DiskSpace::new("/usr/bin", 100 * MIB, "packages"),
            DiskSpace::new("/opt", 50 * MIB + 1, "packages"),
            DiskSpace::new("/var/cache/x", 60 * MIB, "fetched packages"),
            DiskSpace::new("/var/lib/etcd", 512 * MIB, "etcd's data"),
            DiskSpace::new("/unknown", u64::MAX, "what nobody asked about"),
        ];
        let whole = |free| {
            let folders = ["/usr/bin", "/opt", "/var/cache/x", "/var/lib/etcd"];
            folders.into_iter().map(|folder| (folder.to_owned(), mount("1", "/", free))).collect()
        };
        assert_eq!(
            told(&spaces, &whole(700)),
            ["/ has 700 MiB free, 723 MiB are needed: etcd's data 512 MiB, fetched packages 60 MiB, packages 151 MiB"]
        );
        assert!(too_small(&spaces, &whole(723)).is_empty());
    }

    #[test]
    fn each_file_system_is_told_also_where_one_is_mounted_twice() {
        let spaces = [
            DiskSpace::new("/usr/bin", 100 * MIB, "packages"),
            DiskSpace::new("/var/lib/docker", 30 * MIB, "images"),
            DiskSpace::new("/var/lib/kubelet", 30 * MIB, "logs"),
        ];
        let mounts = [
            ("/usr/bin", mount("1", "/usr", 99)),
            ("/var/lib/docker", mount("2", "/var/lib/docker", 50)),
            ("/var/lib/kubelet", mount("2", "/var/lib/kubelet", 50)),
        ];
        let mounts = mounts.into_iter().map(|(folder, mount)| (folder.to_owned(), mount)).collect();
        assert_eq!(
            told(&spaces, &mounts),
            [
                "/usr has 99 MiB free, 100 MiB are needed: packages 100 MiB",
                "/var/lib/docker has 50 MiB free, 60 MiB are needed: images 30 MiB, logs 30 MiB"
            ]
        );
    }

    #[test]
    fn two_operations_that_name_the_same_count_it_once() {
        let one = || BTreeMap::from([(HostId::from("h"), vec![DiskSpace::new("/var/lib/etcd", 1, "etcd's data")])]);
        let mut all = one();
        merge(&mut all, one());
        assert_eq!(all, one());
    }
}
