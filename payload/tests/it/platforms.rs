//! Repositories of their own for platforms, in one bundle.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use payload::{Bundle, BundleError, Changes, Inputs, MemberKind, Platform, RpmId, Source};

use crate::rpmbuild::run;
use crate::support::{Scratch, tiny_elf};

/// A package in the folder; `text` makes its bytes others.
fn rpm(folder: &Utf8Path, name: &str, text: &str) -> Utf8PathBuf {
    let mut builder = rpm::PackageBuilder::new(name, "1.0", "MIT", "noarch", "A test");
    builder.release("1").using_config(rpm::BuildConfig::v4().source_date(1_700_000_000));
    builder.with_file_contents(text, rpm::FileOptions::new(format!("/srv/{name}"))).unwrap();
    let path = folder.join(format!("{name}-1.0-1.noarch.rpm"));
    fs_err::create_dir_all(folder).unwrap();
    builder.build().unwrap().write_file(&path).unwrap();
    path
}

fn assembled(scratch: &Scratch, rpms: Vec<(&str, Utf8PathBuf)>) -> Result<Bundle, Vec<BundleError>> {
    let out = scratch.path("test.bin");
    let mut inputs = Inputs::new("0.1.0", Source::Bytes(tiny_elf()), &out);
    rpms.into_iter().for_each(|(platform, path)| inputs.rpm(platform.parse().ok(), Source::File(path)));
    let assembled = payload::assemble(inputs, &mut |_| ())?;
    payload::write(&assembled.recipe, &out, &mut |_| ()).unwrap();
    Ok(Bundle::open(&out).unwrap())
}

/// One package for all, and one that is another on each platform.
fn bundle(scratch: &Scratch) -> Bundle {
    let of = |platform: &str, name: &str| rpm(&scratch.path(&format!("in/{platform}")), name, platform);
    let rpms =
        vec![("", of("", "tini")), ("el8", of("el8", "etcd")), ("el9", of("el9", "etcd")), ("el9", of("el9", "runc"))];
    assembled(scratch, rpms).unwrap()
}

fn packages(bundle: &Bundle) -> Vec<&str> {
    bundle.manifest().members.iter().filter(|m| m.kind == MemberKind::Rpm).map(|m| m.name.as_str()).collect()
}

const PACKAGES: [&str; 4] = [
    "el8/rpms/etcd-1.0-1.noarch.rpm",
    "el9/rpms/etcd-1.0-1.noarch.rpm",
    "el9/rpms/runc-1.0-1.noarch.rpm",
    "rpms/tini-1.0-1.noarch.rpm",
];

