//! Distributions that packages are collected for, and the repository files that are built in.

use std::fmt;
use std::str::FromStr;

use payload::Platform;

use super::args::Version;

/// A distribution and its release, under the name that `--distro` gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Distro {
    name: String,
    family: Family,
    /// `9`, or openEuler's `22.03-LTS-SP4`.
    release: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Rocky,
    Alma,
    Stream,
    OpenEuler,
}

/// Names, and whose releases they are. `el` stands for RHEL and what is compatible with it.
const FAMILIES: [(&str, Family, &[&str]); 5] = [
    ("el", Family::Rocky, &["8", "9", "10"]),
    ("rocky", Family::Rocky, &["8", "9", "10"]),
    ("alma", Family::Alma, &["8", "9", "10"]),
    ("stream", Family::Stream, &["9", "10"]),
    ("openeuler", Family::OpenEuler, &["22.03", "24.03"]),
];

impl FromStr for Distro {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = FAMILIES.iter().find_map(|(prefix, family, releases)| {
            let rest = name.strip_prefix(prefix)?;
            let release = match family {
                Family::OpenEuler => openeuler_release(rest, releases)?,
                _ => releases.contains(&rest).then(|| rest.to_owned())?,
            };
            Some(Self { name: name.to_owned(), family: *family, release })
        });
        known.ok_or_else(|| format!("it is no distribution that is known: {}", names()))
    }
}

/// `22.03`, or `22.03-sp4`.
fn openeuler_release(text: &str, releases: &[&str]) -> Option<String> {
    let (release, pack) = text.split_once("-sp").map_or((text, None), |(release, pack)| (release, Some(pack)));
    if !releases.contains(&release) {
        return None;
    }
    match pack {
        None => Some(format!("{release}-LTS")),
        Some(pack) => matches!(pack.as_bytes(), [b'1'..=b'9']).then(|| format!("{release}-LTS-SP{pack}")),
    }
}

fn names() -> String {
    let of = |(name, _, releases): &(&str, Family, &[&str])| releases.iter().map(|r| format!("{name}{r}")).collect();
    FAMILIES.iter().map(of).collect::<Vec<Vec<String>>>().concat().join(", ")
}

impl fmt::Display for Distro {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name)
    }
}

impl Distro {
    /// The platform of its hosts; openEuler's hosts have none.
    pub(super) fn platform(&self) -> Option<Platform> {
        match self.family {
            Family::OpenEuler => None,
            _ => format!("el{}", self.release).parse().ok(),
        }
    }

    /// `$releasever` of repository files.
    pub(super) fn releasever(&self) -> &str {
        &self.release
    }

    /// The repository files that are built in: the distribution's own, Kubernetes', and Docker's for containerd.
    pub(super) fn repositories(&self, kubernetes: &Version) -> String {
        let own = match self.family {
            Family::Rocky => self.rocky(),
            Family::Alma => self.alma(),
            Family::Stream => self.stream(),
            // It has a containerd of its own.
            Family::OpenEuler => return self.openeuler() + &pkgs_k8s_io(kubernetes),
        };
        own + &pkgs_k8s_io(kubernetes) + &docker()
    }

    fn rocky(&self) -> String {
        let base = "https://dl.rockylinux.org/pub/rocky";
        let key = match self.release.as_str() {
            "8" => "rockyofficial".to_owned(),
            release => format!("Rocky-{release}"),
        };
        let key = format!("{base}/RPM-GPG-KEY-{key}");
        let part =
            |part: &str| repository(&part.to_lowercase(), &format!("{base}/$releasever/{part}/$basearch/os/"), &key);
        ["BaseOS", "AppStream", "extras"].map(part).concat()
    }

    fn alma(&self) -> String {
        let base = "https://repo.almalinux.org/almalinux";
        let mut keys = format!("{base}/RPM-GPG-KEY-AlmaLinux-$releasever");
        if self.release == "8" {
            // Packages from before 2024 have the first key's signature.
            keys.push_str(&format!(" {base}/RPM-GPG-KEY-AlmaLinux"));
        }
        let part =
            |part: &str| repository(&part.to_lowercase(), &format!("{base}/$releasever/{part}/$basearch/os/"), &keys);
        ["BaseOS", "AppStream", "extras"].map(part).concat()
    }

    fn stream(&self) -> String {
        let key = match self.release.as_str() {
            "9" => "RPM-GPG-KEY-CentOS-Official",
            _ => "RPM-GPG-KEY-CentOS-Official-SHA256",
        };
        let key = format!("https://www.centos.org/keys/{key}");
        let base = "https://mirror.stream.centos.org/$releasever-stream";
        ["BaseOS", "AppStream"]
            .map(|part| repository(&part.to_lowercase(), &format!("{base}/{part}/$basearch/os/"), &key))
            .concat()
    }

    fn openeuler(&self) -> String {
        let base = format!("https://repo.openeuler.org/openEuler-{}", self.release);
        let key = format!("{base}/OS/$basearch/RPM-GPG-KEY-openEuler");
        ["OS", "everything", "update"]
            .map(|part| repository(&part.to_lowercase(), &format!("{base}/{part}/$basearch/"), &key))
            .concat()
    }
}

/// <https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/install-kubeadm/>
fn pkgs_k8s_io(version: &Version) -> String {
    let base = format!("https://pkgs.k8s.io/core:/stable:/{}/rpm/", version.minor());
    repository("kubernetes", &base, &format!("{base}repodata/repomd.xml.key"))
}

/// <https://docs.docker.com/engine/install/centos/>
fn docker() -> String {
    let base = "https://download.docker.com/linux/centos";
    repository("docker-ce-stable", &format!("{base}/$releasever/$basearch/stable/"), &format!("{base}/gpg"))
}

fn repository(id: &str, base: &str, keys: &str) -> String {
    format!("[{id}]\nname={id}\nbaseurl={base}\nenabled=1\ngpgcheck=1\ngpgkey={keys}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_is_a_known_name_and_release() {
        for (name, release, platform) in [
            ("el9", "9", Some("el9")),
            ("rocky8", "8", Some("el8")),
            ("alma10", "10", Some("el10")),
            ("stream9", "9", Some("el9")),
            ("openeuler22.03", "22.03-LTS", None),
            ("openeuler24.03-sp1", "24.03-LTS-SP1", None),
        ] {
            let distro: Distro = name.parse().unwrap();
            assert_eq!((distro.releasever(), distro.to_string().as_str()), (release, name));
            assert_eq!(distro.platform().as_ref().map(Platform::as_str), platform);
        }
        for wrong in
            ["", "el", "el7", "el99", "stream8", "openeuler22.03-sp", "openeuler22.03-spx", "debian12", "../el9"]
        {
            assert!(wrong.parse::<Distro>().unwrap_err().contains("rocky9, rocky10"), "{wrong}");
        }
    }

    #[test]
    fn every_repository_that_is_built_in_checks_signatures_by_keys_over_tls() {
        for name in ["el8", "el9", "rocky10", "alma8", "alma9", "stream9", "stream10", "openeuler22.03-sp4"] {
            let text = name.parse::<Distro>().unwrap().repositories(&"1.36.3".parse().unwrap());
            let sections = text.matches('[').count();
            assert!(sections >= 3, "{text}");
            for line in ["\ngpgcheck=1\n", "\ngpgkey=https://", "\nbaseurl=https://"] {
                assert_eq!(text.matches(line).count(), sections, "{line}: {text}");
            }
            assert!(text.contains("baseurl=https://pkgs.k8s.io/core:/stable:/v1.36/rpm/\n"), "{text}");
        }
    }
}
