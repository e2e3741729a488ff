//! The manifest: what is in the bundle, and the sum of every byte of it.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::digest::Sha256;
use crate::footer::Footer;
use crate::image::blob_member;
use crate::member::{Member, MemberKind, check_name};

/// All members together, unpacked: less than this, so that no sum of their sizes overflows.
const SIZES_LIMIT: u64 = 1 << 60;

/// What a bundle says of itself. Fields that a newer program added are passed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The bundle's format; the same number as in the footer.
    pub format: u32,
    /// `sunshine-installer`.
    pub product: String,
    /// The product's version, as `--product-version` gave it.
    pub product_version: String,
    /// Architecture of the deployer and of every package that is not noarch, in rpm's words.
    pub arch: String,
    /// Seconds since 1970 of the newest package's build: the bundle's own date, the same on every build.
    pub newest_input: u64,
    /// The executable.
    pub deployer: Deployer,
    /// Sum over all bytes from the deployer's end to the manifest that belong to no member: tar headers and padding.
    pub archive_sha256: Sha256,
    /// The minisign public key that the deployer insists on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned_key: Option<String>,
    /// The members in the order in which they lie in the archive.
    pub members: Vec<Member>,
}

/// The executable in the bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployer {
    /// Bytes.
    pub size: u64,
    /// Sum.
    pub sha256: Sha256,
}

impl Manifest {
    /// The JSON text: one line for each member, so that `grep` serves a human too.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        let head = serde_json::to_value(Self { members: Vec::new(), ..self.clone() })?;
        let mut text = String::from("{\n");
        if let serde_json::Value::Object(fields) = head {
            for (name, value) in fields.into_iter().filter(|(name, _)| name != "members") {
                text.push_str(&format!("{}: {value},\n", serde_json::Value::String(name)));
            }
        }
        text.push_str("\"members\": [\n");
        let lines = self.members.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
        text.push_str(&lines.join(",\n"));
        text.push_str("\n]\n}\n");
        Ok(text.into_bytes())
    }

    /// Reads the JSON text and checks that it and the footer tell the same story.
    pub(crate) fn decode(bytes: &[u8], footer: &Footer) -> Result<Self, String> {
        let manifest: Self = serde_json::from_slice(bytes).map_err(|e| format!("it cannot be read: {e}"))?;
        if manifest.deployer.size != footer.deployer.size {
            return Err("it and the footer state different sizes of the deployer".into());
        }
        manifest.check_layout(footer)?;
        Ok(manifest)
    }

    /// Every member inside the archive, in order, none over another, no name twice: so that each byte is covered once.
    fn check_layout(&self, footer: &Footer) -> Result<(), String> {
        let mut names = HashSet::new();
        let mut free = footer.archive.offset;
        let mut sizes = 0_u64;
        for member in &self.members {
            check_name(&member.name).map_err(|e| e.to_string())?;
            if !names.insert(member.name.as_str()) {
                return Err(format!("it lists {} twice", member.name));
            }
            if member.kind == MemberKind::Blob && member.name != blob_member(&member.sha256) {
                return Err(format!("{} is not named by its sha256", member.name));
            }
            let end = member.offset.checked_add(member.stored_size()).filter(|&end| end <= footer.manifest.offset);
            match end {
                Some(end) if member.offset >= free => free = end,
                _ => return Err(format!("it places {} outside the archive or over another member", member.name)),
            }
            sizes = sizes.saturating_add(member.size);
            if sizes > SIZES_LIMIT {
                return Err(format!("with {} its members are larger than any disk", member.name));
            }
        }
        Ok(())
    }

    /// Sum of the sizes of all members, unpacked.
    #[must_use]
    pub fn members_size(&self) -> u64 {
        self.members.iter().map(|m| m.size).sum()
    }
}

#[cfg(test)]
mod tests {
    use crate::footer::{FORMAT, Span};
    use crate::member::Stored;

    use super::*;

    /// What is said of a manifest with members of these sizes, each packed into ten bytes.
    fn decoded(sizes: &[u64]) -> Result<Manifest, String> {
        let packed = Stored::Gzip { size: 10, sha256: Sha256::of(b"") };
        let member = |(at, size): (usize, &u64)| Member {
            name: format!("files/{at}"),
            kind: MemberKind::File,
            size: *size,
            sha256: Sha256::of(b""),
            offset: 64 + 10 * at as u64,
            stored: packed.clone(),
            rpm: None,
        };
        let manifest = Manifest {
            format: FORMAT,
            product: "sunshine-installer".into(),
            product_version: "1.0.0".into(),
            arch: "x86_64".into(),
            newest_input: 0,
            deployer: Deployer { size: 64, sha256: Sha256::of(b"") },
            archive_sha256: Sha256::of(b""),
            pinned_key: None,
            members: sizes.iter().enumerate().map(member).collect(),
        };
        let bytes = manifest.encode().unwrap();
        let footer = Footer {
            format: FORMAT,
            deployer: Span { offset: 0, size: 64 },
            archive: Span { offset: 64, size: 1024 },
            manifest: Span { offset: 1088, size: bytes.len() as u64 },
            manifest_sha256: Sha256::of(&bytes),
            signature: String::new(),
        };
        Manifest::decode(&bytes, &footer)
    }

    #[test]
    fn sizes_beyond_any_disk_are_refused() {
        assert_eq!(decoded(&[1 << 40, 5]).unwrap().members_size(), (1 << 40) + 5);
        for sizes in [&[u64::MAX, 1][..], &[1 << 63, 1 << 63], &[u64::MAX]] {
            let error = decoded(sizes).unwrap_err();
            assert!(error.contains("larger than any disk"), "{error}");
        }
    }
}
