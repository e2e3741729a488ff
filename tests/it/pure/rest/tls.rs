//! The listener with a certificate.

use std::process::Command;

use crate::lab::Output;
use crate::rest::setup::{Listener, bare, certificate, curl};

#[test]
fn tls_is_spoken_with_the_given_certificate_and_nothing_else() {
    let state = tempfile::tempdir().unwrap();
    let (cert, key) = certificate(state.path());
    let listener = Listener::bare(state.path(), &["--tls-cert", &cert, "--tls-key", &key]);
    assert!(listener.url.starts_with("https://"), "{}", listener.url);
    let answer = curl(Command::new("curl"), &["--cacert", &cert, &format!("{}/environments", listener.url)]);
    assert_eq!(answer.status, 200);
    let plain = listener.url.replace("https://", "http://");
    let output = Output::of(Command::new("curl").args(["-s", "--max-time", "10", &plain]));
    assert!(!output.ok(), "{output:?}");
    let swapped = Output::of(&mut bare(state.path(), &["--tls-cert", &key, "--tls-key", &cert]));
    assert_eq!(swapped.code, Some(2), "{swapped:?}");
    assert!(swapped.stderr.contains("no certificate"), "{}", swapped.stderr);
}
