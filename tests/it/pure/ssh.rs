//! Hostile and odd hosts on loopback: a listener that speaks as an sshd only so far, and a real sshd of the test's own user.

#![allow(clippy::expect_used, reason = "a panic is how a test fails")]
#![allow(clippy::print_stderr, reason = "a test that cannot run here says so")]

mod daemon;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use sunshine_installer::host::{Command, Connect, Host, HostError, Target, TargetDefaults};

use daemon::{Daemon, settings};

/// Somebody on loopback who answers a connection with the first bytes, and then with the others for ever.
fn endless(first: &'static [u8], again: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut sent = stream.write_all(first);
                while sent.is_ok() {
                    sent = stream.write_all(again);
                }
            });
        }
    });
    address
}

#[test]
fn a_host_that_never_stops_sending_before_the_login_is_given_up() {
    // A line before the version (RFC 4253, 4.2); SSH_MSG_IGNORE before the key exchange (11.2).
    let ignore: &[u8] = b"\0\0\0\x0c\x06\x02\0\0\0\0\0\0\0\0\0\0";
    for (what, first, again) in
        [("banner", &b""[..], &b"welcome, welcome, welcome\r\n"[..]), ("packets", b"SSH-2.0-x\r\n", ignore)]
    {
        let address = endless(first, again);
        let folder = tempfile::tempdir().expect("a folder");
        let connect = Connect { timeout: Duration::from_secs(1), ..settings(folder.path()) };
        let target =
            Target::parse(&format!("root:x@{address}"), &TargetDefaults::default()).expect("a host of the contract");
        // Without an end the test runner's own limit is the answer.
        let error = Host::connect(&target, &connect).expect_err("no host lets us in like this");
        assert!(matches!(error, HostError::Unreachable { .. }), "{what}: {error}");
        let text = error.to_string();
        assert!(text.contains(&address.to_string()) && text.contains("not done within 1 s"), "{what}: {text}");
    }
}

#[test]
fn a_host_that_prints_without_end_is_given_up_and_named() {
    let Some(daemon) = Daemon::start(&[]) else { return };
    let host = daemon.connect();
    for (line, name) in [("yes", "standard output"), ("yes >&2", "standard error")] {
        let error = host.run(&Command::user_line(line)).expect_err("it never ends");
        let HostError::TooMuch { came, most, .. } = &error else { panic!("{name}: {error}") };
        assert!(came > most && *came < most + (1 << 20), "{name}: {came} of {most}");
        let text = error.to_string();
        assert!(text.contains(&daemon.address()) && text.contains("32 MiB"), "{text}");
        assert!(error.help().is_some() && !error.is_unreachable());
        // The next command has a new connection.
        assert_eq!(
            host.run_ok(&Command::new("echo").arg("still here").as_user()).expect("a word").text(),
            "still here"
        );
    }
}

#[test]
fn what_start_files_print_is_no_answer() {
    let home = tempfile::tempdir().expect("a folder");
    let (noise, proof) = (home.path().join(".bashrc"), home.path().join("read"));
    let text = format!("echo Welcome; echo 'stty: not a tty' >&2; echo >'{}'; trap 'echo Bye' EXIT\n", proof.display());
    std::fs::write(&noise, text).expect("a file");
    // What bash reads when sshd starts it, and what else where it was not built for that (bash(1), INVOCATION).
    let line = format!("SetEnv HOME={} BASH_ENV={}", home.path().display(), noise.display());
    let Some(daemon) = Daemon::start(&[&line]) else { return };
    let host = daemon.connect();
    let output = host.run_ok(&Command::script("printf answer; printf no >&2").as_user()).expect("an answer");
    assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"answer"[..], &b"no"[..]));
    if !proof.exists() {
        eprintln!("SKIPPED: the login shell of the test's user reads none of bash's files");
        return;
    }
    let failed = host.run(&Command::script("exit 7").as_user()).expect("a status");
    assert_eq!((failed.status, failed.stdout.len(), failed.stderr.len()), (7, 0, 0));
    let long = "ü".repeat(40_000);
    let said = host.run_ok(&Command::script("printf %s \"$1\"; cat").arg(&long).stdin("-end").as_user());
    assert_eq!(said.expect("a long script goes by the input").text(), format!("{long}-end"));
}

