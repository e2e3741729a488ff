//! The options of `collect`: its own, and those of `build`.

use std::fmt;
use std::str::FromStr;

use camino::Utf8PathBuf;
use clap::Args;

use super::distro::Distro;
use super::mirror::Mirror;
use crate::cli::BuildArgs;

const EXAMPLES: &str = "\
Examples:
  One distribution; the network is flannel:
    sunshine-bundler collect --kubernetes 1.36.3 --distro el9 -o site.bin

  Another network, by its manifest:
    sunshine-bundler collect --kubernetes 1.36.3 --distro el9 \\
      --manifest calico=calico.yaml -o site.bin

  Two distributions in one bundle, and a lock; the same line later makes the same bundle:
    sunshine-bundler collect --kubernetes 1.36.3 --distro el8 el9 --lock site.lock -o site.bin

  From mirrors, through a proxy:
    sunshine-bundler collect --kubernetes 1.36.3 --distro rocky9 \\
      --mirror https://dl.rockylinux.org/pub/rocky=https://mirror.example/rocky \\
      --mirror registry.k8s.io=registry.example/k8s \\
      --proxy http://proxy.example:3128 -o site.bin

  From repositories of your own, such as RHEL's (keys are those that the files name):
    sunshine-bundler collect --kubernetes 1.36.3 --distro el9 \\
      --repo rhel9.repo kubernetes.repo -o site.bin

etcd runs outside of kubeadm's cluster, from its rpm. Where no repository has that rpm, one is made
of the programs in etcd's image.

Stopped in the middle? Run the same line again: what is in the work folder is not fetched again.";

/// What to collect, and from where.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct CollectArgs {
    /// The version of Kubernetes, such as 1.36.3.
    #[arg(long, value_name = "X.Y.Z", help_heading = COLLECT)]
    pub(crate) kubernetes: Version,
    /// The distributions of the hosts: el8, el9, el10 (from Rocky Linux, for RHEL and its relatives), rocky8 to rocky10, alma8 to
    /// alma10, stream9, stream10, openeuler22.03, openeuler24.03 (with service pack: openeuler22.03-sp4).
    ///
    /// Packages are resolved with all that they require, as if nothing was installed. Those of one distribution are for all hosts;
    /// of several, each is for hosts of its platform only.
    #[arg(long = "distro", value_name = "NAME", num_args = 1.., required = true, help_heading = COLLECT)]
    pub(crate) distros: Vec<Distro>,
    /// Packages beside those that the cluster needs, with what they require.
    #[arg(long = "package", value_name = "NAME", num_args = 1.., value_parser = package, help_heading = COLLECT)]
    pub(crate) packages: Vec<String>,
    /// Repository files to use instead of those built in; with a distribution's name in front, for that one only.
    ///
    /// Signatures are checked by the keys that the file names (gpgkey), unless it says gpgcheck=0.
    #[arg(long = "repo", value_name = "[NAME=]FILE", num_args = 1.., value_parser = repo, help_heading = COLLECT)]
    pub(crate) repos: Vec<RepoArg>,
    /// Fetch from TO what begins with FROM: URLs of repositories and keys, or names of images.
    #[arg(long = "mirror", value_name = "FROM=TO", num_args = 1.., help_heading = COLLECT)]
    pub(crate) mirrors: Vec<Mirror>,
    /// The proxy for all that is fetched; without it that of the environment (http_proxy, https_proxy, no_proxy).
    #[arg(long, value_name = "URL", value_parser = proxy, help_heading = COLLECT)]
    pub(crate) proxy: Option<String>,
    /// Names, versions and sums of packages and images: written when it is not there; when it is, exactly those are fetched.
    #[arg(long, value_name = "FILE", help_heading = COLLECT)]
    pub(crate) lock: Option<Utf8PathBuf>,
    /// Where downloads are kept; without it, the bundle's name with .work behind it.
    #[arg(long, value_name = "DIR", help_heading = COLLECT)]
    pub(crate) work: Option<Utf8PathBuf>,
    #[command(flatten, next_help_heading = "Options of build")]
    pub(crate) build: BuildArgs,
}

/// Under which `--help` lists what `build` does not have.
const COLLECT: &str = "What is collected";

/// A version of Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version([u32; 3]);

impl Version {
    /// As pkgs.k8s.io names its repositories: `v1.36`.
    pub(super) fn minor(&self) -> String {
        format!("v{}.{}", self.0[0], self.0[1])
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0[0], self.0[1], self.0[2])
    }
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Option<Vec<u32>> = text.strip_prefix('v').unwrap_or(text).split('.').map(number).collect();
        match parts.as_deref() {
            Some(&[major, minor, patch]) => Ok(Self([major, minor, patch])),
            _ => Err("it must be a whole version, such as 1.36.3".into()),
        }
    }
}

/// Digits alone, without the sign that Rust would accept.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

/// A repository file.
#[derive(Clone, Debug)]
pub(crate) struct RepoArg {
    /// Whose it is; none: all distributions'.
    pub(super) distro: Option<Distro>,
    pub(super) path: Utf8PathBuf,
}

/// A path may have an equals sign too.
fn repo(text: &str) -> Result<RepoArg, String> {
    match text.split_once('=') {
        Some((name, path)) if !Utf8PathBuf::from(text).exists() && !path.is_empty() => {
            Ok(RepoArg { distro: Some(name.parse()?), path: path.into() })
        }
        _ => Ok(RepoArg { distro: None, path: text.into() }),
    }
}

/// A package's name, also with version and architecture: no pattern, no path, no option.
fn package(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._+~^:".contains(c);
    if text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    Err("it is no package's name".into())
}

fn proxy(text: &str) -> Result<String, String> {
    let schemes = ["http://", "https://", "socks5://", "socks5h://"];
    let host = schemes.iter().find_map(|scheme| text.strip_prefix(scheme));
    match host {
        Some(host) if !host.is_empty() => Ok(text.to_owned()),
        _ => Err("it must be a URL, such as http://proxy.example:3128".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_has_three_numbers() {
        assert_eq!("v1.36.3".parse::<Version>().unwrap().to_string(), "1.36.3");
        assert_eq!("1.36.3".parse::<Version>().unwrap().minor(), "v1.36");
        for wrong in ["", "1.36", "1.36.x", "1.36.3.1", "1.+36.3", "1..3", "latest"] {
            assert!(wrong.parse::<Version>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_package_is_a_name_and_nothing_that_dnf_would_expand() {
        for name in ["tcpdump", "etcd-3.6.8-1.el9.x86_64", "libstdc++", "gcc-0:11.4"] {
            assert!(package(name).is_ok(), "{name}");
        }
        for wrong in ["", "-y", "*", "kube*", "/bin/sh", "a b", "@core", "http://x/a.rpm", "a[0]"] {
            assert!(package(wrong).is_err(), "{wrong}");
        }
    }
}
