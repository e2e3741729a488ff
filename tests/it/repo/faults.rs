//! What breaks in the middle: the network, the way, the run itself, and bytes on the way.

use std::thread;
use std::time::Duration;

use sunshine_installer::deliver::{DeliverError, Route, RouteChoice, Server};
use sunshine_installer::packages::{InstallOptions, PackageError};

use super::setup::{Part, Scratch, inside, listen, names, traces};
use crate::lab::Lab;

#[test]
fn repo_a_changed_package_is_refused_as_damage_by_every_way() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let scratch = Scratch::new();
    let rpms = [scratch.rpm("alpha", "1", "", 50_000)];
    // The bundle is whole by its own sums: the change happened between the metadata and the bytes.
    let bundle = scratch.bundle_with(&rpms, &|_, bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
    let host = lab.host(0);
    let before = traces(host);
    inside(&lab, || {
        let server = Server::start(Some(bundle.clone()), &[], listen()).unwrap();
        for choice in [RouteChoice::Direct, RouteChoice::Tunnel, RouteChoice::Push, RouteChoice::Auto] {
            let mut part = Part::new(&scratch, host);
            let refused = part.run(&server, choice, &names(&["alpha"]), &InstallOptions::default()).unwrap_err();
            assert!(
                matches!(&refused, PackageError::Deliver(DeliverError::Damaged { what, .. }) if what.contains("alpha")),
                "{choice}: {refused:?}"
            );
            assert!(refused.is_damage() && refused.to_string().contains(host.address()), "{refused}");
            assert!(part.notes.is_empty(), "damage is no reason to try another way: {:?}", part.notes);
        }
    });
    host.sh("! rpm -q alpha");
    assert_eq!(traces(host), before);
}

#[test]
fn repo_a_damaged_bundle_is_found_before_the_host_is_changed() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let scratch = Scratch::new();
    let bundle = scratch.bundle(&[scratch.rpm("alpha", "1", "", 50_000)]);
    let member = bundle.rpm_files("alpha-1-1.noarch.rpm").next().unwrap().clone();
    let path = bundle.path().to_owned();
    let mut bytes = fs_err::read(&path).unwrap();
    bytes[usize::try_from(member.offset).unwrap() + 30_000] ^= 1;
    fs_err::write(&path, bytes).unwrap();
    let bundle = payload::Bundle::open(&path).unwrap();
    inside(&lab, || {
        let server = Server::start(Some(bundle.clone()), &[], listen()).unwrap();
        let mut part = Part::new(&scratch, lab.host(0));
        let wanted = names(&["alpha"]);
        let mut repo = part.open(&server, RouteChoice::Auto, &wanted).unwrap();
        let found = repo.trial(&part.host, &wanted, &InstallOptions::default()).unwrap_err();
        assert!(found.is_damage() && found.to_string().contains("rpms/alpha-1-1.noarch.rpm"), "{found}");
        repo.close(&part.host).unwrap();
    });
    lab.host(0).sh("! rpm -q alpha");
}

#[test]
fn repo_a_foreign_signature_is_refused() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let scratch = Scratch::new();
    let bundle = scratch.bundle(&[scratch.rpm("alpha", "1", "", 10)]);
    inside(&lab, || {
        // A host that trusts one run's key meets the metadata of another run.
        let server = Server::start(Some(bundle.clone()), &[], listen()).unwrap();
        let other = Server::start(Some(bundle.clone()), &[], listen()).unwrap();
        let address = lab.control().parse().unwrap();
        let text = server.repo_file(address).unwrap();
        let key = text.lines().find(|line| line.starts_with("gpgkey=")).unwrap().to_owned();
        let foreign = other.repo_file(address).unwrap();
        let mixed: String = foreign
            .lines()
            .map(|line| if line.starts_with("gpgkey=") { format!("{key}\n") } else { format!("{line}\n") })
            .collect();
        let part = Part::new(&scratch, lab.host(0));
        let put = |text: &str| {
            let meta = sunshine_installer::host::FileMeta::mode(0o644);
            part.host.write_file("/etc/yum.repos.d/x.repo", text.as_bytes(), &meta).unwrap();
            lab.host(0).exec("rm -rf /var/cache/dnf/*; dnf -y install alpha 2>&1")
        };
        let refused = put(&mixed);
        assert!(!refused.ok() && refused.stdout.contains("GPG"), "{}", refused.stdout);
        let taken = put(&text);
        assert!(taken.ok(), "what `repo serve` prints works as it is: {}", taken.stdout);
    });
}

