//! The bundle's own commands, called as the command line calls them.
// A test's helpers fail as its own lines do; clippy.toml frees only the functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod program;

use camino::{Utf8Path, Utf8PathBuf};
use clap::Parser;
use payload::{Bundle, Inputs, Source};
use serde_json::Value;
use sunshine_installer::interface::bundle::{BundleCommand, BundleCommandError, Console, run};

struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8Path::from_path(self.0.path()).unwrap().join(name)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> Utf8PathBuf {
        let path = self.path(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(&path, bytes).unwrap();
        path
    }

    /// A bundle of the sunshine-installer itself and two packages.
    fn bundle(&self) -> Utf8PathBuf {
        self.bundle_of(Utf8Path::new(env!("CARGO_BIN_EXE_sunshine-installer")), None)
    }

    fn bundle_of(&self, deployer: &Utf8Path, pinned_key: Option<&str>) -> Utf8PathBuf {
        let out = self.path("test.bin");
        let mut inputs = Inputs::new("0.1.0", Source::File(deployer.to_owned()), &out);
        inputs.pinned_key = pinned_key.map(str::to_owned);
        inputs.rpm(None, Source::File(self.rpm("first", "1")));
        inputs.rpm(None, Source::File(self.rpm("second", "1")));
        inputs.conf(&self.file("conf.ini", b"[etcd-cluster]\n10.8.14.200:111111\n"));
        inputs.network("calico", &self.file("calico.yaml", "kind: DaemonSet\n".repeat(1000).as_bytes()));
        let assembled = payload::assemble(inputs, &mut |_| ()).unwrap();
        payload::write(&assembled.recipe, &out, &mut |_| ()).unwrap();
        out
    }

    /// A package with a payload of noise.
    fn rpm(&self, name: &str, release: &str) -> Utf8PathBuf {
        let path = self.path(&format!("{name}-1.0-{release}.noarch.rpm"));
        let noise: Vec<u8> =
            (0..100_000_u32).flat_map(|n| payload::Sha256::of(&n.to_le_bytes()).as_bytes()[..2].to_vec()).collect();
        let mut builder = rpm::PackageBuilder::new(name, "1.0", "MIT", "noarch", "A test");
        builder
            .release(release)
            .using_config(rpm::BuildConfig::v4().compression(rpm::CompressionType::None).source_date(1_700_000_000));
        builder.with_file_contents(noise, rpm::FileOptions::new(format!("/srv/{name}"))).unwrap();
        builder.build().unwrap().write_file(&path).unwrap();
        path
    }
}

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: BundleCommand,
}

/// Runs `bundle ARGS`; returns the text.
fn bundle_with(args: &[&str], json: bool) -> Result<String, BundleCommandError> {
    let line = Line::parse_from(std::iter::once("bundle").chain(args.iter().copied()));
    let mut out = Vec::new();
    let mut console = Console {
        out: &mut out,
        json,
        progress: &mut |done, total| assert!(done <= total.max(done)),
        ask: &mut |_| Ok("secret".into()),
    };
    run(&line.command, &mut console).map(|()| String::from_utf8(out).unwrap())
}

fn bundle(args: &[&str]) -> String {
    bundle_with(args, false).unwrap_or_else(|e| panic!("{args:?}: {e}"))
}

fn json(args: &[&str]) -> Value {
    serde_json::from_str(&bundle_with(args, true).unwrap()).unwrap()
}

fn failure(args: &[&str]) -> (u8, String) {
    let error = bundle_with(args, false).unwrap_err();
    (error.exit_code(), error.to_string())
}

