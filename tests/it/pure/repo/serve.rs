//! `repo serve` where it cannot serve.

use std::process::Command;

use crate::lab::Output;
use crate::repo::setup::Scratch;

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