#[test]
fn each_platform_is_a_repository_and_its_hosts_are_offered_it() {
    let scratch = Scratch::new();
    let bundle = bundle(&scratch);
    assert_eq!(bundle.manifest().format, 2);
    bundle.verify(&mut |_| ()).unwrap();
    assert_eq!(packages(&bundle), PACKAGES);
    for repomd in ["repodata/repomd.xml", "el8/repodata/repomd.xml", "el9/repodata/repomd.xml"] {
        assert_eq!(bundle.member(repomd).map(|m| m.kind), Some(MemberKind::Repodata), "{repomd}");
    }
    let platforms: Vec<String> = bundle.manifest().platforms().iter().map(Platform::to_string).collect();
    assert_eq!(platforms, ["el8", "el9"]);
    let counts = BTreeMap::from([(None, 1), (Some("el8"), 1), (Some("el9"), 2)]);
    assert_eq!(bundle.manifest().package_counts(), counts);
    let offered = |platform: &'static str| {
        let packages = bundle.manifest().packages_for(platform);
        packages.map(|m| m.name.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(offered("el9"), [PACKAGES[1], PACKAGES[2], PACKAGES[3]]);
    assert_eq!(offered("f41"), [PACKAGES[3]]);
    assert_eq!(offered(""), [PACKAGES[3]]);
    let files: Vec<&str> = bundle.rpm_files("etcd-1.0-1.noarch.rpm").map(|m| m.name.as_str()).collect();
    assert_eq!(files, PACKAGES[..2]);
}

/// What dnf finds in a folder.
fn repository(scratch: &Scratch, folder: &Utf8Path) -> Vec<String> {
    let options = [
        format!("--repofrompath=bundle,file://{folder}"),
        format!("--setopt=cachedir={}", scratch.path("cache")),
        format!("--installroot={}", scratch.path("root")),
        "--repo=bundle".into(),
        "--setopt=bundle.gpgcheck=0".into(),
        "--setopt=metadata_expire=0".into(),
        "--releasever=9".into(),
    ];
    let mut args: Vec<&str> = vec!["-q", "--noplugins"];
    args.extend(options.iter().map(String::as_str));
    args.extend(["repoquery", "--location", "*"]);
    let found = run("dnf", &args, &[]);
    let mut found: Vec<String> =
        found.lines().map(|line| line.trim_start_matches(&format!("file://{folder}/")).to_owned()).collect();
    found.sort();
    found
}

#[test]
fn dnf_reads_each_repository_of_the_extracted_folder() {
    let scratch = Scratch::new();
    let folder = scratch.path("extracted");
    payload::extract(&bundle(&scratch), &folder, None, &mut |_| ()).unwrap();
    assert_eq!(repository(&scratch, &folder), ["rpms/tini-1.0-1.noarch.rpm"]);
    let el9 = ["rpms/etcd-1.0-1.noarch.rpm", "rpms/runc-1.0-1.noarch.rpm"];
    assert_eq!(repository(&scratch, &folder.join("el9")), el9);
}

#[test]
fn packages_clash_within_a_repository_only() {
    let scratch = Scratch::new();
    let (one, other) = (rpm(&scratch.path("a"), "etcd", "one"), rpm(&scratch.path("b"), "etcd", "other"));
    let refused = assembled(&scratch, vec![("el9", one.clone()), ("el9", other.clone())]).unwrap_err();
    assert!(
        refused[0].to_string().contains("is the same package (etcd-1.0-1.noarch) with other contents"),
        "{refused:?}"
    );
    let bundle = assembled(&scratch, vec![("el9", one.clone()), ("", other), ("el8", one)]).unwrap();
    assert_eq!(packages(&bundle).len(), 3);
}

#[test]
fn all_packages_may_be_for_platforms() {
    let scratch = Scratch::new();
    let bundle = assembled(&scratch, vec![("el9", rpm(&scratch.path("a"), "etcd", "x"))]).unwrap();
    assert_eq!(packages(&bundle), ["el9/rpms/etcd-1.0-1.noarch.rpm"]);
    let folder = scratch.path("extracted");
    payload::extract(&bundle, &folder, None, &mut |_| ()).unwrap();
    assert!(repository(&scratch, &folder).is_empty());
}

#[test]
fn repacking_keeps_every_package_in_its_repository() {
    let scratch = Scratch::new();
    let old = bundle(&scratch);
    let folder = scratch.path("extracted");
    payload::extract(&old, &folder, None, &mut |_| ()).unwrap();
    let repacked = |bundle: &Bundle, changes: &Changes| {
        let out = scratch.path("new.bin");
        let assembled = payload::repack(bundle, changes, &out, &mut |_| ()).unwrap();
        payload::write(&assembled.recipe, &out, &mut |_| ()).unwrap();
        (Bundle::open(&out).unwrap(), fs_err::read(&out).unwrap())
    };
    let same = fs_err::read(old.path()).unwrap();
    assert!(repacked(&old, &Changes::default()).1 == same);
    assert!(repacked(&Bundle::open(&folder).unwrap(), &Changes::default()).1 == same);
    let added = rpm(&scratch.path("more"), "cri-o", "x");
    let changes = Changes {
        rpms: vec![added],
        platform: Some("f41".parse().unwrap()),
        drop: vec!["el9/rpms/etcd-1.0-1.noarch.rpm".into(), "tini".into()],
        ..Changes::default()
    };
    let (new, _) = repacked(&old, &changes);
    assert_eq!(packages(&new), [PACKAGES[0], PACKAGES[2], "f41/rpms/cri-o-1.0-1.noarch.rpm"]);
    let ids: Vec<&RpmId> = new.manifest().members.iter().filter_map(|m| m.rpm.as_ref()).collect();
    assert_eq!(ids.len(), 3);
    // The name of a package means those of all platforms.
    let (new, _) = repacked(&old, &Changes { drop: vec!["etcd".into()], ..Changes::default() });
    assert_eq!(packages(&new), [PACKAGES[2], PACKAGES[3]]);
    assert!(new.member("el8/repodata/repomd.xml").is_none(), "nothing is left for el8");
}