#[test]
fn the_bundle_is_named_by_place_or_by_option() {
    let scratch = Scratch::new();
    let bin = scratch.bundle();
    for command in ["info", "list", "verify", "sbom"] {
        assert_eq!(bundle(&[command, bin.as_str()]), bundle(&[command, "--bundle", bin.as_str()]), "{command}");
        assert!(Line::try_parse_from(["bundle", command, bin.as_str(), "--bundle", bin.as_str()]).is_err());
    }
    let dir = scratch.path("by place");
    bundle(&["extract", bin.as_str(), dir.as_str()]);
    assert_eq!(bundle(&["list", dir.as_str()]), bundle(&["list", bin.as_str()]));
    let (code, said) = failure(&["extract", bin.as_str(), "x", "--bundle", bin.as_str()]);
    assert_eq!((code, said.contains("named twice")), (2, true), "{said}");
    let new = scratch.path("new.bin");
    bundle(&["repack", bin.as_str(), "--product-version", "9.9.9", "-o", new.as_str()]);
    assert_eq!(
        json(&["info", new.as_str()])["product_version"],
        json(&["info", "--bundle", new.as_str()])["product_version"]
    );
}

#[test]
fn an_extracted_folder_says_the_same_as_the_bundle() {
    let scratch = Scratch::new();
    let bin = scratch.bundle();
    let dir = scratch.path("site/unpacked");
    bundle(&["extract", dir.as_str(), "--bundle", bin.as_str()]);
    let info = |path: &Utf8Path| {
        let mut info = json(&["info", "--bundle", path.as_str()]);
        info.as_object_mut().unwrap().retain(|key, _| key != "path" && key != "extracted");
        info
    };
    assert_eq!(info(&bin), info(&dir));
    assert_eq!(bundle(&["list", "--bundle", bin.as_str()]), bundle(&["list", "--bundle", dir.as_str()]));
    assert!(bundle(&["verify", "--bundle", dir.as_str()]).contains("intact"));
    use std::os::unix::fs::PermissionsExt;
    let mode = fs_err::metadata(dir.join("sunshine-installer")).unwrap().permissions().mode();
    assert_eq!(mode & 0o111, 0o111);
    let yaml = fs_err::read(dir.join("networks/calico.yaml")).unwrap();
    assert_eq!(yaml, fs_err::read(scratch.path("calico.yaml")).unwrap());
}

#[test]
fn damage_in_an_extracted_folder_is_named_and_its_ini_files_are_the_sites() {
    let scratch = Scratch::new();
    let bin = scratch.bundle();
    let dir = scratch.path("unpacked");
    bundle(&["extract", dir.as_str(), "--bundle", bin.as_str()]);
    fs_err::write(dir.join("conf/conf.ini"), "[etcd-cluster]\n10.0.0.1:pw\n").unwrap();
    bundle(&["verify", "--bundle", dir.as_str()]);
    for (file, says) in [
        ("rpms/first-1.0-1.noarch.rpm", "member rpms/first-1.0-1.noarch.rpm"),
        ("sunshine-installer", "deployer"),
        ("manifest.json", "manifest"),
        ("bundle.footer", "footer"),
    ] {
        let path = dir.join(file);
        let intact = fs_err::read(&path).unwrap();
        let mut bytes = intact.clone();
        bytes[600] ^= 1;
        fs_err::write(&path, bytes).unwrap();
        let (code, text) = failure(&["verify", "--bundle", dir.as_str()]);
        assert_eq!(code, 3, "{text}");
        assert!(text.contains(&format!("is damaged: {says}:")), "{text}");
        fs_err::write(&path, intact).unwrap();
    }
    fs_err::remove_file(dir.join("rpms/second-1.0-1.noarch.rpm")).unwrap();
    let (code, text) = failure(&["verify", "--bundle", dir.as_str()]);
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("second-1.0-1.noarch.rpm: the file is missing"), "{text}");
}

#[test]
fn a_damaged_bundle_is_not_extracted_nor_repacked() {
    let scratch = Scratch::new();
    let bin = scratch.bundle();
    let rpm = Bundle::open(&bin).unwrap().rpm_files("second-1.0-1.noarch.rpm").next().unwrap().clone();
    let mut bytes = fs_err::read(&bin).unwrap();
    bytes[usize::try_from(rpm.offset + rpm.size - 5).unwrap()] ^= 4;
    fs_err::write(&bin, bytes).unwrap();
    let (dir, new) = (scratch.path("unpacked"), scratch.path("new.bin"));
    let (code, text) = failure(&["extract", dir.as_str(), "--bundle", bin.as_str()]);
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("member rpms/second-1.0-1.noarch.rpm"), "{text}");
    let (_, text) = failure(&["repack", "-o", new.as_str(), "--bundle", bin.as_str()]);
    assert!(text.contains("second-1.0-1.noarch.rpm"), "{text}");
    let (code, _) = failure(&["sign", "--key", scratch.file("k", b"").as_str(), "--bundle", bin.as_str()]);
    assert_ne!(code, 0);
    let left: Vec<_> = fs_err::read_dir(scratch.path("")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!dir.exists() && !new.exists() && !left.iter().any(|n| n.to_str().unwrap().ends_with(".part")), "{left:?}");
}

