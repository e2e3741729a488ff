//! What was packed comes out again: through the API, and through tar alone.

use std::io::{Read, Seek, SeekFrom};
use std::process::Command;

use payload::{Bundle, MemberKind, Source, Stored};

use crate::support::{Scratch, build, member, recipe, tiny_elf};

fn contents(source: &Source) -> &[u8] {
    match source {
        Source::Bytes(bytes) => bytes,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_member_comes_out_as_it_went_in() {
    let scratch = Scratch::new();
    let recipe = recipe();
    let bundle = Bundle::open(&build(&scratch, &recipe)).unwrap();
    assert_eq!(bundle.manifest().members.len(), recipe.members.len());
    for new in &recipe.members {
        let member = bundle.member(&new.name).unwrap();
        let expected = contents(&new.source);
        assert_eq!(bundle.bytes(member).unwrap(), expected, "{}", new.name);
        let mut read = Vec::new();
        bundle.reader(member).unwrap().read_to_end(&mut read).unwrap();
        assert_eq!(read, expected, "{}", new.name);
        let chunk = bundle.chunk(member, 10, 20).unwrap();
        assert_eq!(chunk, expected.get(10..30).unwrap_or_default(), "{}", new.name);
        bundle.check(member).unwrap();
    }
    let mut last = 0;
    bundle.verify(&mut |done| last = done).unwrap();
    assert_eq!(last, bundle.verify_size());
    assert_eq!(bundle.rpm_files("big.rpm").next().unwrap().name, "rpms/big.rpm");
    assert!(bundle.network("calico").is_some() && bundle.network("weave").is_none());
}

/// Bytes that this thread has read from files: proc(5), `rchar`.
fn bytes_read() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/io").unwrap();
    text.lines().find_map(|l| l.strip_prefix("rchar: ")).unwrap().parse().unwrap()
}

#[test]
fn what_was_found_whole_is_not_read_again_unless_the_file_changed() {
    let scratch = Scratch::new();
    let path = build(&scratch, &recipe());
    let bundle = Bundle::open(&path).unwrap();
    let big = bundle.member("rpms/big.rpm").unwrap();
    bundle.verify(&mut |_| ()).unwrap();
    let before = bytes_read();
    bundle.check(big).unwrap();
    // Reading the counter itself counts.
    assert!(bytes_read() - before < big.size / 2, "{} bytes were read again", bytes_read() - before);

    let mut file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.seek(SeekFrom::Start(big.offset + 5)).unwrap();
    std::io::Write::write_all(&mut file, b"damage").unwrap();
    assert!(bundle.check(big).is_err());
}

#[test]
fn large_plain_members_are_aligned_and_text_is_packed() {
    let scratch = Scratch::new();
    let bundle = Bundle::open(&build(&scratch, &recipe())).unwrap();
    let big = bundle.member("rpms/big.rpm").unwrap();
    assert_eq!((big.offset % 4096, &big.stored), (0, &Stored::Plain));
    let text = bundle.member("networks/calico.yaml").unwrap();
    assert!(matches!(text.stored, Stored::Gzip { size, .. } if size < text.size / 10), "{text:?}");
    assert_eq!(bundle.member("conf/conf.ini").unwrap().stored, Stored::Plain);
}

#[test]
fn a_shell_opens_the_archive_with_tail_and_tar() {
    let scratch = Scratch::new();
    let recipe = recipe();
    let path = build(&scratch, &recipe);
    let bundle = Bundle::open(&path).unwrap();
    let from = bundle.footer().archive.offset + 1;
    let script = format!("tail -c +{from} {path} | tar x -C {}", scratch.path("").as_str());
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for new in recipe.members.iter().filter(|m| m.name != "networks/calico.yaml") {
        assert_eq!(fs_err::read(scratch.path(&new.name)).unwrap(), contents(&new.source), "{}", new.name);
    }
    let zcat = Command::new("zcat").arg(scratch.path("networks/calico.yaml.gz")).output().unwrap();
    assert_eq!(zcat.stdout, contents(&recipe.members[3].source));
}

#[test]
fn the_deployer_lies_in_front_unchanged() {
    let scratch = Scratch::new();
    let path = build(&scratch, &recipe());
    assert!(fs_err::read(path).unwrap().starts_with(&tiny_elf()));
}

#[test]
fn two_builds_are_the_same_whatever_the_order() {
    let scratch = Scratch::new();
    let mut recipe = recipe();
    let first = fs_err::read(build(&scratch, &recipe)).unwrap();
    recipe.members.reverse();
    assert!(first == fs_err::read(build(&scratch, &recipe)).unwrap());
}

#[test]
fn two_members_of_one_name_are_refused() {
    let scratch = Scratch::new();
    let mut recipe = recipe();
    recipe.members.push(member("rpms/big.rpm", MemberKind::Rpm, b"another"));
    let error = payload::write(&recipe, &scratch.path("x.bin"), &mut |_| ()).unwrap_err();
    assert!(error.to_string().contains("two members named rpms/big.rpm"), "{error}");
    assert!(!scratch.path("x.bin").exists());
}

#[test]
fn a_bundle_over_four_gigabytes_works() {
    let scratch = Scratch::new();
    let hole = scratch.path("hole");
    let size = (4 << 30) + 12_345;
    let mut file = fs_err::File::create(&hole).unwrap();
    file.set_len(size).unwrap();
    file.seek(SeekFrom::End(-4)).unwrap();
    std::io::Write::write_all(&mut file, b"tail").unwrap();
    let mut recipe = recipe();
    recipe.members.push(member("images/a-hole.tar", MemberKind::Image, b""));
    recipe.members.last_mut().unwrap().source = Source::File(hole.clone());
    let path = build(&scratch, &recipe);
    fs_err::remove_file(hole).unwrap();
    let bundle = Bundle::open(&path).unwrap();
    let big = bundle.member("images/a-hole.tar").unwrap();
    assert_eq!(bundle.chunk(big, size - 4, 100).unwrap(), "tail");
    let rpm = bundle.member("rpms/small.rpm").unwrap();
    assert!(rpm.offset > 4 << 30);
    bundle.verify(&mut |_| ()).unwrap();
    let listed = Command::new("sh")
        .args(["-c", &format!("tail -c +{} {path} | tar tv", bundle.footer().archive.offset + 1)])
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains(&size.to_string()) && listed.contains("rpms/small.rpm"), "{listed}");
}
