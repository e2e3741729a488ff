//! Hosts on their own, without a plan: looked at, given a command, given a file.

use std::fs::File;
use std::time::Duration;

use camino::Utf8Path;
use sha2::{Digest, Sha256};

use crate::host::{
    Command, Connect, Facts, FileMeta, Host, HostError, HostId, Output, Target, for_each_as_it_comes, raise_descriptors,
};

use super::connect::probes;
use super::error::FlowError;

/// How hosts are reached, and how many at once.
#[derive(Debug, Clone)]
pub struct Hosts {
    pub connect: Connect,
    pub forks: usize,
}

/// What came of one host.
#[derive(Debug)]
pub struct Done {
    pub host: HostId,
    pub result: Result<Output, HostError>,
}

/// What one host is.
#[derive(Debug)]
pub struct Checked {
    pub host: HostId,
    pub result: Result<Facts, HostError>,
}

impl Done {
    pub fn ok(&self) -> bool {
        self.result.as_ref().is_ok_and(Output::ok)
    }

    /// One line of `--json`.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.result {
            Ok(output) => serde_json::json!({
                "host": self.host, "ok": output.ok(), "status": output.status,
                "stdout": String::from_utf8_lossy(&output.stdout), "stderr": String::from_utf8_lossy(&output.stderr),
            }),
            Err(e) => serde_json::json!({
                "host": self.host, "ok": false, "unreachable": e.is_unreachable(), "error": e.to_string(), "help": e.help(),
            }),
        }
    }
}

/// One line of `hosts check --json`.
pub fn facts_json(host: &str, facts: &Facts) -> serde_json::Value {
    serde_json::json!({
        "host": host, "system": facts.pretty_name, "id": facts.distro_id, "version": facts.distro_version,
        "platform": facts.platform,
        "arch": facts.arch, "kernel": facts.kernel, "hostname": facts.hostname, "addresses": facts.addresses,
        "clock_offset_seconds": facts.clock_offset, "memory_bytes": facts.memory_total, "cpus": facts.cpus,
        "disk_free_bytes": facts.disk_free, "cgroup": facts.cgroup_version, "selinux": facts.selinux, "fips": facts.fips,
        "swap": facts.swap, "firewalld": facts.firewalld(),
        "package_manager": facts.package_manager.map(crate::host::PackageManager::program),
    })
}

impl Hosts {
    /// Connects to all and reads their facts, in the order given.
    pub fn check(&self, targets: &[Target]) -> Vec<Checked> {
        let probes = probes();
        let mut results: Vec<(usize, Checked)> = self
            .each(targets, move |host| host.facts(&probes))
            .map(|(index, host, result)| (index, Checked { host, result }))
            .collect();
        results.sort_by_key(|(index, _)| *index);
        results.into_iter().map(|(_, checked)| checked).collect()
    }

    /// Runs a line on all; each result comes as soon as its host is done.
    pub fn exec(&self, targets: &[Target], line: &str, timeout: Duration) -> impl Iterator<Item = Done> + use<> {
        let command = Command::user_line(line).timeout(timeout);
        self.each(targets, move |host| host.run(&command)).map(|(_, host, result)| Done { host, result })
    }

    /// Puts a file on all.
    ///
    /// # Errors
    /// When the file here cannot be read; what a host says is in its result.
    pub fn push(
        &self,
        targets: &[Target],
        file: &Utf8Path,
        to: &str,
        mode: u32,
    ) -> Result<impl Iterator<Item = Done> + use<>, FlowError> {
        let unreadable = |e: std::io::Error| FlowError::request(format!("{file}: {e}"));
        let mut reader = File::open(file).map_err(unreadable)?;
        let mut sha = Sha256::new();
        let size = std::io::copy(&mut reader, &mut HashWriter(&mut sha)).map_err(unreadable)?;
        let sha256 = hex::encode(sha.finalize());
        let (file, to) = (file.to_owned(), to.to_owned());
        let results = self.each(targets, move |host| {
            let local = |e: std::io::Error| HostError::Local {
                host: host.name().to_owned(),
                what: file.to_string(),
                why: e.to_string(),
            };
            let mut reader = File::open(&file).map_err(local)?;
            host.upload(&mut reader, size, &sha256, &to, &FileMeta::mode(mode), &mut |_| {})?;
            Ok(Output::default())
        });
        Ok(results.map(|(_, host, result)| Done { host, result }))
    }

    /// Does `work` on every host, `forks` at once.
    fn each<T: Send + 'static, W: Fn(&Host) -> Result<T, HostError> + Send + Sync + 'static>(
        &self,
        targets: &[Target],
        work: W,
    ) -> impl Iterator<Item = (usize, HostId, Result<T, HostError>)> + use<T, W> {
        raise_descriptors();
        let ids: Vec<HostId> = targets.iter().map(Target::id).collect();
        let connect = self.connect.clone();
        let results = for_each_as_it_comes(targets.to_vec(), self.forks, move |target| {
            Host::connect(target, &connect).and_then(|host| work(&host))
        });
        results.filter_map(move |(index, result)| {
            let host = ids.get(index)?.clone();
            let result = result.unwrap_or_else(|| Err(HostError::Ended { host: host.clone() }));
            Some((index, host, result))
        })
    }
}

struct HashWriter<'a>(&'a mut Sha256);

impl std::io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
