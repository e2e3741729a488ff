//! The metadata says what createrepo_c says, package by package.

use std::collections::BTreeMap;
use std::io::Read;

use camino::{Utf8Path, Utf8PathBuf};
use payload::yum::{self, Packing};

use crate::rpmbuild::{self, Spec, run};
use crate::support::Scratch;
use crate::xml::{self, Element};

fn rpms_in(dir: &Utf8Path) -> Vec<Utf8PathBuf> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(dir).unwrap() {
        let path = Utf8PathBuf::from_path_buf(fs_err::canonicalize(entry.unwrap().path()).unwrap()).unwrap();
        if path.is_dir() {
            found.extend(rpms_in(&path));
        } else if path.extension() == Some("rpm") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn unpack(bytes: &[u8], name: &str) -> String {
    let mut text = String::new();
    if name.ends_with(".gz") {
        flate2::read::MultiGzDecoder::new(bytes).read_to_string(&mut text).unwrap();
    } else if name.ends_with(".zst") {
        zstd::Decoder::new(bytes).unwrap().read_to_string(&mut text).unwrap();
    } else {
        text = String::from_utf8(bytes.to_vec()).unwrap();
    }
    text
}

/// The three documents, after checking that repomd.xml describes their files truly.
fn documents(files: &BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Element> {
    let repomd = xml::parse(&String::from_utf8(files["repodata/repomd.xml"].clone()).unwrap());
    let mut documents = BTreeMap::new();
    for data in repomd.children.iter().filter(|c| c.name == "data") {
        let kind = data.attribute("type");
        if !["primary", "filelists", "other"].contains(&kind) {
            continue;
        }
        let href = data.child("location").unwrap().attribute("href");
        let bytes = &files[href];
        let text = unpack(bytes, href);
        assert_eq!(data.child("size").unwrap().text, bytes.len().to_string());
        assert_eq!(data.child("open-size").unwrap().text, text.len().to_string());
        assert_eq!(data.child("checksum").unwrap().text, payload::Sha256::of(bytes).to_string());
        assert_eq!(data.child("open-checksum").unwrap().text, payload::Sha256::of(text.as_bytes()).to_string());
        documents.insert(kind.to_owned(), xml::parse(&text));
    }
    documents
}

fn ours(paths: &[Utf8PathBuf], packing: Packing) -> BTreeMap<String, Element> {
    let scan = yum::scan(paths, "rpms/", packing, &mut |_| ()).unwrap();
    assert!(scan.refused.is_empty(), "{:?}", scan.refused);
    documents(&scan.repodata.into_iter().map(|f| (f.name, f.bytes)).collect())
}

/// createrepo_c over links to these files, each with the build's time as its own: ours states that.
fn createrepo(scratch: &Scratch, paths: &[Utf8PathBuf]) -> BTreeMap<String, Element> {
    let root = scratch.path("createrepo");
    fs_err::create_dir_all(root.join("rpms")).unwrap();
    for path in paths {
        let copy = root.join("rpms").join(path.file_name().unwrap());
        fs_err::copy(path, &copy).unwrap();
        let time = run("rpm", &["-qp", "--nosignature", "--qf", "%{BUILDTIME}", copy.as_str()], &[]);
        run("touch", &["-d", &format!("@{time}"), copy.as_str()], &[]);
    }
    run("createrepo_c", &["--quiet", root.as_str()], &[]);
    let files = fs_err::read_dir(root.join("repodata")).unwrap().map(|entry| {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        (format!("repodata/{name}"), fs_err::read(&path).unwrap())
    });
    documents(&files.collect())
}

fn assert_same(ours: &BTreeMap<String, Element>, theirs: &BTreeMap<String, Element>) {
    for kind in ["primary", "filelists", "other"] {
        let (mut ours, mut theirs) = (ours[kind].clone(), theirs[kind].clone());
        assert_eq!(ours.attribute("packages"), theirs.attribute("packages"), "{kind}");
        ours.sort();
        theirs.sort();
        for (mine, other) in ours.children.iter().zip(&theirs.children) {
            let (mine, other) = (mine.to_string(), other.to_string());
            let differing = mine.lines().zip(other.lines()).find(|(a, b)| a != b);
            assert!(mine == other, "{kind} differs: {differing:?}\nours:\n{mine}\ncreaterepo_c's:\n{other}");
        }
        assert_eq!(ours.children.len(), theirs.children.len());
    }
}

#[test]
fn made_packages_read_as_createrepo_c_reads_them() {
    let scratch = Scratch::new();
    let dir = scratch.path("rpms");
    rpmbuild::all(&scratch, &dir);
    let paths = rpms_in(&dir);
    assert_eq!(paths.len(), 12, "{paths:?}");
    let theirs = createrepo(&scratch, &paths);
    assert_same(&ours(&paths, Packing::Gzip), &theirs);
    assert_same(&ours(&paths, Packing::Zstd), &theirs);
}

/// The lab's packages, built on first use by the lab itself.
pub(crate) fn lab_rpms() -> Vec<Utf8PathBuf> {
    // Asked when it runs: build output outlives a checkout, and is not made anew for another one.
    let here = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    let lab = Utf8Path::new(&here).join("../tests/lab/lab");
    let printed = run(lab.as_str(), &["rpms", "etcd", "docker", "kubernetes", "extras"], &[]);
    printed.lines().filter(|line| line.ends_with(".rpm")).map(Utf8PathBuf::from).collect()
}

#[test]
fn every_lab_package_reads_as_createrepo_c_reads_it() {
    let scratch = Scratch::new();
    let paths = lab_rpms();
    assert!(paths.len() > 20, "{paths:?}");
    assert_same(&ours(&paths, Packing::Gzip), &createrepo(&scratch, &paths));
}

/// The sentence that a file is refused with.
fn refusal(path: &Utf8Path) -> String {
    let scan = yum::scan(&[path.to_owned()], "rpms/", Packing::Gzip, &mut |_| ()).unwrap();
    let refused = scan.refused.first().unwrap_or_else(|| panic!("{path} was not refused"));
    assert!(refused.to_string().contains(path.as_str()), "{refused}");
    refused.to_string()
}

#[test]
fn what_is_no_whole_package_is_refused_by_name() {
    let scratch = Scratch::new();
    let good = fs_err::read(Spec::new("plain").build(&scratch, &scratch.path("rpms"))).unwrap();
    let check = |bytes: &[u8], says: &str| {
        let path = scratch.path("bad.rpm");
        fs_err::write(&path, bytes).unwrap();
        let text = refusal(&path);
        assert!(text.contains(says), "{text}");
    };
    check(b"", "it is no rpm");
    check(&[b'x'; 5000], "it is no rpm");
    let payload_at = good.windows(4).position(|w| w == [0x28, 0xb5, 0x2f, 0xfd] || w[..3] == [0x1f, 0x8b, 8]).unwrap();
    for len in [97, 200, payload_at / 2, payload_at - 1, payload_at, payload_at + 5, good.len() - 1] {
        check(&good[..len], if len < payload_at { "trunc" } else { "truncated: " });
    }
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    check(&flipped, "its payload does not have the digest");
    let summary = good.windows(7).position(|w| w == b"package").unwrap();
    let mut flipped = good.clone();
    flipped[summary] ^= 1;
    check(&flipped, "its header does not have the digest");
}

/// No byte of a header, whatever it becomes, may end in anything but a refusal or a package.
#[test]
fn damaged_headers_never_panic() {
    let scratch = Scratch::new();
    let good = fs_err::read(Spec::new("plain").build(&scratch, &scratch.path("rpms"))).unwrap();
    let path = scratch.path("bad.rpm");
    for at in (0..good.len().min(9000)).step_by(13) {
        for value in [0x00, 0x7f, 0xff] {
            let mut bytes = good.clone();
            bytes[at] = value;
            fs_err::write(&path, &bytes).unwrap();
            let _ = payload::yum::RpmFile::read(&path, "rpms/bad.rpm");
        }
    }
}

#[test]
fn the_same_package_twice_counts_once_and_must_be_the_same() {
    let scratch = Scratch::new();
    let first = Spec::new("twin").build(&scratch, &scratch.path("a"));
    let copy = scratch.path("b/twin-copy.rpm");
    fs_err::create_dir_all(copy.parent().unwrap()).unwrap();
    fs_err::copy(&first, &copy).unwrap();
    let scan = yum::scan(&[first.clone(), copy.clone()], "rpms/", Packing::Gzip, &mut |_| ()).unwrap();
    assert_eq!((scan.rpms.len(), scan.same.len(), scan.refused.len()), (1, 1, 0));
    let documents = documents(&scan.repodata.into_iter().map(|f| (f.name, f.bytes)).collect());
    assert_eq!(documents["primary"].attribute("packages"), "1");
    let other = Spec::new("twin").tag("Summary: Other contents").build(&scratch, &scratch.path("c"));
    let scan = yum::scan(&[first, other], "rpms/", Packing::Gzip, &mut |_| ()).unwrap();
    let refused = scan.refused[0].to_string();
    assert!(refused.contains("is the same package (twin-1.0-1.noarch) with other contents"), "{refused}");
}

#[test]
fn requirements_that_nothing_meets_are_named() {
    let scratch = Scratch::new();
    let dir = scratch.path("rpms");
    Spec::new("plain").files("mkdir -p usr/bin; echo x >usr/bin/plain", "/usr/bin/plain").build(&scratch, &dir);
    Spec::new("needy")
        .tag("Requires: plain >= 0.5\nRequires: /usr/bin/plain\nRequires: plain > 7\nRequires: /bin/zsh\nRequires: (plain or nothing)\nRequires: (absent and plain)\nRequires: bash")
        .build(&scratch, &dir);
    let scan = yum::scan(&rpms_in(&dir), "rpms/", Packing::Gzip, &mut |_| ()).unwrap();
    let unmet = yum::unmet(&scan.rpms.iter().collect::<Vec<_>>(), &yum::Assumed::parse("bash"));
    let unmet: Vec<String> = unmet.iter().map(ToString::to_string).collect();
    let needy = "needy-1.0-1.noarch requires";
    assert_eq!(
        unmet,
        [format!("{needy} (absent and plain)"), format!("{needy} /bin/zsh"), format!("{needy} plain > 7")]
    );
}
