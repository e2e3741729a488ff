//! Requests made to hurt: each is answered in the contract's shape, and the listener goes on.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::lab::Output;
use crate::rest::setup::{Answer, Listener, bare, curl};

fn ask(listener: &Listener, path: &str, arguments: &[&str]) -> Answer {
    curl(Command::new("curl"), &[arguments, &[&format!("{}{path}", listener.url)]].concat())
}

#[test]
fn hostile_paths_and_bodies_are_refused_in_the_contracts_shape() {
    let state = tempfile::tempdir().unwrap();
    let listener = Listener::bare(state.path(), &[]);
    for path in [
        "/environments/../../etc/passwd",
        "/environments/%2e%2e/1",
        "/environments/a%2f..%2fb/1",
        "/environments/",
        &format!("/environments/{}", "x".repeat(65)),
        "/environments/a/1/../../..",
        "/environments/a/6",
        "/environments/a/99999999999999999999999",
        "/environments/a/-1",
    ] {
        let answer = ask(&listener, path, &[]);
        assert_eq!(answer.status, 400, "{path}: {}", answer.text);
        answer.message();
    }
    let file = state.path().join("body");
    let deep = format!(r#"{{"environment_type":1,"environment_params":{}"#, "[".repeat(200_000));
    let big = format!(r#"{{"environment_type":1,"environment_params":{{"cni":"{}"}}}}"#, "x".repeat(10 << 20));
    let host = r#""etcd-host-list":["root:geheim@10.8.14.200"]"#;
    for body in [
        String::new(),
        "null".into(),
        "[]".into(),
        "{".into(),
        "\u{0}".into(),
        deep,
        big,
        r#"{"environment_type":"1","environment_params":{}}"#.into(),
        r#"{"environment_type":1e999,"environment_params":{}}"#.into(),
        r#"{"environment_type":184467440737095516160,"environment_params":{}}"#.into(),
        r#"{"environment_type":2,"environment_params":{}}"#.into(),
        r#"{"environment_type":1,"environment_params":null}"#.into(),
        r#"{"environment_type":1,"environment_params":{}}"#.into(),
        format!(r#"{{"environment_type":1,"environment_params":{{{host},"master-host-list":null}}}}"#),
        format!(r#"{{"environment_type":1,"environment_params":{{{host},"master-host-list":["$(reboot)"]}}}}"#),
        format!(
            r#"{{"environment_type":1,"environment_params":{{{host},"master-host-list":["root:geheim@10.8.14.200"],"rpms":["../../x.rpm"]}}}}"#
        ),
        format!(
            r#"{{"environment_type":1,"environment_params":{{{host},"master-host-list":["10.8.14.200"],"certificate_path":"/etc/shadow"}}}}"#
        ),
    ] {
        std::fs::write(&file, &body).unwrap();
        let sent = format!("@{}", file.display());
        let answer = ask(&listener, "/environments/hostile", &["--data-binary", &sent]);
        let shown: String = body.chars().take(80).collect();
        assert_eq!(answer.status, 400, "{shown}: {}", answer.text);
        let message = answer.message();
        assert_eq!(
            (&message["environment_result"], &message["environment_err"]),
            (&false.into(), &1.into()),
            "{shown}"
        );
        let desc = message["environment_desc"].as_str().unwrap();
        assert!(desc.starts_with("task_parms error"), "{shown}: {desc}");
        assert!(!answer.text.contains("geheim") && answer.text.len() < 1500, "{shown}: {}", answer.text);
    }
    assert_eq!(ask(&listener, "/environments/hostile", &[]).status, 404, "a refused request leaves no environment");
    for path in ["/environments/hostile/", "/environments/hostile/1/", "/environments/hostile/2/"] {
        assert_eq!(ask(&listener, path, &[]).status, 404, "{path}: as without the slash");
    }
    assert_eq!(ask(&listener, "/environments", &[]).json()["environments"], serde_json::json!([]));
    assert_eq!(ask(&listener, "/environments/a", &["-X", "PUT"]).status, 405);
    assert_eq!(ask(&listener, "/nowhere", &[]).message()["environment_result"], false);
    assert_eq!(ask(&listener, "/environments", &["-H", "Origin: http://evil.example"]).status, 403);
    assert_eq!(ask(&listener, "/environments", &["-H", "Host: evil.example"]).status, 403);
    assert_eq!(ask(&listener, "/healthz", &[]).text, "ok\n");
    let metrics = ask(&listener, "/metrics", &[]).text;
    let line = r#"sunshine_http_requests_total{route="/environments/{id}",method="POST",status="400"} "#;
    assert!(metrics.contains(line) && metrics.contains("sunshine_environments 0"), "{metrics}");
}

#[test]
fn without_the_token_nothing_is_learned() {
    let state = tempfile::tempdir().unwrap();
    let token = state.path().join("token");
    Output::of(Command::new("sh").arg("-c").arg(format!("umask 077; echo 0123456789abcdef0123 >{}", token.display())))
        .expect_ok();
    let listener = Listener::bare(state.path(), &["--token-file", &token.display().to_string()]);
    for (path, arguments) in [
        ("/environments", &[][..]),
        ("/environments/a", &["-X", "DELETE"]),
        ("/environments/a", &["-d", "{}"]),
        ("/environments/..", &[]),
        ("/nowhere", &[]),
        ("/metrics", &[]),
        ("/openapi.json", &[]),
        ("/environments", &["-H", "Authorization: Bearer 0123456789abcdef0124"]),
    ] {
        let answer = ask(&listener, path, arguments);
        assert_eq!(answer.status, 401, "{path}");
        let mut message = answer.message();
        message["environment_time"].take();
        let first = ask(&listener, "/environments", &[]).message()["environment_desc"].clone();
        assert_eq!(message["environment_desc"], first, "{path}: the same words, whatever was asked");
    }
    let bearer = ["-H", "Authorization: Bearer 0123456789abcdef0123"];
    assert_eq!(ask(&listener, "/environments", &bearer).status, 200);
    let output = Output::of(&mut bare(state.path(), &["--listen", "0.0.0.0:0"]));
    assert_eq!(output.code, Some(2), "{output:?}");
    assert!(output.stderr.contains("--token-file"), "{}", output.stderr);
}

#[test]
fn broken_and_slow_clients_are_cut_off_and_keep_it_from_answering_nobody() {
    let state = tempfile::tempdir().unwrap();
    let listener = Listener::bare(state.path(), &[]);
    let address = listener.url.trim_start_matches("http://").to_owned();
    let begun = Instant::now();
    let say = |text: &str| {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(300))).unwrap();
        stream
    };
    // Asks for 50 MB and takes none of it.
    const ANSWERS: usize = 2000;
    let mut greedy = say(&format!("GET /openapi.json HTTP/1.1\r\nHost: {address}\r\n\r\n").repeat(ANSWERS));
    let head = format!("GET / HTTP/1.1\r\nHost: {address}");
    let body = format!("POST /environments/a HTTP/1.1\r\nHost: {address}\r\nContent-Length: 100\r\n\r\n{{");
    let mut open: Vec<_> = [head.as_str(), &body, "\u{0}\u{1}\u{2}\r\n\r\n"]
        .into_iter()
        .flat_map(|text| (0..50).map(|_| say(text)))
        .collect();
    assert_eq!(ask(&listener, "/healthz", &[]).status, 200);

    let mut rest = String::new();
    open[50].read_to_string(&mut rest).unwrap();
    assert!(rest.starts_with("HTTP/1.1 400") && rest.contains("did not arrive within 20 s"), "{rest}");
    // A reset is an end too; the time-out of the socket is none.
    let cut = open[0].read_to_string(&mut rest).map_err(|e| e.kind());
    assert!(!matches!(cut, Err(ErrorKind::WouldBlock | ErrorKind::TimedOut)), "a head that never ends was cut off");
    // Reading before it was cut off would set it going again.
    std::thread::sleep(Duration::from_secs(45).saturating_sub(begun.elapsed()));
    let mut taken = Vec::new();
    let _ = greedy.read_to_end(&mut taken);
    let answers = String::from_utf8_lossy(&taken).matches("HTTP/1.1 200").count();
    assert!((1..ANSWERS).contains(&answers), "{answers} answers: a client that takes nothing was cut off");
    assert_eq!(ask(&listener, "/healthz", &[]).status, 200);
}
