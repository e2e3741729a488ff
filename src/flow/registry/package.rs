//! The package of the distribution server, under either name: where each has its configuration, and whom it runs as.

use payload::Bundle;

use crate::flow::rpms;
use crate::host::Facts;

/// A package that brings the server.
#[derive(Debug)]
pub(super) struct Package {
    pub name: &'static str,
    pub unit: &'static str,
    /// The folder of its `config.yml`.
    pub folder: &'static str,
    pub user: &'static str,
    /// Its program, and what the kernel calls the process of it.
    pub process: &'static str,
}

/// Fedora's and EPEL's, then Debian's.
const PACKAGES: [Package; 2] = [
    Package {
        name: "docker-distribution",
        unit: "docker-distribution.service",
        folder: "/etc/docker-distribution/registry",
        user: "root",
        process: "registry",
    },
    Package {
        name: "docker-registry",
        unit: "docker-registry.service",
        folder: "/etc/docker/registry",
        user: "docker-registry",
        process: "docker-registry",
    },
];

impl Package {
    /// The file that the server reads.
    pub(super) fn config(&self) -> String {
        format!("{}/config.yml", self.folder)
    }
}

/// The package that a host has.
pub(super) fn installed(facts: &Facts) -> Option<&'static Package> {
    PACKAGES.iter().find(|package| facts.packages.contains_key(package.name))
}

/// The package for a host: the installed one, else the bundle's.
pub(super) fn of(bundle: Option<&Bundle>, facts: &Facts) -> Option<&'static Package> {
    let in_bundle = || PACKAGES.iter().find(|package| rpms::for_host(bundle, facts).any(|id| id.name == package.name));
    installed(facts).or_else(in_bundle)
}

/// For a message.
pub(super) fn names() -> String {
    PACKAGES.map(|package| package.name).join(" or ")
}
