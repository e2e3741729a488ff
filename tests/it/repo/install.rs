//! Three hosts, three ways; what is there is left alone; versions, conflicts and locks.

use std::thread;
use std::time::{Duration, Instant};

use sunshine_installer::deliver::{Route, RouteChoice, Server};
use sunshine_installer::packages::{InstallOptions, PackageError};

use super::setup::{Part, Scratch, inside, lab_rpms, listen, names, traces};
use crate::lab::Lab;

#[test]
fn repo_three_hosts_take_the_three_ways_by_themselves() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(3);
    let scratch = Scratch::new();
    let bundle = scratch.bundle(&lab_rpms(&["etcd", "docker"]));
    lab.host(0).dead_repo();
    lab.host(1).drop_to_control();
    lab.host(2).drop_to_control();
    lab.host(2).sshd(&["AllowTcpForwarding no"]);
    let before: Vec<String> = lab.hosts().iter().map(traces).collect();
    let wanted = names(&["docker", "etcd"]);
    let options = InstallOptions::default();
    let run = |server: &Server| {
        thread::scope(|scope| {
            let work = |host| {
                let (scratch, wanted, options) = (&scratch, &wanted, &options);
                scope.spawn(move || {
                    let started = Instant::now();
                    let mut part = Part::new(scratch, host);
                    let mut repo = part.open(server, RouteChoice::Auto, wanted).unwrap();
                    let trial = repo.trial(&part.host, wanted, options).unwrap();
                    let installed = part.install(&mut repo, wanted, options).unwrap();
                    let why = repo.why();
                    repo.close(&part.host).unwrap();
                    println!("{}: {why}: {trial}: {:?}", host.name(), started.elapsed());
                    (installed, trial, why)
                })
            };
            let all: Vec<_> = lab.hosts().iter().map(work).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
        })
    };
    let (first, second) = inside(&lab, || {
        let server = Server::start(Some(bundle.clone()), &[], listen()).unwrap();
        let first = run(&server);
        drop(server);
        let server = Server::start(Some(bundle.clone()), &[], listen()).unwrap();
        (first, run(&server))
    });
    let routes: Vec<Route> = first.iter().map(|(installed, ..)| installed.route).collect();
    assert_eq!(routes, [Route::Direct, Route::Tunnel, Route::Push]);
    assert!(first[1].2.contains("not direct: "), "{}", first[1].2);
    assert!(first[2].2.contains("not tunnel: forwarding a port is not possible"), "{}", first[2].2);
    for (installed, trial, _) in &first {
        let mut came: Vec<&str> = installed.changed.iter().map(|id| id.name.as_str()).collect();
        came.sort_unstable();
        assert_eq!(came, ["containerd", "docker", "etcd", "runc", "tini"]);
        assert_eq!(trial.install.len(), 5);
    }
    for (installed, trial, _) in &second {
        assert!(installed.changed.is_empty() && trial.is_empty(), "a second run changes nothing");
    }
    for (host, before) in lab.hosts().iter().zip(&before) {
        host.sh("rpm -q docker etcd containerd runc && systemctl cat docker etcd >/dev/null");
        assert_eq!(traces(host), *before, "nothing is left on {}", host.name());
        assert_eq!(
            host.sh("dnf history list 2>/dev/null | grep -c '^ *[0-9]'"),
            "1",
            "transactions on {}",
            host.name()
        );
    }
    lab.assert_no_egress(&[]);
}

#[test]
fn repo_a_dead_default_repository_is_not_waited_for() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let scratch = Scratch::new();
    let bundle = scratch.bundle(&[scratch.rpm("alpha", "1", "", 1000)]);
    inside(&lab, || {
        let server = Server::start(Some(bundle.clone()), &[], listen()).unwrap();
        let mut part = Part::new(&scratch, lab.host(0));
        lab.host(0).dead_repo();
        part.run(&server, RouteChoice::Auto, &names(&["alpha"]), &InstallOptions::default()).unwrap();
    });
    lab.host(0).sh("rpm -q alpha");
    // Nobody even asked it, so nobody waited; whoever asks hangs.
    lab.assert_no_egress(&[]);
    assert!(!lab.host(0).exec("timeout 5 dnf -q makecache").ok());
}