#[test]
fn only_some_members_can_be_extracted() {
    let scratch = Scratch::new();
    let bin = scratch.bundle();
    let dir = scratch.path("some");
    bundle(&["extract", dir.as_str(), "--bundle", bin.as_str(), "--only", "first", "conf.ini"]);
    assert!(dir.join("rpms/first-1.0-1.noarch.rpm").is_file() && dir.join("conf/conf.ini").is_file());
    assert!(!dir.join("manifest.json").exists() && !dir.join("rpms/second-1.0-1.noarch.rpm").exists());
    let (code, text) = failure(&["extract", dir.as_str(), "--bundle", bin.as_str(), "--only", "third"]);
    assert_eq!(code, 2);
    assert!(text.contains("has no member third"), "{text}");
    let (code, text) = failure(&["extract", dir.as_str(), "--bundle", bin.as_str()]);
    assert_eq!(code, 2);
    assert!(text.contains("not empty"), "{text}");
}

#[test]
fn a_site_makes_its_own_bundle() {
    let scratch = Scratch::new();
    let bin = scratch.bundle();
    let added = scratch.rpm("third", "2");
    let conf = scratch.file("site.ini", b"[etcd-cluster]\n192.0.2.1:pw\n");
    let new = scratch.path("site.bin");
    let args =
        ["repack", "--bundle", bin.as_str(), "--add", added.as_str(), "--drop", "first", "--conf", conf.as_str()];
    bundle(&[&args[..], &["-o", new.as_str()]].concat());
    let bundle_new = Bundle::open(&new).unwrap();
    bundle_new.verify(&mut |_| ()).unwrap();
    let names: Vec<&str> =
        bundle_new.manifest().members.iter().filter_map(|m| m.rpm.as_ref()).map(|id| id.name.as_str()).collect();
    assert_eq!(names, ["second", "third"]);
    let ini = bundle_new.bytes(bundle_new.member("conf/conf.ini").unwrap()).unwrap();
    assert_eq!(ini, fs_err::read(&conf).unwrap());
    assert_eq!(bundle_new.manifest().deployer, Bundle::open(&bin).unwrap().manifest().deployer);
    // The same change made to the extracted folder gives the same bundle.
    let dir = scratch.path("unpacked");
    bundle(&["extract", dir.as_str(), "--bundle", bin.as_str()]);
    let again = scratch.path("again.bin");
    let mut args = args;
    args[2] = dir.as_str();
    bundle(&[&args[..], &["-o", again.as_str()]].concat());
    assert!(fs_err::read(new).unwrap() == fs_err::read(&again).unwrap());
    let (code, text) = failure(&["repack", "--bundle", bin.as_str(), "-o", again.as_str(), "--add", "/etc/passwd"]);
    assert_eq!(code, 2, "{text}");
}

/// Writes a key pair in minisign's own files.
fn key_pair(scratch: &Scratch, password: Option<&str>) -> (Utf8PathBuf, Utf8PathBuf) {
    let pair = match password {
        None => minisign::KeyPair::generate_unencrypted_keypair().unwrap(),
        Some(password) => minisign::KeyPair::generate_encrypted_keypair(Some(password.into())).unwrap(),
    };
    let secret = pair.sk.to_box(None).unwrap().into_string();
    let public = pair.pk.to_box().unwrap().into_string();
    let name = pair.pk.to_base64().replace('/', "_");
    (scratch.file(&format!("{name}.key"), secret.as_bytes()), scratch.file(&format!("{name}.pub"), public.as_bytes()))
}

