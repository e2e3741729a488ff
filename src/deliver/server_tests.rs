//! The server over real connections: what the protocol tests cannot see.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use payload::{Bundle, MemberKind, NewMember, Recipe, Source};

use super::listener::Limits;
use super::server::Server;
use super::stream::Patience;

const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let step = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..len).map(step).collect()
}

struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Scratch {
        Scratch(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8Path::from_path(self.0.path()).unwrap().join(name)
    }

    /// A bundle with these members; what is called an rpm in it is noise.
    fn bundle(&self, members: &[(&str, MemberKind, Vec<u8>)]) -> Bundle {
        let mut deployer = b"\x7fELF\x02\x01\x01".to_vec();
        deployer.resize(5000, 7);
        deployer[18..20].copy_from_slice(&62_u16.to_le_bytes());
        let members = members.iter().map(|(name, kind, bytes)| NewMember {
            name: (*name).to_owned(),
            kind: *kind,
            source: Source::Bytes(bytes.clone()),
            rpm: None,
            mtime: 1_700_000_000,
            sha256: None,
        });
        let recipe = Recipe {
            product_version: "0.1.0".into(),
            deployer: Source::Bytes(deployer),
            pinned_key: None,
            newest_input: 1_700_000_000,
            members: members.collect(),
        };
        let out = self.path("test.bin");
        payload::write(&recipe, &out, &mut |_| ()).unwrap();
        Bundle::open(&out).unwrap()
    }
}

