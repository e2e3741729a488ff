//! Builders for bundles that tests can take apart.

use camino::{Utf8Path, Utf8PathBuf};
use payload::{MemberKind, NewMember, Recipe, Source};

/// A folder that is removed when the test ends.
pub(crate) struct Scratch(tempfile::TempDir);

impl Scratch {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8Path::from_path(self.0.path()).unwrap().join(name)
    }
}

/// The smallest thing that passes for an x86_64 executable; it is never run.
pub(crate) fn tiny_elf() -> Vec<u8> {
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(5000, 7);
    elf[18..20].copy_from_slice(&62u16.to_le_bytes());
    elf
}

/// Bytes that do not compress, the same on every run.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    })
    .take(len)
    .collect()
}

pub(crate) fn member(name: &str, kind: MemberKind, bytes: &[u8]) -> NewMember {
    NewMember {
        name: name.into(),
        kind,
        source: Source::Bytes(bytes.to_vec()),
        rpm: None,
        mtime: 1_700_000_000,
        sha256: None,
    }
}

/// Members of every way to be stored: small, aligned, packed, empty, long name.
pub(crate) fn recipe() -> Recipe {
    let manifest = "apiVersion: v1\nkind: ConfigMap\n".repeat(500);
    Recipe {
        product_version: "0.1.0".into(),
        deployer: Source::Bytes(tiny_elf()),
        pinned_key: None,
        newest_input: 1_700_000_000,
        members: vec![
            member("rpms/big.rpm", MemberKind::Rpm, &noise(700_001, 1)),
            member("rpms/small.rpm", MemberKind::Rpm, &noise(3000, 2)),
            member("conf/conf.ini", MemberKind::Ini, b"[etcd-cluster]\n10.8.14.200:111111\n"),
            member("networks/calico.yaml", MemberKind::NetworkManifest, manifest.as_bytes()),
            member("files/empty", MemberKind::File, b""),
            member(&format!("images/{}.tar", "long".repeat(50)), MemberKind::Image, &noise(70_000, 3)),
        ],
    }
}

/// Writes the recipe to a new file of the scratch folder.
pub(crate) fn build(scratch: &Scratch, recipe: &Recipe) -> Utf8PathBuf {
    let out = scratch.path("test.bin");
    payload::write(recipe, &out, &mut |_| ()).unwrap();
    out
}