#[test]
fn a_signature_holds_until_anything_changes() {
    let scratch = Scratch::new();
    let bin = scratch.bundle();
    let (secret, public) = key_pair(&scratch, None);
    let (_, stranger) = key_pair(&scratch, None);
    let verify = |path: &Utf8Path, key: &Utf8Path| {
        bundle_with(&["verify", "--pubkey", key.as_str(), "--bundle", path.as_str()], false)
    };
    assert_eq!(verify(&bin, &public).unwrap_err().exit_code(), 3);
    bundle(&["sign", "--key", secret.as_str(), "--comment", "release 7", "--bundle", bin.as_str()]);
    assert!(verify(&bin, &public).unwrap().contains("the signature holds: release 7"));
    assert_eq!(verify(&bin, &stranger).unwrap_err().exit_code(), 3);
    let dir = scratch.path("unpacked");
    bundle(&["extract", dir.as_str(), "--bundle", bin.as_str()]);
    assert!(verify(&dir, &public).unwrap().contains("holds"));
    let new = scratch.path("new.bin");
    bundle(&["repack", "--drop", "first", "--bundle", bin.as_str(), "-o", new.as_str()]);
    let error = verify(&new, &public).unwrap_err();
    assert!(error.to_string().contains("it has none"), "{error}");
}

#[test]
fn minisign_itself_checks_the_signature() {
    let scratch = Scratch::new();
    let bin = scratch.bundle();
    let (secret, public) = key_pair(&scratch, Some("secret"));
    // The console of these tests answers the question for the password with that word.
    bundle(&["sign", "--key", secret.as_str(), "--bundle", bin.as_str()]);
    let footer = Bundle::open(&bin).unwrap().footer().clone();
    let (message, signature) = (scratch.path("signed"), scratch.path("signed.minisig"));
    // As docs/bundle-format.md says to do it.
    let script = format!(
        "tail -c +{} {bin} | head -c {} >{message} && tail -c 1024 {bin} | sed '1,/^signature$/d; /^footer-sha256/d; /^$/d' >{signature}",
        footer.manifest.offset + 1,
        footer.manifest.size + footer.signed_head().len() as u64,
    );
    assert!(std::process::Command::new("sh").args(["-c", &script]).status().unwrap().success());
    let output = std::process::Command::new("minisign")
        .args(["-V", "-p", public.as_str(), "-m", message.as_str()])
        .output()
        .expect("Debian's package minisign must be installed");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_pinned_key_must_have_signed() {
    let scratch = Scratch::new();
    let (secret, public) = key_pair(&scratch, None);
    let pinned = payload::VerifyKey::read(public.as_str()).unwrap().to_base64();
    // An executable with the place for a pinned key that docs/bundle-format.md describes.
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(5000, 0);
    elf[18..20].copy_from_slice(&62_u16.to_le_bytes());
    elf.extend_from_slice(b"\x91SUNSHINE-INSTALLER-STAMP\r\n\x1a\0\x91\x17\x02");
    elf.extend_from_slice(&[0; 96]);
    let bin = scratch.bundle_of(&scratch.file("deployer", &elf), Some(&pinned));
    let (code, text) = failure(&["verify", "--bundle", bin.as_str()]);
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("signature") && text.contains("it has none"), "{text}");
    let (other, _) = key_pair(&scratch, None);
    bundle(&["sign", "--key", other.as_str(), "--bundle", bin.as_str()]);
    assert_eq!(failure(&["verify", "--bundle", bin.as_str()]).0, 3);
    bundle(&["sign", "--key", secret.as_str(), "--bundle", bin.as_str()]);
    assert!(bundle(&["verify", "--bundle", bin.as_str()]).contains("the signature holds"));
}

