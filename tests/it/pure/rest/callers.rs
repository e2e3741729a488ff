//! Who is answered: with the token, as the listener's user or root, or everybody; and by which names.

use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::json;

use crate::lab::{Output, present};
use crate::rest::setup::{Answer, Listener, bare, curl};

/// Two users without rights, besides the one that runs the tests.
const SOMEBODY: u32 = 65_533;
const ANOTHER: u32 = 65_534;

fn ask_as(user: u32, listener: &Listener, path: &str, arguments: &[&str]) -> Answer {
    let mut command = Command::new("curl");
    command.uid(user).gid(user);
    curl(command, &[arguments, &[&format!("{}{path}", listener.url)]].concat())
}

fn ask(listener: &Listener, path: &str, arguments: &[&str]) -> Answer {
    curl(Command::new("curl"), &[arguments, &[&format!("{}{path}", listener.url)]].concat())
}

/// Only root can start processes of other users: a test that needs them fails without, as [`present`] says.
fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    present(root.then_some(()).ok_or_else(|| "only root can ask as another user".to_owned()))
}

#[track_caller]
fn refused(answer: &Answer, status: u16, words: &[&str]) {
    assert_eq!(answer.status, status, "{}", answer.text);
    let message = answer.message();
    let said = message["environment_desc"].as_str().unwrap_or_default();
    for word in words {
        assert!(said.contains(word), "{word}: {said}");
    }
}

#[test]
fn without_a_token_another_user_of_this_host_is_refused_on_every_call() {
    if !is_root() {
        return;
    }
    let state = tempfile::tempdir().unwrap();
    for address in ["127.0.0.1:0", "[::1]:0", "[::ffff:127.0.0.1]:0"] {
        let mut listener = Listener::start(bare(state.path(), &["--listen", address]));
        let port = listener.url.rsplit_once(':').unwrap().1;
        let call = if address.starts_with("[::1]") { "[::1]" } else { "127.0.0.1" };
        listener.url = format!("http://{call}:{port}");
        let body =
            json!({"environment_type": 1, "environment_params": {"certificate_path": "/etc/shadow"}}).to_string();
        for (path, arguments) in [
            ("/environments", &[][..]),
            ("/environments/a", &["-d", &body]),
            ("/environments/a", &["-X", "DELETE", "-G", "-d", "force=true"]),
            ("/environments/a/1", &[]),
            ("/environments/a/events", &[]),
            ("/metrics", &[]),
            ("/nowhere", &[]),
        ] {
            let answer = ask_as(ANOTHER, &listener, path, arguments);
            refused(&answer, 403, &["user ID 65534", "root", "--token-file FILE", "--no-auth"]);
            assert!(!answer.text.contains("shadow"), "{}", answer.text);
        }
        assert_eq!(ask_as(ANOTHER, &listener, "/healthz", &[]).status, 200);
        assert_eq!(ask(&listener, "/environments", &[]).status, 200, "root's scripts go on working");
    }
}

#[test]
fn the_user_that_runs_it_and_root_are_answered() {
    if !is_root() {
        return;
    }
    let state = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(state.path(), Some(SOMEBODY), Some(SOMEBODY)).unwrap();
    let mut command = bare(state.path(), &["--listen", "127.0.0.1:0"]);
    command.uid(SOMEBODY).gid(SOMEBODY).current_dir(state.path());
    let listener = Listener::start(command);
    assert_eq!(ask_as(SOMEBODY, &listener, "/environments", &[]).status, 200);
    assert_eq!(ask(&listener, "/environments", &[]).status, 200);
    refused(&ask_as(ANOTHER, &listener, "/environments", &[]), 403, &["user ID 65534", "user ID 65533"]);
}

