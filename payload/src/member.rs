//! A member of a bundle: its name, what it is, and where it lies. Names are checked here and nowhere else.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::Sha256;

/// One file of the bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Relative path with `/`, such as `rpms/etcd-3.4.23-1.el9.x86_64.rpm`; see [`check_name`].
    pub name: String,
    /// What it is for.
    pub kind: MemberKind,
    /// Bytes of the contents, unpacked.
    pub size: u64,
    /// Sum of the contents, unpacked.
    pub sha256: Sha256,
    /// Where the stored bytes begin, counted from the start of the bundle file.
    pub offset: u64,
    /// How the bytes are stored; in the tar a packed member's name ends in `.gz`.
    #[serde(default, skip_serializing_if = "Stored::is_plain")]
    pub stored: Stored,
    /// Which package it is, for an rpm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpm: Option<RpmId>,
}

/// How a member's bytes lie in the archive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stored {
    /// As they are.
    #[default]
    Plain,
    /// Packed with gzip, which every shell of the last thirty years can open.
    Gzip {
        /// Bytes in the archive.
        size: u64,
        /// Sum of the bytes in the archive.
        sha256: Sha256,
    },
}

impl Stored {
    fn is_plain(&self) -> bool {
        *self == Self::Plain
    }
}

impl Member {
    /// Bytes that it takes in the archive.
    #[must_use]
    pub fn stored_size(&self) -> u64 {
        match &self.stored {
            Stored::Plain => self.size,
            Stored::Gzip { size, .. } => *size,
        }
    }

    /// Sum of the bytes in the archive.
    #[must_use]
    pub fn stored_sha256(&self) -> &Sha256 {
        match &self.stored {
            Stored::Plain => &self.sha256,
            Stored::Gzip { sha256, .. } => sha256,
        }
    }

    /// The last part of the name.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or(&self.name)
    }

    /// Its name inside the tar archive.
    #[must_use]
    pub fn name_in_tar(&self) -> String {
        match self.stored {
            Stored::Plain => self.name.clone(),
            Stored::Gzip { .. } => format!("{}.gz", self.name),
        }
    }
}

/// What a member is for. A kind that this program does not know reads as `File`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberKind {
    /// A package: `rpms/FILE`, or `PLATFORM/rpms/FILE`.
    Rpm,
    /// A container image as `docker save` writes it: `images/FILE`. Only bundles of format 1 have them.
    Image,
    /// A blob of container images: `blobs/sha256/HEX`.
    Blob,
    /// What makes an OCI image layout of the blobs: `oci-layout`, `index.json`.
    Layout,
    /// `conf/conf.ini` or `install_rpm/install.ini`.
    Ini,
    /// A network's manifest: `networks/NAME.yaml`.
    NetworkManifest,
    /// An addon's manifest: `addons/NAME.yaml`.
    Addon,
    /// Yum metadata: `repodata/FILE`, or `PLATFORM/repodata/FILE`.
    Repodata,
    /// A public key that packages are signed with: `keys/FILE`.
    Key,
    /// Anything else.
    #[serde(other)]
    File,
}

impl fmt::Display for MemberKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Rpm => "rpm",
            Self::Image => "image",
            Self::Blob => "blob",
            Self::Layout => "layout",
            Self::Ini => "ini",
            Self::NetworkManifest => "network",
            Self::Addon => "addon",
            Self::Repodata => "repodata",
            Self::Key => "key",
            Self::File => "file",
        })
    }
}

/// A package's full identity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RpmId {
    /// Name, such as `etcd`.
    pub name: String,
    /// Epoch; a package without one has 0.
    #[serde(default)]
    pub epoch: u32,
    /// Version, such as `3.4.23`.
    pub version: String,
    /// Release, such as `1.el9`.
    pub release: String,
    /// Architecture, such as `x86_64` or `noarch`.
    pub arch: String,
}

impl fmt::Display for RpmId {
    /// `name-[epoch:]version-release.arch`, as dnf prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, epoch, version, release, arch } = self;
        if *epoch == 0 {
            write!(f, "{name}-{version}-{release}.{arch}")
        } else {
            write!(f, "{name}-{epoch}:{version}-{release}.{arch}")
        }
    }
}

/// A name that could leave the folder it is unpacked to, or confuse a shell or a terminal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} cannot be a member's name: {why}")]
pub struct NameError {
    /// The name.
    pub name: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// Names that an extracted folder needs for itself.
const RESERVED: [&str; 3] = [crate::folder::DEPLOYER, crate::folder::MANIFEST, crate::folder::FOOTER];

/// Checks that a name is a plain relative path: no empty, `.` or `..` part, no control character, at most 240 bytes,
/// none that an extracted folder uses itself.
pub fn check_name(name: &str) -> Result<(), NameError> {
    let fail = |why| Err(NameError { name: name.to_owned(), why });
    if name.len() > 240 {
        return fail("it is longer than 240 bytes");
    }
    if name.chars().any(char::is_control) || name.contains('\\') {
        return fail("it holds a control character or a backslash");
    }
    if name.starts_with('-') {
        return fail("it begins with a minus sign");
    }
    for part in name.split('/') {
        match part {
            "" => return fail("it is absolute, or has an empty part"),
            "." | ".." => return fail("it has a part . or .."),
            _ => {}
        }
    }
    if RESERVED.contains(&name) {
        return fail("an extracted bundle has a file of that name already");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_refused() {
        for name in [
            "",
            "/etc/passwd",
            "../x",
            "a/../b",
            "a//b",
            "a/",
            "./a",
            "a\nb",
            "a\\b",
            "-rf",
            "manifest.json",
            "\u{1b}[2J",
        ] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        assert!(check_name(&"a".repeat(241)).is_err());
    }

    #[test]
    fn ordinary_names_pass() {
        for name in ["conf/conf.ini", "rpms/a-1:2~rc1^git-3.el7.x86_64.rpm", "networks/müller.yaml", "a..b/..c"] {
            assert_eq!(check_name(name), Ok(()));
        }
    }

    #[test]
    fn an_unknown_kind_is_a_file() {
        assert_eq!(serde_json::from_str::<MemberKind>("\"hologram\"").unwrap(), MemberKind::File);
        assert_eq!(serde_json::from_str::<MemberKind>("\"network_manifest\"").unwrap(), MemberKind::NetworkManifest);
        assert_eq!(serde_json::to_string(&MemberKind::File).unwrap(), "\"file\"");
    }

    #[test]
    fn a_package_is_shown_as_dnf_shows_it() {
        let mut id = RpmId {
            name: "etcd".into(),
            epoch: 0,
            version: "3.4.23".into(),
            release: "1.el9".into(),
            arch: "x86_64".into(),
        };
        assert_eq!(id.to_string(), "etcd-3.4.23-1.el9.x86_64");
        id.epoch = 2;
        assert_eq!(id.to_string(), "etcd-2:3.4.23-1.el9.x86_64");
    }
}