fn limits() -> Limits {
    Limits {
        connections: 4,
        head: Duration::from_millis(600),
        patience: Patience { stall: Duration::from_millis(600), least: 1024 },
    }
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.addr()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

fn request(server: &Server, name: &str, extra: &str) -> String {
    let url = server.url_for(server.addr().ip());
    let path = url.splitn(4, '/').nth(3).unwrap();
    format!("GET /{path}{name} HTTP/1.1\r\nHost: x\r\n{extra}\r\n")
}

/// Reads one answer: its head, and as many bytes as that announces.
fn answer(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    (head, body)
}

#[test]
fn members_are_served_as_they_are_from_a_file_and_from_a_folder() {
    let scratch = Scratch::new();
    let (large, text) = (noise(3_000_000), b"kind: DaemonSet\n".repeat(1000));
    let bundle = scratch.bundle(&[
        ("rpms/a.rpm", MemberKind::Rpm, large.clone()),
        ("networks/x.yaml", MemberKind::NetworkManifest, text.clone()),
        ("conf/conf.ini", MemberKind::Ini, b"10.8.14.200:secret".to_vec()),
    ]);
    let folder = scratch.path("folder");
    payload::extract(&bundle, &folder, None, &mut |_| ()).unwrap();
    for bundle in [bundle, Bundle::open(&folder).unwrap()] {
        let server = Server::start_with(Some(bundle), &[], ANY, None, limits()).unwrap();
        let mut stream = connect(&server);
        // All on one connection: it is kept.
        for _ in 0..2 {
            stream.write_all(request(&server, "rpms/a.rpm", "").as_bytes()).unwrap();
            let (head, body) = answer(&mut stream);
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            assert!(body == large);
            stream.write_all(request(&server, "rpms/a.rpm", "Range: bytes=1000000-2500000\r\n").as_bytes()).unwrap();
            assert!(answer(&mut stream).1 == large[1_000_000..=2_500_000]);
            stream.write_all(request(&server, "networks/x.yaml", "").as_bytes()).unwrap();
            assert!(answer(&mut stream).1 == text);
        }
        stream.write_all(request(&server, "conf/conf.ini", "").as_bytes()).unwrap();
        assert!(answer(&mut stream).0.starts_with("HTTP/1.1 404"));
    }
}

#[test]
fn hostile_paths_get_404_over_the_wire() {
    let scratch = Scratch::new();
    let server = Server::start_with(Some(scratch.bundle(&[])), &[], ANY, None, limits()).unwrap();
    for name in ["../../../../etc/passwd", "%2e%2e/%2e%2e/etc/passwd", "/etc/passwd", "..%2f..%2fetc%2fpasswd", "x%00"]
    {
        let mut stream = connect(&server);
        stream.write_all(request(&server, name, "").as_bytes()).unwrap();
        assert!(answer(&mut stream).0.starts_with("HTTP/1.1 404"), "{name}");
    }
    let mut stream = connect(&server);
    stream.write_all(b"GET /etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert!(answer(&mut stream).0.starts_with("HTTP/1.1 404"));
    // A null byte as it is makes no request at all.
    let mut stream = connect(&server);
    stream.write_all(b"GET /a\0b HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert!(answer(&mut stream).0.starts_with("HTTP/1.1 400"));
}

/// Whether the server ends the connection. A reset is an end too; the time-out against hanging is none.
fn ends(mut stream: TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let end = stream.read_to_end(&mut Vec::new()).map_err(|e| e.kind());
    !matches!(end, Err(ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

#[test]
fn a_head_that_does_not_come_is_not_waited_for() {
    let scratch = Scratch::new();
    let server = Server::start_with(Some(scratch.bundle(&[])), &[], ANY, None, limits()).unwrap();
    let mut slow = connect(&server);
    slow.write_all(b"GET / HTTP/1.1\r\nHo").unwrap();
    let silent = connect(&server);
    let mut idle = connect(&server);
    idle.write_all(request(&server, "x", "").as_bytes()).unwrap();
    answer(&mut idle);
    for stream in [slow, silent, idle] {
        assert!(ends(stream));
    }
}

#[test]
fn a_client_that_stops_reading_is_cut_off_and_others_are_served() {
    let scratch = Scratch::new();
    let large = noise(32 << 20);
    let server = Server::start_with(
        Some(scratch.bundle(&[("rpms/a.rpm", MemberKind::Rpm, large.clone())])),
        &[],
        ANY,
        None,
        limits(),
    )
    .unwrap();
    // As many stuck clients as connections are allowed: nobody else gets in until they are cut off.
    let mut stuck: Vec<TcpStream> = (0..4).map(|_| connect(&server)).collect();
    for stream in &mut stuck {
        stream.write_all(request(&server, "rpms/a.rpm", "").as_bytes()).unwrap();
    }
    std::thread::sleep(Duration::from_millis(100));
    let mut other = connect(&server);
    other.write_all(request(&server, "rpms/a.rpm", "Connection: close\r\n").as_bytes()).unwrap();
    assert!(answer(&mut other).1 == large);
    for mut stream in stuck {
        let mut got = Vec::new();
        let _ = stream.read_to_end(&mut got);
        assert!(got.len() < large.len(), "a stuck client must not get the rest");
    }
}

/// A client whose request was answered and that keeps its connection for the next.
fn keeping(server: &Server, name: &str) -> TcpStream {
    let mut stream = connect(server);
    stream.write_all(request(server, name, "").as_bytes()).unwrap();
    answer(&mut stream);
    stream
}

#[test]
fn kept_connections_give_their_places_to_others_the_longest_waiting_first() {
    let scratch = Scratch::new();
    let limits = Limits { connections: 64, head: Duration::from_secs(600), ..limits() };
    let server = Server::start_with(Some(scratch.bundle(&[])), &[], ANY, None, limits).unwrap();
    let mut held: Vec<TcpStream> = (0..64).map(|_| keeping(&server, "x")).collect();
    // The first one is used again, so the second has waited longest.
    held[0].write_all(request(&server, "x", "").as_bytes()).unwrap();
    answer(&mut held[0]);
    held.push(keeping(&server, "x"));
    assert!(ends(held.remove(1)), "it ended for another");
    for stream in &mut held {
        stream.write_all(request(&server, "x", "").as_bytes()).unwrap();
        assert!(answer(stream).0.starts_with("HTTP/1.1 404"), "the others are kept");
    }
    // Many more than there are places, all of which keep what they have got.
    let more: Vec<TcpStream> = (0..200).map(|_| keeping(&server, "x")).collect();
    drop(more);
}

#[test]
fn clients_that_connect_and_say_nothing_give_their_places_up_too() {
    let scratch = Scratch::new();
    let limits = Limits { head: Duration::from_secs(600), ..limits() };
    let server = Server::start_with(Some(scratch.bundle(&[])), &[], ANY, None, limits).unwrap();
    let mut silent: Vec<TcpStream> = (0..4).map(|_| connect(&server)).collect();
    let mut kept: Vec<TcpStream> = (0..4).map(|_| keeping(&server, "x")).collect();
    silent.iter().chain(&kept).for_each(|stream| stream.set_nonblocking(true).unwrap());
    // Each of the four that were answered got another's place. A busy machine may notice late that a connection is silent,
    // and then one that was kept gives way before it.
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let ended = |streams: &mut [TcpStream]| streams.iter_mut().map(has_ended).filter(|ended| *ended).count();
        let (silent, kept) = (ended(&mut silent), ended(&mut kept));
        if silent > 0 && silent + kept >= 4 {
            break;
        }
        assert!(Instant::now() < until, "{silent} silent connections and {kept} kept ones have ended");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether the other side has ended a connection that does not block.
fn has_ended(stream: &mut TcpStream) -> bool {
    loop {
        match stream.read(&mut [0; 256]) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(e) => return e.kind() != ErrorKind::WouldBlock,
        }
    }
}

#[test]
fn whoever_is_being_answered_keeps_its_place_and_others_wait() {
    let scratch = Scratch::new();
    let large = noise(32 << 20);
    let limits = Limits {
        head: Duration::from_secs(600),
        patience: Patience { stall: Duration::from_secs(600), least: 1024 },
        ..limits()
    };
    let bundle = scratch.bundle(&[("rpms/a.rpm", MemberKind::Rpm, large.clone())]);
    let server = Server::start_with(Some(bundle), &[], ANY, None, limits).unwrap();
    let mut busy: Vec<TcpStream> = (0..4).map(|_| connect(&server)).collect();
    for stream in &mut busy {
        stream.write_all(request(&server, "rpms/a.rpm", "").as_bytes()).unwrap();
        // The answer has begun; most of it does not fit into the sockets' buffers.
        stream.read_exact(&mut [0; 4]).unwrap();
    }
    let mut late = connect(&server);
    late.write_all(request(&server, "x", "").as_bytes()).unwrap();
    late.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    assert!(late.read(&mut [0]).is_err(), "the fifth waits");
    late.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    for mut stream in busy {
        assert!(answer(&mut stream).1 == large, "every answer is sent whole");
    }
    assert!(answer(&mut late).0.starts_with("HTTP/1.1 404"));
}

/// Resident memory of this process in KiB.
fn resident() -> u64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn serving_does_not_bring_the_bundle_into_memory() {
    let scratch = Scratch::new();
    let size = 96 << 20;
    let bundle = scratch.bundle(&[("rpms/a.rpm", MemberKind::Rpm, noise(size))]);
    let server = Server::start_with(Some(bundle), &[], ANY, None, limits()).unwrap();
    let before = resident();
    let mut stream = connect(&server);
    stream.write_all(request(&server, "rpms/a.rpm", "Connection: close\r\n").as_bytes()).unwrap();
    let got = std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
    assert!(got > size as u64);
    // The program's own pages count too, and a kernel short of memory may have taken them away before.
    let grown = resident().saturating_sub(before);
    assert!(grown < size as u64 / 1024 / 3, "{grown} KiB more than before, for a package of {} KiB", size / 1024);
}

#[test]
fn the_bundle_s_metadata_is_signed() {
    let scratch = Scratch::new();
    let repomd = b"<repomd/>".to_vec();
    let bundle = scratch.bundle(&[("repodata/repomd.xml", MemberKind::Repodata, repomd)]);
    let server = Server::start_with(Some(bundle), &[], ANY, None, limits()).unwrap();
    let text = server.repo_file(server.addr().ip()).unwrap();
    assert!(text.contains("repo_gpgcheck=1\n") && text.contains("module_hotfixes=1\n"), "{text}");
    let mut stream = connect(&server);
    for name in ["repodata/repomd.xml.asc", "RPM-GPG-KEY-sunshine-installer"] {
        stream.write_all(request(&server, name, "").as_bytes()).unwrap();
        let (head, body) = answer(&mut stream);
        assert!(head.starts_with("HTTP/1.1 200") && body.starts_with(b"-----BEGIN PGP"), "{head}");
    }
}

#[test]
fn what_listens_on_all_of_ipv6_is_reached_by_ipv4_too() {
    let server = Server::start(None, &[], SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0)).unwrap();
    for ip in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
        TcpStream::connect((ip, server.addr().port())).unwrap();
        assert!(server.url_for(ip).starts_with(&format!("http://{}/", SocketAddr::new(ip, server.addr().port()))));
    }
    assert!(server.url_for(Ipv6Addr::LOCALHOST.into()).starts_with("http://[::1]:"));
}