#[test]
fn repo_versions_are_respected() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let scratch = Scratch::new();
    let old = scratch.rpm("alpha", "1", "", 1000);
    let new = scratch.rpm("alpha", "2", "Requires: beta", 1000);
    let rpms = [old.clone(), new, scratch.rpm("beta", "1", "", 1000)];
    let bundle = scratch.bundle(&rpms);
    let options = InstallOptions::default();
    let (one, two) = ([scratch.file("alpha", "1")], [scratch.file("alpha", "2")]);
    inside(&lab, || {
        let server = Server::start(Some(bundle.clone()), &[], listen()).unwrap();
        let mut part = Part::new(&scratch, lab.host(0));
        let shown = |ids: &[payload::RpmId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut run = |wanted: &[_], options: &InstallOptions| {
            part.run(&server, RouteChoice::Auto, wanted, options).map(|installed| shown(&installed.changed))
        };
        assert_eq!(run(&one, &options).unwrap(), ["alpha-1-1.noarch"]);
        assert!(run(&one, &options).unwrap().is_empty());
        assert!(run(&names(&["alpha"]), &options).unwrap().is_empty(), "by name, what is there is enough");
        let again = InstallOptions { force_reinstall: true, ..options.clone() };
        assert_eq!(run(&one, &again).unwrap(), ["alpha-1-1.noarch"]);
        assert_eq!(run(&two, &options).unwrap().len(), 2, "an older one is upgraded, with what that needs");
        let refused = run(&one, &options).unwrap_err();
        assert!(matches!(&refused, PackageError::Newer { name, .. } if name == "alpha"), "{refused}");
        assert!(refused.help().unwrap().contains("--allow-downgrade"));
        let allowed = InstallOptions { allow_downgrade: true, ..options.clone() };
        assert_eq!(run(&one, &allowed).unwrap(), ["alpha-1-1.noarch"]);
    });
    assert_eq!(lab.host(0).sh("rpm -q alpha"), "alpha-1-1.noarch");
}

#[test]
fn repo_rpms_of_the_control_host_come_by_every_way() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let scratch = Scratch::new();
    let local = [scratch.rpm("alpha", "1", "Requires: beta", 100_000)];
    let bundle = scratch.bundle(&[scratch.rpm("beta", "1", "", 1000)]);
    let wanted = [scratch.file("alpha", "1")];
    inside(&lab, || {
        let server = Server::start(Some(bundle.clone()), &local, listen()).unwrap();
        for (choice, route) in [
            (RouteChoice::Direct, Route::Direct),
            (RouteChoice::Tunnel, Route::Tunnel),
            (RouteChoice::Push, Route::Push),
        ] {
            let mut part = Part::new(&scratch, lab.host(0));
            let installed = part.run(&server, choice, &wanted, &InstallOptions::default()).unwrap();
            assert_eq!((installed.route, installed.changed.len()), (route, 2));
            lab.host(0).sh("rpm -q alpha beta && rpm -e alpha beta");
        }
        // Without any bundle too.
        let server = Server::start(None, &[scratch.rpm("gamma", "1", "", 10)], listen()).unwrap();
        let mut part = Part::new(&scratch, lab.host(0));
        let wanted = [scratch.file("gamma", "1")];
        part.run(&server, RouteChoice::Auto, &wanted, &InstallOptions::default()).unwrap();
    });
    lab.host(0).sh("rpm -q gamma");
}

#[test]
fn repo_conflicts_are_told_before_anything_changes() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let scratch = Scratch::new();
    let host_s = [scratch.rpm("runc", "1.1", "", 10), scratch.rpm("podman", "4", "Requires: runc", 10)];
    let bundle = scratch.bundle(&[
        scratch.rpm("containerd.io", "1.6", "Conflicts: runc\nObsoletes: lab-nothing", 10),
        scratch.rpm("needy", "1", "Requires: nothing-has-this", 10),
    ]);
    inside(&lab, || {
        let mut part = Part::new(&scratch, lab.host(0));
        let server = Server::start(None, &host_s, listen()).unwrap();
        let installed = [scratch.file("runc", "1.1"), scratch.file("podman", "4")];
        part.run(&server, RouteChoice::Auto, &installed, &InstallOptions::default()).unwrap();
        let server = Server::start(Some(bundle.clone()), &[], listen()).unwrap();
        let options = InstallOptions::default();
        for (name, part_of_problem, way) in [
            ("containerd.io", "conflicts with runc", "dnf remove"),
            (
                "needy",
                "nothing provides nothing-has-this",
                "put the package that provides nothing-has-this into the bundle",
            ),
        ] {
            let wanted = names(&[name]);
            let mut repo = part.open(&server, RouteChoice::Auto, &wanted).unwrap();
            let trial = repo.trial(&part.host, &wanted, &options).unwrap();
            let problems = trial.problems.join("\n");
            println!("{problems}");
            assert!(problems.contains(part_of_problem), "{problems}");
            let refused = part.install(&mut repo, &wanted, &options).unwrap_err();
            assert!(matches!(refused, PackageError::Unsolvable { .. }), "{refused}");
            assert!(refused.help().unwrap().contains(way), "{refused:?}");
            repo.close(&part.host).unwrap();
        }
    });
    lab.host(0).sh("rpm -q runc podman && ! rpm -q containerd.io needy");
}

