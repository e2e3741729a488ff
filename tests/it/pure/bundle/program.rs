//! The bundle as a program of its own: it runs, and with a byte changed anywhere it deploys nothing.
// A test's helpers fail as its own lines do; clippy.toml frees only the functions marked as tests.
#![allow(clippy::unwrap_used)]

use camino::Utf8Path;
use payload::Bundle;
use rand::RngExt;
use serde_json::Value;

use super::Scratch;
use crate::chance::seeded;

/// Runs a program; returns its exit code and what it said.
fn spawn(program: &Utf8Path, args: &[&str]) -> (Option<i32>, String) {
    let output = std::process::Command::new(program).args(args).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn the_bundle_runs_by_itself_and_so_does_its_folder() {
    let scratch = Scratch::new();
    let bin = scratch.bundle();
    let info = |program: &Utf8Path| {
        let (code, said) = spawn(program, &["--json", "bundle", "info"]);
        assert_eq!(code, Some(0), "{said}");
        let mut info: Value = serde_json::from_str(&said).unwrap();
        info.as_object_mut().unwrap().retain(|key, _| key != "path" && key != "extracted");
        info
    };
    let dir = scratch.path("unpacked");
    assert_eq!(spawn(&bin, &["bundle", "extract", dir.as_str()]).0, Some(0));
    let extracted = dir.join("sunshine-installer");
    assert_eq!(info(&bin), info(&extracted));
    assert_eq!(spawn(&extracted, &["bundle", "verify"]).0, Some(0));
    // What was extracted packs and extracts again.
    let again = scratch.path("again.bin");
    assert_eq!(spawn(&extracted, &["bundle", "repack", "-o", again.as_str()]).0, Some(0));
    assert!(fs_err::read(&again).unwrap() == fs_err::read(&bin).unwrap());
}

#[test]
fn a_bundle_that_lost_its_payload_says_so() {
    let scratch = Scratch::new();
    let bin = scratch.bundle();
    let deployer = usize::try_from(Bundle::open(&bin).unwrap().manifest().deployer.size).unwrap();
    let bytes = fs_err::read(&bin).unwrap();
    let line = ["etcd", "create", "--host", "root:pw@192.0.2.1"];
    for (len, name) in [(deployer, "all"), (deployer + 1, "most"), (bytes.len() - 1, "a byte")] {
        fs_err::write(&bin, &bytes[..len]).unwrap();
        for args in [&["bundle", "verify"][..], &line] {
            let (code, said) = spawn(&bin, args);
            assert_eq!(code, Some(3), "{name} lost, {args:?}: {said}");
            assert!(said.contains("payload missing"), "{said}");
        }
    }
    fs_err::write(&bin, [&bytes[..], b"x"].concat()).unwrap();
    assert_eq!(spawn(&bin, &line).0, Some(3));
}

#[test]
fn a_damaged_bundle_deploys_nothing() {
    let scratch = Scratch::new();
    let bin = scratch.bundle();
    let rpm = Bundle::open(&bin).unwrap().rpm_files("first-1.0-1.noarch.rpm").next().unwrap().clone();
    let mut bytes = fs_err::read(&bin).unwrap();
    bytes[usize::try_from(rpm.offset + 1000).unwrap()] ^= 1;
    fs_err::write(&bin, bytes).unwrap();
    let host = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    host.set_nonblocking(true).unwrap();
    let target = format!("root:pw@127.0.0.1:{}", host.local_addr().unwrap().port());
    let (code, said) = spawn(&bin, &["etcd", "create", "--host", &target]);
    assert_eq!(code, Some(3), "{said}");
    assert!(host.accept().is_err(), "the host was called");
    assert!(said.contains("member rpms/first-1.0-1.noarch.rpm"), "{said}");
}

#[test]
fn a_full_tmp_without_exec_does_not_matter() {
    let scratch = Scratch::new();
    let bin = scratch.bundle();
    // The scratch folder itself is under /tmp, so the file system is mounted where TMPDIR then points to.
    let (tmp, dir) = (scratch.path("tmp"), scratch.path("unpacked"));
    fs_err::create_dir(&tmp).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=64k,noexec tmpfs {tmp} && {{ cat /dev/zero >{tmp}/full 2>/dev/null; export TMPDIR={tmp}; \
         {bin} --version && {bin} bundle verify && {bin} bundle extract {dir} && {dir}/sunshine-installer bundle verify; }}"
    );
    let output = std::process::Command::new("unshare").args(["-m", "sh", "-c", &script]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// `bundle verify` and a deployment both refuse these bytes with exit code 3; returns what they said.
fn refused(scratch: &Scratch, bytes: &[u8]) -> String {
    let program = Utf8Path::new(env!("CARGO_BIN_EXE_sunshine-installer"));
    let damaged = scratch.file("damaged.bin", bytes);
    let (code, said) = spawn(program, &["bundle", "verify", "--bundle", damaged.as_str()]);
    assert_eq!(code, Some(3), "{said}");
    let host = ["etcd", "create", "--host", "root:pw@127.0.0.1:1", "--bundle", damaged.as_str()];
    let (code, deploy_said) = spawn(program, &host);
    assert_eq!(code, Some(3), "{deploy_said}");
    said
}

#[test]
fn a_byte_flipped_anywhere_stops_verify_and_deploy() {
    let mut chance = seeded();
    let scratch = Scratch::new();
    // A small executable: every position is one of the whole file's, and a large one would leave no room for the rest.
    let bin = scratch.bundle_of(Utf8Path::new("/bin/true"), None);
    let footer = Bundle::open(&bin).unwrap().footer().clone();
    let intact = fs_err::read(&bin).unwrap();
    let size = intact.len() as u64;
    let parts = [
        (0, footer.deployer.size, "deployer:"),
        (footer.deployer.size, footer.archive.offset + 512, "archive"),
        (footer.archive.offset, footer.manifest.offset, ": "),
        (footer.manifest.offset, size - 1024, "manifest:"),
        (size - 1024, size, "footer:"),
    ];
    for (start, end, part) in parts {
        for turn in 0..6 {
            let at = usize::try_from(start + chance.random_range(0..end - start)).unwrap();
            let mut bytes = intact.clone();
            bytes[at] ^= 1 << chance.random_range(0..8);
            let said = refused(&scratch, &bytes);
            assert!(said.contains("is damaged: ") && said.contains(part), "turn {turn}, byte {at}: {said}");
        }
    }
    for _ in 0..6 {
        let len = chance.random_range(0..intact.len());
        assert!(refused(&scratch, &intact[..len]).contains("footer:"), "cut at {len}");
    }
    assert!(refused(&scratch, &[&intact[..], b"\n"].concat()).contains("footer:"));
}

#[test]
fn a_bundle_that_is_not_there_is_the_lines_fault() {
    let program = Utf8Path::new(env!("CARGO_BIN_EXE_sunshine-installer"));
    let line = ["etcd", "create", "--host", "root:pw@127.0.0.1:1", "--bundle", "/nonexistent.bin"];
    let (code, said) = spawn(program, &line);
    assert_eq!(code, Some(2), "{said}");
}
