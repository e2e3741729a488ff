//! Files and forwarded ports.

use std::io::{Cursor, Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use sunshine_installer::host::{Command, FileMeta, Host, HostError, NewFile};

use super::setup::{connect, inside, settings, target};
use crate::lab::Lab;

#[test]
fn host_files_arrive_whole_or_not_at_all() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::builder().hosts(3).distinct().up();
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(&folder);
    let content: Vec<u8> =
        (0..100u32 * 1024 * 1024 / 4).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let sum = hex::encode(Sha256::digest(&content));
    let size = content.len() as u64;
    inside(&lab, || {
        for host in lab.hosts() {
            let session = connect(&target(host), &settings);
            let path = "/var/lib/it's a $(folder)/big ü.rpm";
            let mut told = 0;
            let begun = Instant::now();
            let meta = FileMeta { mode: 0o640, owner: Some("nobody".into()), group: None };
            session.upload(&mut Cursor::new(&content), size, &sum, path, &meta, &mut |n| told = n).unwrap();
            let first = begun.elapsed();
            assert_eq!(told, size);
            let stat = session.run_ok(&Command::new("stat").args(["-c", "%s %a %U", path])).unwrap().text();
            assert_eq!(stat, format!("{size} 640 nobody"));

            // Again: nothing is read from our side, so nothing is sent.
            let mut unread = Unreadable;
            session.upload(&mut unread, size, &sum, path, &meta, &mut |_| {}).unwrap();
            println!("{}: 100 MiB in {first:?}", session.name());

            // Another sum: the old file stays, and nothing lies beside it.
            let wrong = "0".repeat(64);
            let error = session.upload(&mut Cursor::new(b"x"), 1, &wrong, path, &meta, &mut |_| {}).unwrap_err();
            assert!(matches!(error, HostError::Damaged { .. }), "{error}");
            assert_eq!(
                session.run_ok(&Command::new("ls").args(["-A", "/var/lib/it's a $(folder)"])).unwrap().text(),
                "big ü.rpm"
            );

            session.write_file("/etc/deep/er/conf", b"a\0b", &FileMeta::mode(0o4711)).unwrap();
            assert_eq!(session.read_file("/etc/deep/er/conf").unwrap().unwrap(), b"a\0b");
            assert_eq!(
                session.run_ok(&Command::new("stat").args(["-c", "%a", "/etc/deep/er/conf"])).unwrap().text(),
                "4711"
            );
            assert_eq!(session.read_file("/etc/deep/nothing").unwrap(), None);
            several(&session);
        }
    });
}

/// Many files by one command: each with its own content, mode and place; none when one cannot be.
fn several(session: &Host) {
    let contents: Vec<Vec<u8>> = [0, 1, 70_000, 3].map(|size| vec![b'x'; size]).to_vec();
    let paths = ["/etc/many/empty", "/etc/many/one file", "/srv/other/large", "/etc/many/it's"];
    let meta = FileMeta { mode: 0o600, owner: Some("nobody".into()), group: None };
    let file = |i: usize| NewFile { path: paths[i], content: &contents[i], meta: &meta };
    let files: Vec<_> = (0..paths.len()).map(file).collect();
    session.write_files(&files).unwrap();
    for (path, content) in paths.iter().zip(&contents) {
        assert_eq!(session.read_file(path).unwrap().as_ref(), Some(content));
        let stat = session.run_ok(&Command::new("stat").args(["-c", "%a %U", path])).unwrap().text();
        assert_eq!(stat, "600 nobody");
    }
    let nobody = FileMeta { mode: 0o600, owner: Some("no-such-user".into()), group: None };
    let changed = NewFile { content: b"changed", ..files[0] };
    session.write_files(&[changed, NewFile { meta: &nobody, ..files[1] }]).unwrap_err();
    assert_eq!(session.read_file(paths[0]).unwrap().unwrap(), b"");
    let left = session.run_ok(&Command::new("ls").args(["-A", "/etc/many"])).unwrap().text();
    assert_eq!(left, "empty\nit's\none file");
}

#[test]
fn host_frozen_under_an_upload_is_noticed() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(&folder);
    let host = lab.host(0);
    let content = vec![7; 64 << 20];
    let sum = hex::encode(Sha256::digest(&content));
    inside(&lab, || {
        let session = connect(&target(host), &settings);
        let begun = Instant::now();
        let mut frozen = false;
        let error = session
            .upload(
                &mut Cursor::new(&content),
                content.len() as u64,
                &sum,
                "/root/big",
                &FileMeta::mode(0o600),
                &mut |sent| {
                    if sent > 8 << 20 && !frozen {
                        frozen = true;
                        host.freeze();
                    }
                },
            )
            .unwrap_err();
        assert!(error.is_unreachable() && begun.elapsed() < Duration::from_secs(300), "{error}");
        host.thaw();
        assert_eq!(session.read_file("/root/big").unwrap(), None);
    });
}

/// A source that must not be touched.
struct Unreadable;

impl Read for Unreadable {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(std::io::Error::other("sent again"))
    }
}

#[test]
fn host_forwarded_port_leads_back_to_us() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(&folder);
    let host = lab.host(0);
    inside(&lab, || {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let local = server.local_addr().unwrap();
        // Answers only when the request has ended, slowly and with much: a half-closed connection must stay open.
        thread::spawn(move || {
            for stream in server.incoming().map_while(Result::ok) {
                thread::spawn(move || {
                    let mut stream = stream;
                    let mut asked = String::new();
                    stream.read_to_string(&mut asked).unwrap();
                    thread::sleep(Duration::from_millis(300));
                    let _ = stream.write_all(&asked.repeat(100_000).into_bytes());
                });
            }
        });
        let session = connect(&target(host), &settings);
        let forward = session.forward_to(local).unwrap();
        let ask = format!(
            "import socket,sys\ns=socket.create_connection(('127.0.0.1',{}))\ns.sendall(b'0123456789')\ns.shutdown(1)\nn=0\nwhile True:\n d=s.recv(65536)\n if not d: break\n n+=len(d)\nprint(n)",
            forward.port()
        );
        let text = "python3 - <<'E' || exit 9\n".to_owned() + &ask + "\nE";
        let has_python = session.run(&Command::script("command -v python3")).unwrap().ok();
        assert!(has_python, "dnf brings python3 to the lab's hosts");
        for answer in thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| host.sh(&text))).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect::<Vec<_>>()
        }) {
            assert_eq!(answer, "1000000");
        }
        let port = forward.port().to_string();
        drop(forward);
        let closed = Command::script(
            r#"for i in 1 2 3 4 5 6 7 8 9 10; do ss -ltn | grep -q "127.0.0.1:$1 " || exit 0; sleep 0.2; done; exit 1"#,
        );
        session.run_ok(&closed.arg(port)).unwrap();

        host.sshd(&["AllowTcpForwarding no"]);
        let session = connect(&target(host), &settings);
        let error = session.forward_to(local).unwrap_err();
        assert!(matches!(error, HostError::Forward { .. }), "{error}");
    });
}