#[test]
fn repo_a_way_that_breaks_in_the_middle_is_left_for_the_next() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let scratch = Scratch::new();
    let bundle = scratch.bundle(&[scratch.rpm("alpha", "1", "", 1000)]);
    let host = lab.host(0);
    let before = traces(host);
    let (installed, notes) = inside(&lab, || {
        let server = Server::start(Some(bundle.clone()), &[], listen()).unwrap();
        let mut part = Part::new(&scratch, host);
        let (wanted, options) = (names(&["alpha"]), InstallOptions::default());
        let mut repo = part.open(&server, RouteChoice::Auto, &wanted).unwrap();
        repo.trial(&part.host, &wanted, &options).unwrap();
        assert_eq!(repo.route(), Route::Direct);
        // From here on the host reaches the control host no more; SSH goes on.
        host.drop_to_control();
        let installed = part.install(&mut repo, &wanted, &options).unwrap();
        println!("{}", repo.why());
        repo.close(&part.host).unwrap();
        (installed, part.notes)
    });
    assert_eq!(installed.route, Route::Tunnel);
    assert!(notes.iter().any(|note| note.contains("continuing by tunnel")), "{notes:?}");
    host.sh("rpm -q alpha");
    assert_eq!(traces(host), before);
}

#[test]
fn repo_a_cut_network_fails_one_host_and_the_next_run_completes() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(3);
    let scratch = Scratch::new();
    let bundle = scratch.bundle(&[scratch.rpm("alpha", "1", "", 30_000_000)]);
    let before = traces(lab.host(1));
    let options = InstallOptions { timeout: Duration::from_secs(45), ..InstallOptions::default() };
    let wanted = names(&["alpha"]);
    // Slow enough to be cut in the middle of the download.
    crate::lab::Output::of(std::process::Command::new(crate::checkout().join("tests/lab/lab")).args([
        "rate",
        "--name",
        lab.name(),
        "host1",
        "8",
    ]))
    .expect_ok();
    let results = inside(&lab, || {
        let server = Server::start(Some(bundle.clone()), &[], listen()).unwrap();
        thread::scope(|scope| {
            let work = |host| {
                let (scratch, server, wanted, options) = (&scratch, &server, &wanted, &options);
                scope.spawn(move || Part::new(scratch, host).run(server, RouteChoice::Auto, wanted, options))
            };
            let all: Vec<_> = lab.hosts().iter().map(work).collect();
            let downloading = "find /var/cache/sunshine-installer -name '*.rpm' -size +1M 2>/dev/null | grep -q .";
            let cut = (0..400).find(|_| {
                thread::sleep(Duration::from_millis(100));
                lab.host(1).exec(downloading).ok()
            });
            assert!(cut.is_some(), "the download must have begun");
            lab.host(1).cut_network();
            all.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
        })
    });
    assert!(results[0].is_ok() && results[2].is_ok(), "the others are done: {results:?}");
    let failed = results[1].as_ref().unwrap_err();
    println!("{failed}");
    assert!(failed.to_string().contains(lab.host(1).address()), "{failed}");
    lab.host(1).heal();
    lab.host(1).sh("! rpm -q alpha");
    let installed = inside(&lab, || {
        let server = Server::start(Some(bundle.clone()), &[], listen()).unwrap();
        let mut part = Part::new(&scratch, lab.host(1));
        part.run(&server, RouteChoice::Auto, &wanted, &InstallOptions::default()).unwrap()
    });
    assert_eq!(installed.changed.len(), 1);
    lab.host(1).sh("rpm -q alpha");
    assert_eq!(traces(lab.host(1)), before, "also what the broken run left is gone");
}

#[test]
fn repo_the_next_run_clears_what_a_killed_one_left() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let scratch = Scratch::new();
    let bundle = scratch.bundle(&[scratch.rpm("alpha", "1", "", 100_000)]);
    let host = lab.host(0);
    let before = traces(host);
    inside(&lab, || {
        let server = Server::start(Some(bundle.clone()), &[], listen()).unwrap();
        let mut part = Part::new(&scratch, host);
        let wanted = names(&["alpha"]);
        let mut repo = part.open(&server, RouteChoice::Push, &wanted).unwrap();
        part.install(&mut repo, &wanted, &InstallOptions::default()).unwrap();
        // Killed: nobody closes it.
        drop(repo);
        assert_ne!(traces(host), before, "what is to be cleared must be there");
        let server = Server::start(Some(bundle.clone()), &[], listen()).unwrap();
        let mut part = Part::new(&scratch, host);
        part.run(&server, RouteChoice::Auto, &wanted, &InstallOptions::default()).unwrap();
        assert!(part.notes.iter().any(|note| note.contains("earlier run")), "{:?}", part.notes);
    });
    assert_eq!(traces(host), before);
}