#[test]
fn a_login_that_runs_no_commands_is_told_in_its_own_words() {
    let line = "ForceCommand echo 'WARNING: Your password has expired.'; echo no TTY >&2; exit 1";
    let Some(daemon) = Daemon::start(&[line]) else { return };
    let error = daemon.connect().run(&Command::new("true").as_user()).expect_err("nothing was run");
    assert!(matches!(error, HostError::NotRun { status: 1, .. }) && error.is_auth(), "{error}");
    let text = error.to_string();
    assert!(text.contains("Your password has expired") && text.contains("no TTY"), "{text}");
    assert!(error.help().is_some_and(|help| help.contains("set a new one")));

    let Some(silent) = Daemon::start(&["ForceCommand true"]) else { return };
    let error = silent.connect().run(&Command::new("true").as_user()).expect_err("nothing was run");
    assert!(matches!(error, HostError::NotRun { status: 0, .. }), "status 0 is no success: {error}");
}

#[test]
fn a_long_banner_and_one_session_at_a_time_are_no_trouble() {
    let folder = tempfile::tempdir().expect("a folder");
    let banner = folder.path().join("banner");
    std::fs::write(&banner, "Authorised use only. Everything is recorded.\n".repeat(200)).expect("a file");
    let Some(daemon) = Daemon::start(&["MaxSessions 1", &format!("Banner {}", banner.display())]) else { return };
    let host = daemon.connect();
    for n in 0..20 {
        let said = host.run_ok(&Command::new("echo").arg(n.to_string()).as_user()).expect("an answer");
        assert_eq!(said.text(), n.to_string());
    }
}

#[test]
fn a_tunnel_carries_so_many_connections_and_no_more() {
    /// As many as the tunnel carries, and as many as may wait.
    const CARRIED: usize = 64;
    const WAITING: usize = 64;
    const TOO_MANY: usize = 40;
    let Some(daemon) = Daemon::start(&[]) else { return };
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let local = server.local_addr().expect("its address");
    let (tell, seen) = mpsc::channel();
    thread::spawn(move || server.incoming().map_while(Result::ok).all(|stream| tell.send(stream).is_ok()));
    let host = daemon.connect();
    let forward = host.forward_to(local).expect("a port");
    let open = || TcpStream::connect(("127.0.0.1", forward.port())).expect("sshd listens");
    let next = || seen.recv_timeout(Duration::from_secs(30));
    let mut carried: Vec<_> = (0..CARRIED).map(|_| (open(), next().expect("a connection that is carried"))).collect();
    let mut others: Vec<TcpStream> = (0..WAITING + TOO_MANY).map(|_| open()).collect();
    // Those that have no place among those that wait are closed by sshd. They are not the first ones.
    let is_closed = |stream: &&mut TcpStream| {
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a time-out");
        matches!((&**stream).read(&mut [0]), Ok(0))
    };
    let closed = others.iter_mut().skip(WAITING).take_while(is_closed).count();
    assert_eq!((closed, seen.try_iter().count()), (TOO_MANY, 0));
    // A place that is free again is given to one that waited.
    drop(carried.pop());
    next().expect("one of those that waited");
    // The others are still served.
    let (theirs, ours) = carried.first_mut().expect("one of many");
    ours.write_all(b"x").expect("a byte");
    theirs.read_exact(&mut [0]).expect("the byte");
    drop(forward);
}

#[test]
fn what_hosts_exec_runs_is_in_no_log_and_no_error() {
    let Some(daemon) = Daemon::start(&[]) else { return };
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: the program's commands are root's");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    let run = |line: &str, more: &[&str]| {
        let output = std::process::Command::new(assert_cmd::cargo::cargo_bin("sunshine-installer"))
            .args([
                "hosts",
                "exec",
                &daemon.address(),
                "--ssh-key",
                daemon.target().auth.key.expect("its key").as_str(),
            ])
            .args(more)
            .arg("--log-dir")
            .args([log.as_os_str(), "--".as_ref(), line.as_ref()])
            .env("SUNSHINE_STATE_DIR", folder.path())
            .output()
            .expect("the program starts");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let failed = run(": mysql -pgeheim; exit 3", &["-v"]);
    assert!(failed.contains("exit status 3") && !failed.contains("geheim"), "{failed}");
    let late = run(": mysql -pgeheim; sleep 30", &["--timeout", "1"]);
    assert!(late.contains("the operator's command") && !late.contains("geheim"), "{late}");
    let logged = std::fs::read_to_string(log.join("onekey_deploy.log")).expect("the log");
    assert!(logged.contains("the operator's command") && !logged.contains("geheim"), "{logged}");
}
