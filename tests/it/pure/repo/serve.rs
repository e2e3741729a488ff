//! `repo serve` without hosts: where it cannot serve, and with a certificate.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use crate::lab::Output;
use crate::repo::serve::Serving;
use crate::repo::setup::Scratch;
use crate::rest::setup::certificate;

#[test]
fn repo_serve_without_anything_to_serve_is_a_wrong_command_line() {
    let scratch = Scratch::new();
    let serve = |arguments: &[&str]| {
        let mut serve = Command::new(env!("CARGO_BIN_EXE_sunshine-installer"));
        Output::of(serve.args(["repo", "serve", "--log-dir", scratch.path("log").as_str()]).args(arguments))
    };
    let bare = serve(&[]);
    assert_eq!(bare.code, Some(2), "{bare:?}");
    assert!(bare.stderr.contains("nothing to serve") && bare.stderr.contains("--bundle"), "{bare:?}");
    assert_eq!(serve(&["--listen", "nowhere"]).code, Some(2));
}

/// Metadata and the key that signs it, by TLS alone; the printed fingerprint is that of the key that comes.
#[test]
fn repo_serve_with_a_certificate_is_read_by_those_who_trust_it() {
    let scratch = Scratch::new();
    let (cert, key) = certificate(scratch.path("").as_std_path());
    let bundle = scratch.bundle(&[scratch.rpm("alpha", "1", "", 1000)]);
    let mut serve = Command::new(env!("CARGO_BIN_EXE_sunshine-installer"));
    serve.args(["repo", "serve", "--listen", "127.0.0.1:0", "--bundle", bundle.path().as_str()]);
    serve.args(["--tls-cert", &cert, "--tls-key", &key, "--log-dir", scratch.path("log").as_str()]);
    let mut serving = Serving(serve.stdout(Stdio::piped()).spawn().unwrap());
    let lines = BufReader::new(serving.0.stdout.take().unwrap()).lines().map_while(Result::ok);
    let text: Vec<String> = lines.take_while(|line| !line.starts_with("gpgkey=")).collect();
    let base = text.iter().find_map(|line| line.strip_prefix("baseurl=")).unwrap();
    assert!(base.starts_with("https://127.0.0.1:"), "{text:?}");
    let curl = |trust: &[&str], path: &str| {
        let url = format!("{}/{path}", base.trim_end_matches('/'));
        Output::of(Command::new("curl").args(["-fsS", "--max-time", "20"]).args(trust).arg(url))
    };
    let metadata = curl(&["--cacert", &cert], "repodata/repomd.xml").expect_ok().stdout;
    assert!(metadata.contains("<repomd"), "{metadata}");
    // Whoever does not trust the certificate sends no request at all.
    assert_eq!(curl(&[], "repodata/repomd.xml").code, Some(60));

    let hint = text.iter().find(|line| line.contains("| gpg ")).expect("how the key is compared");
    let address = hint.split(' ').find(|word| word.starts_with("https://")).expect("the key's address");
    let key = Output::of(Command::new("curl").args(["-fsS", "--cacert", &cert, address])).expect_ok().stdout;
    let mut gpg = Command::new("gpg");
    // As the printed command says it.
    gpg.args(["--homedir", scratch.path("").as_str()]).args(hint.split("| gpg ").nth(1).expect("options").split(' '));
    let mut gpg = gpg.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    gpg.stdin.take().unwrap().write_all(key.as_bytes()).unwrap();
    let shown = Output::ended(gpg.wait_with_output().unwrap()).expect_ok().stdout;
    let bare = |text: &str| text.chars().filter(char::is_ascii_hexdigit).collect::<String>();
    let printed = text.iter().map(|line| bare(line)).find(|line| line.len() == 40).expect("a fingerprint");
    assert!(shown.lines().any(|line| bare(line).ends_with(&printed)), "{printed} is not in {shown}");
}
