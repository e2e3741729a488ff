//! What the `files` way uploads with, beside scp: the same bytes to the same host, in turn.

use std::time::{Duration, Instant};

use sunshine_installer::host::FileMeta;

use super::setup::{Scratch, inside};
use crate::lab::{Lab, Output};

#[test]
fn repo_the_files_way_sends_the_same_as_scp() {
    if !Lab::here() {
        return;
    }
    // Start files that print are the end of scp.
    let lab = Lab::builder().logins("bash").up();
    let scratch = Scratch::new();
    let size: u32 = 150_000_000;
    let rpm = scratch.rpm("alpha", "1", "", size as usize);
    let host = lab.host(0);
    let scp = || {
        let started = Instant::now();
        let mut scp = lab.run("sshpass");
        scp.args(["-p", "111111", "scp", "-q", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]);
        scp.args(["-o", "LogLevel=ERROR", rpm.as_str(), &format!("root@{}:/var/tmp/x.rpm", host.address())]);
        Output::of(&mut scp).expect_ok();
        started.elapsed()
    };
    let (mut ours, mut theirs) = (Duration::MAX, Duration::MAX);
    let (bytes, sum) =
        payload::hash_file(&std::fs::File::open(&rpm).unwrap()).map(|(sum, bytes)| (bytes, sum)).unwrap();
    inside(&lab, || {
        for _ in 0..3 {
            theirs = theirs.min(scp());
            let started = Instant::now();
            // With its own login, as scp has.
            let session = scratch.session(host);
            let mut file = std::fs::File::open(&rpm).unwrap();
            let meta = FileMeta::mode(0o600);
            session.upload(&mut file, bytes, &sum.to_string(), "/var/tmp/y.rpm", &meta, &mut |_| ()).unwrap();
            ours = ours.min(started.elapsed());
        }
    });
    let rate = |took: Duration| f64::from(size) / took.as_secs_f64() / 1e6;
    println!("files: {:.0} MB/s, scp: {:.0} MB/s (best of three each)", rate(ours), rate(theirs));
    // The figures are for docs/benchmarks.md: a test on a busy machine measures nothing. Ours checks the sum as well.
    host.sh("cmp /var/tmp/x.rpm /var/tmp/y.rpm");
}