#[test]
fn a_program_with_a_pinned_key_works_with_no_other_bundle_than_one_of_that_key() {
    let scratch = Scratch::new();
    let (secret, public) = key_pair(&scratch, None);
    let pinned = payload::VerifyKey::read(public.as_str()).unwrap().to_base64();
    let other = scratch.path("other.bin");
    fs_err::rename(scratch.bundle(), &other).unwrap();
    let bin = scratch.bundle_of(Utf8Path::new(env!("CARGO_BIN_EXE_sunshine-installer")), Some(&pinned));
    bundle(&["sign", "--key", secret.as_str(), "--bundle", bin.as_str()]);
    let works_with_it = |line: &[&str]| {
        let mut program = std::process::Command::new(&bin);
        let log = scratch.path("log");
        let state = scratch.path("state");
        let more = ["--bundle", other.as_str(), "--log-dir", log.as_str()];
        let output = program.args(line).args(more).env("SUNSHINE_STATE_DIR", state).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let conf = scratch.file("nobody.ini", b"[etcd-cluster]\n");
    let deploy = ["deploy", "--conf", conf.as_str()];
    for line in [&deploy[..], &["repo", "serve", "--listen", "127.0.0.1:0"], &["registry", "push", "127.0.0.1:1/x"]] {
        let (code, said) = works_with_it(line);
        assert_eq!(code, Some(3), "{line:?}: {said}");
        assert!(said.contains("other.bin") && said.contains("it has none"), "{line:?}: {said}");
    }
    bundle(&["sign", "--key", secret.as_str(), "--bundle", other.as_str()]);
    let (code, said) = works_with_it(&deploy);
    assert!(code == Some(2) && said.contains("names no host"), "{said}");
}

#[test]
fn the_bill_of_materials_lists_every_package() {
    let scratch = Scratch::new();
    let bin = scratch.bundle();
    let sbom = json(&["sbom", "--bundle", bin.as_str()]);
    let components = sbom["components"].as_array().unwrap();
    let purls: Vec<&str> = components.iter().filter_map(|c| c["purl"].as_str()).collect();
    assert_eq!(purls, ["pkg:rpm/first@1.0-1?arch=noarch", "pkg:rpm/second@1.0-1?arch=noarch"]);
    assert_eq!(sbom["bomFormat"], "CycloneDX");
}

#[test]
fn packages_for_a_platform_are_added_listed_and_named() {
    let scratch = Scratch::new();
    let bin = scratch.bundle();
    assert!(!bundle(&["info", bin.as_str()]).contains("packages "));
    let (added, new) = (scratch.rpm("third", "2"), scratch.path("el9.bin"));
    bundle(&["repack", bin.as_str(), "--add", added.as_str(), "--platform", "el9", "-o", new.as_str()]);
    let list = bundle(&["list", new.as_str()]);
    for name in
        ["  el9/repodata/repomd.xml\n", "  el9/rpms/third-1.0-2.noarch.rpm\n", "  rpms/first-1.0-1.noarch.rpm\n"]
    {
        assert!(list.contains(name), "{name} in {list}");
    }
    let info = bundle(&["info", new.as_str()]);
    assert!(info.contains("\npackages   2 for all hosts, 1 for el9\n"), "{info}");
    assert_eq!(json(&["info", new.as_str()])["packages"], serde_json::json!({"all": 2, "el9": 1}));
    let sbom = bundle(&["sbom", new.as_str()]);
    assert!(sbom.contains("pkg:rpm/third@1.0-2?arch=noarch&distro=el9\""), "{sbom}");
    // Another one for all hosts, and what was for el9 stays so.
    let again = scratch.path("again.bin");
    bundle(&["repack", new.as_str(), "--add", added.as_str(), "-o", again.as_str()]);
    let list = bundle(&["list", again.as_str()]);
    assert!(list.contains("  el9/rpms/third-1.0-2.noarch.rpm\n") && list.contains("  rpms/third-1.0-2.noarch.rpm\n"));
    let wrong = ["bundle", "repack", new.as_str(), "--add", "x.rpm", "--platform", "centos8", "-o", "x"];
    let error = Line::try_parse_from(wrong).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("\"centos8\" is no platform, such as el9"), "{error}");
    assert!(Line::try_parse_from(["bundle", "repack", new.as_str(), "--platform", "el9", "-o", "x"]).is_err());
}

#[test]
fn a_file_that_is_not_there_is_the_requests_fault() {
    let (code, text) = failure(&["verify", "--bundle", "/nonexistent/x.bin"]);
    assert_eq!(code, 2);
    assert!(text.contains("/nonexistent/x.bin"), "{text}");
}