#[test]
fn repo_a_lock_is_waited_for_and_not_for_ever() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let scratch = Scratch::new();
    let bundle = scratch.bundle(&[scratch.rpm("alpha", "1", "", 10)]);
    let host = lab.host(0);
    inside(&lab, || {
        let server = Server::start(Some(bundle.clone()), &[], listen()).unwrap();
        let mut part = Part::new(&scratch, host);
        let wanted = names(&["alpha"]);
        let hold = "sleep 1000 >/dev/null 2>&1 & mkdir -p /var/lib/dnf; echo $! >/var/lib/dnf/rpmdb_lock.pid";
        host.sh(hold);
        let short = InstallOptions { lock_wait: Duration::from_secs(3), ..InstallOptions::default() };
        let refused = part.run(&server, RouteChoice::Auto, &wanted, &short).unwrap_err();
        assert!(matches!(&refused, PackageError::Locked { holder, .. } if holder.contains("sleep")), "{refused}");
        assert!(part.notes.iter().any(|note| note.contains("waiting up to 3 s")), "{:?}", part.notes);
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_secs(4));
                host.sh("kill $(cat /var/lib/dnf/rpmdb_lock.pid)");
            });
            part.run(&server, RouteChoice::Auto, &wanted, &InstallOptions::default()).unwrap();
        });
    });
    host.sh("rpm -q alpha");
}

#[test]
fn repo_a_host_with_rpm_alone_gets_what_it_needs() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let scratch = Scratch::new();
    let bundle = scratch.bundle(&[
        scratch.rpm("alpha", "1", "Requires: beta >= 2, /opt/gamma/data", 10),
        scratch.rpm("beta", "1", "", 10),
        scratch.rpm("beta", "2", "", 10),
        scratch.rpm("gamma", "1", "", 10),
        scratch.rpm("delta", "1", "", 10),
        scratch.rpm("foe", "1", "Conflicts: beta", 10),
    ]);
    let host = lab.host(0);
    host.sh("mv /usr/bin/dnf /usr/bin/hidden-dnf; mv /usr/bin/dnf-3 /usr/bin/hidden-dnf-3; true");
    let before = traces(host);
    inside(&lab, || {
        let server = Server::start(Some(bundle.clone()), &[], listen()).unwrap();
        let mut part = Part::new(&scratch, host);
        let options = InstallOptions::default();
        let installed = part.run(&server, RouteChoice::Auto, &names(&["alpha"]), &options).unwrap();
        let mut came: Vec<String> = installed.changed.iter().map(ToString::to_string).collect();
        came.sort();
        assert_eq!(came, ["alpha-1-1.noarch", "beta-2-1.noarch", "gamma-1-1.noarch"]);
        assert_eq!(installed.route, Route::Push);
        let refused = part.run(&server, RouteChoice::Auto, &names(&["foe"]), &options).unwrap_err();
        assert!(matches!(&refused, PackageError::Unsolvable { .. }), "{refused}");
        let refused = part.run(&server, RouteChoice::Auto, &names(&["elsewhere"]), &options).unwrap_err();
        assert!(matches!(&refused, PackageError::NoOwn { .. }), "{refused}");
    });
    host.sh("rpm -q alpha gamma && ! rpm -q delta foe");
    assert_eq!(traces(host), before);
}

#[test]
fn repo_what_the_bundle_lacks_comes_from_the_host_s_own_repositories() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let scratch = Scratch::new();
    let bundle = scratch.bundle(&[scratch.rpm("alpha", "1", "", 10)]);
    let own = scratch.rpm("omega", "1", "", 10);
    let host = lab.host(0);
    inside(&lab, || {
        // The host's own repository: a folder on it.
        let mut part = Part::new(&scratch, host);
        let bytes = fs_err::read(&own).unwrap();
        let meta = sunshine_installer::host::FileMeta::mode(0o644);
        part.host.write_file("/srv/own/omega-1-1.noarch.rpm", &bytes, &meta).unwrap();
        for file in payload::yum::scan(&[own], "", payload::yum::Packing::Gzip, &mut |_| ()).unwrap().repodata {
            part.host.write_file(&format!("/srv/own/{}", file.name), &file.bytes, &meta).unwrap();
        }
        host.sh("printf '[own]\\nname=own\\nbaseurl=file:///srv/own\\ngpgcheck=0\\n' >/etc/yum.repos.d/own.repo");
        let server = Server::start(Some(bundle.clone()), &[], listen()).unwrap();
        let options = InstallOptions::default();
        let installed = part.run(&server, RouteChoice::Auto, &names(&["omega"]), &options).unwrap();
        assert_eq!(installed.route, Route::Own);
        assert_eq!(installed.changed.len(), 1);
        host.sh("rpm -e omega");
        let installed = part.run(&server, RouteChoice::Auto, &names(&["alpha", "omega"]), &options).unwrap();
        assert_eq!((installed.route, installed.changed.len()), (Route::Direct, 2));
        let refused = part.run(&server, RouteChoice::Auto, &names(&["nowhere"]), &options).unwrap_err();
        assert!(matches!(&refused, PackageError::Unsolvable { .. }), "{refused}");
    });
    host.sh("rpm -q alpha omega && test -f /etc/yum.repos.d/own.repo");
}