#[test]
fn with_no_auth_everybody_is_answered_and_nothing_of_the_control_host_is_used() {
    let state = tempfile::tempdir().unwrap();
    std::fs::write(state.path().join("etcd-0.rpm"), "no rpm").unwrap();
    let mut command = bare(state.path(), &["--listen", "127.0.0.1:0", "--no-auth", "--allow-host", "control.example"]);
    let listener = Listener::start({
        command.current_dir(state.path());
        command
    });
    if !is_root() {
        return;
    }
    assert_eq!(ask_as(ANOTHER, &listener, "/environments", &[]).status, 200);
    let host = "root:geheim@127.0.0.77";
    let post = |number: u8, more: &serde_json::Value| {
        let mut params = json!({"master-host-list": [host], "etcd-host-list": [host]});
        if number == 5 {
            params = json!({});
        }
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ask(
            &listener,
            "/environments/a",
            &["-d", &json!({"environment_type": number, "environment_params": params}).to_string()],
        )
    };
    let mut answers = Vec::new();
    for path in ["/etc/shadow", "/etc/passwd", "/nowhere", "key"] {
        let answer = post(1, &json!({"certificate_path": path}));
        refused(&answer, 400, &["task_parms error", "certificate_path", "--token-file FILE"]);
        answers.push(answer.message()["environment_desc"].clone());
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "a file that is there is not told from one that is not: {answers:?}");
    refused(&post(1, &json!({"rpms": ["/tmp/evil.rpm"]})), 400, &["task_parms error", "rpms", "--token-file FILE"]);
    // A file of the folder that the listener was started in is one of the control host too.
    refused(&post(1, &json!({"rpms": ["etcd-0.rpm"]})), 400, &["not in the bundle: etcd-0.rpm"]);
    refused(
        &post(5, &json!({"ImageId": "ami-1", "certificate_Name": "k"})),
        400,
        &["AWS account", "--token-file FILE"],
    );
    for force in ["force=false", "force=true"] {
        refused(&ask(&listener, "/environments/a", &["-X", "DELETE", "-G", "-d", force]), 403, &["--token-file FILE"]);
    }

    // Names: those that were allowed, and no other.
    assert_eq!(ask(&listener, "/environments", &["-H", "Host: control.example:8383"]).status, 200);
    let foreign = ask(&listener, "/environments", &["-H", "Host: evil.example"]);
    refused(&foreign, 403, &["not a name of this listener", "--allow-host NAME"]);
    drop(listener);
    let key = state.path().join("key").display().to_string();
    let output = Output::of(&mut bare(state.path(), &["--no-auth", "--keep-credentials", &key]));
    assert_eq!(output.code, Some(2), "{output:?}");
    assert!(output.stderr.contains("--keep-credentials with --no-auth"), "{output:?}");
}

/// What ends an idle connection by itself is the 20 s for a request's head, and the 5 s for its first byte.
#[test]
fn a_thousand_idle_connections_keep_nobody_out() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let state = tempfile::tempdir().unwrap();
    let token = state.path().join("token");
    Output::of(Command::new("sh").arg("-c").arg(format!("umask 077; echo 0123456789abcdef0123 >{}", token.display())))
        .expect_ok();
    let listener = Listener::bare(state.path(), &["--token-file", &token.display().to_string()]);
    let address = listener.url.trim_start_matches("http://").to_owned();
    let connect = |text: &str| {
        let mut stream = TcpStream::connect(&address).unwrap();
        std::io::Write::write_all(&mut stream, text.as_bytes()).unwrap();
        stream
    };
    let head = format!("GET /environments HTTP/1.1\r\nHost: {address}\r\nX: ");
    for begun in ["", head.as_str()] {
        let idle: Vec<TcpStream> = (0..1000).map(|_| connect(begun)).collect();
        let bearer = ["-H", "Authorization: Bearer 0123456789abcdef0123", "--max-time", "4"];
        for _ in 0..5 {
            assert_eq!(ask(&listener, "/environments", &bearer).status, 200);
        }
        drop(idle);
    }
}
