//! Hosts that die, freeze, vanish or are too busy: each gives an error in bounded time, and the session recovers.

use std::thread;
use std::time::{Duration, Instant};

use sunshine_installer::host::{Command, Connect, HostError};

use super::setup::{connect, inside, login, refused, settings, target, whoami};
use crate::lab::Lab;

/// Only what hangs takes so long: every wait asked for here ends after some seconds.
const HANGS: Duration = Duration::from_secs(120);

#[test]
fn host_dead_frozen_or_cut_is_said_in_time_and_comes_back() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let folder = tempfile::tempdir().unwrap();
    // The hosts that do not answer are waited for.
    let settings = Connect { timeout: Duration::from_secs(5), ..settings(&folder) };
    let host = lab.host(0);
    let brief = || Command::new("true").timeout(Duration::from_secs(2));
    inside(&lab, || {
        let mut nobody = target(host);
        nobody.address = "10.8.14.99".parse().unwrap();
        let begun = Instant::now();
        let error = refused(&nobody, &settings);
        assert!(error.is_unreachable() && begun.elapsed() < HANGS, "{error}");
        nobody = target(host);
        nobody.port = 9;
        assert!(refused(&nobody, &settings).is_unreachable());

        let session = connect(&target(host), &settings);
        // The host's own limit.
        let error = session.run(&Command::new("sleep").arg("60").timeout(Duration::from_secs(1))).unwrap_err();
        assert!(matches!(error, HostError::Timeout { .. }), "{error}");
        assert_eq!(session.run_ok(&whoami()).unwrap().text(), "root");

        host.freeze();
        let begun = Instant::now();
        let error = session.run(&brief()).unwrap_err();
        assert!(error.is_unreachable() && begun.elapsed() < HANGS, "{error} {:?}", begun.elapsed());
        let begun = Instant::now();
        let error = refused(&target(host), &settings);
        assert!(error.is_unreachable() && begun.elapsed() < HANGS, "{error} {:?}", begun.elapsed());
        host.thaw();
        assert_eq!(session.run_ok(&whoami()).unwrap().text(), "root", "connected anew");

        // Cut while a command runs, and while a file is on its way.
        thread::scope(|scope| {
            let running = scope.spawn(|| session.run(&Command::new("sleep").arg("30").timeout(Duration::from_secs(3))));
            thread::sleep(Duration::from_millis(500));
            host.cut_network();
            let begun = Instant::now();
            let error = running.join().unwrap().unwrap_err();
            assert!(error.is_unreachable() && begun.elapsed() < HANGS, "{error}");
        });
        host.heal();
        assert_eq!(session.run_ok(&whoami()).unwrap().text(), "root", "connected anew");

        // A session that the host has ended while it was idle is made anew without a word.
        host.sh("pkill -KILL -f '^sshd: root' || pkill -KILL -f 'sshd: root@notty'");
        thread::sleep(Duration::from_millis(300));
        assert_eq!(session.run_ok(&whoami()).unwrap().text(), "root");

        // One that ends under a running command is lost: status 0 would be a lie.
        let error = session
            .run(
                &Command::script("exec >&- 2>&-; sleep 0.3; kill -KILL $(pgrep -f 'sshd: root'); sleep 5")
                    .timeout(Duration::from_secs(10)),
            )
            .unwrap_err();
        assert!(matches!(error, HostError::Lost { .. }), "{error}");
    });
}

#[test]
fn host_thirty_logins_at_once_to_a_busy_sshd() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(&folder);
    let host = lab.host(0);
    host.sshd(&["MaxStartups 2:50:5"]);
    inside(&lab, || {
        thread::scope(|scope| {
            let logins: Vec<_> = (0..30)
                .map(|_| {
                    scope.spawn(|| connect(&login(host, "root", "111111"), &settings).run_ok(&whoami()).unwrap().text())
                })
                .collect();
            for one in logins {
                assert_eq!(one.join().unwrap(), "root");
            }
        });
    });
    let known = std::fs::read_to_string(&settings.known_hosts).unwrap();
    assert_eq!(known.lines().count(), 1, "thirty who met the same new host recorded it once: {known}");
}

#[test]
fn host_twelve_side_by_side_and_a_dead_one_holds_up_nobody() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(12);
    let folder = tempfile::tempdir().unwrap();
    // Longer than all the others need together.
    let settings = Connect { timeout: Duration::from_secs(30), ..settings(&folder) };
    lab.host(5).cut_network();
    inside(&lab, || {
        let ends: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = lab
                .hosts()
                .iter()
                .map(|host| {
                    let settings = &settings;
                    scope.spawn(move || {
                        let session = sunshine_installer::host::Host::connect(&target(host), settings);
                        let name = session.and_then(|s| s.run_ok(&Command::user_line("hostname; exit 0")));
                        (name.map(|output| output.text()), Instant::now())
                    })
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        let given_up = ends[5].1;
        for (index, (host, (name, at))) in lab.hosts().iter().zip(ends).enumerate() {
            match name {
                Ok(name) => {
                    assert_eq!(name, host.sh("hostname"));
                    assert!(at < given_up, "{name} waited for the dead one");
                }
                Err(e) => assert!(index == 5 && e.is_unreachable(), "{e}"),
            }
        }
    });
}
