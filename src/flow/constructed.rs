//! What plans of constructed facts start from, for tests and for `make bench-plan`.

use camino::Utf8Path;
use payload::{Bundle, BundleError, NewMember, Recipe, Source};

/// Writes a bundle of these members, whose executable is never run, and opens it.
///
/// # Errors
/// The file cannot be written.
pub fn bundle_of(members: Vec<NewMember>, out: &Utf8Path) -> Result<Bundle, BundleError> {
    // As much of an ELF header as says that it is for x86_64.
    let mut deployer = b"\x7fELF\x02\x01\x01".to_vec();
    deployer.resize(5000, 7);
    deployer[18..20].copy_from_slice(&62_u16.to_le_bytes());
    let recipe = Recipe {
        product_version: "0.1.0".into(),
        deployer: Source::Bytes(deployer),
        pinned_key: None,
        newest_input: 1_700_000_000,
        members,
    };
    payload::write(&recipe, out, &mut |_| ())?;
    Bundle::open(out)
}

/// A bundle of packages, each a prefix of its place in it, such as `el9/`, its name and its version.
#[cfg(test)]
pub fn bundle_of_packages(packages: &[(&str, &str, &str)]) -> Bundle {
    use payload::{MemberKind, RpmId};
    let member = |(prefix, name, version): &(&str, &str, &str)| {
        let (epoch, release, arch) = (0, "1".into(), "x86_64".into());
        let rpm = Some(RpmId { name: (*name).into(), epoch, version: (*version).into(), release, arch });
        let source = Source::Bytes(format!("{name} {version}").into_bytes());
        let name = format!("{prefix}rpms/{name}-{version}.rpm");
        NewMember { name, kind: MemberKind::Rpm, source, rpm, mtime: 1, sha256: None }
    };
    let folder = tempfile::tempdir().unwrap();
    let out = Utf8Path::from_path(folder.path()).unwrap().join("test.bin");
    bundle_of(packages.iter().map(member).collect(), &out).unwrap()
}
