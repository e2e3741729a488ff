//! What rpm itself has against a transaction, known in the trial; and what satisfies a wish under another name.

use sunshine_installer::deliver::{Route, RouteChoice, Server};
use sunshine_installer::packages::{InstallOptions, way_out_of};

use super::setup::{Part, Scratch, inside, listen, names, traces};
use crate::lab::Lab;

#[test]
fn repo_what_rpm_has_against_a_transaction_is_known_in_the_trial() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let scratch = Scratch::new();
    let shared = "/opt/shared/file";
    let bundle = scratch.bundle(&[
        scratch.rpm_with("alpha", "1", "", 10, shared),
        scratch.rpm_with("beta", "1", "", 10, shared),
        scratch.rpm("future", "1", "Requires: rpmlib(PayloadIsFuture) <= 9.0-1", 10),
        scratch.rpm("big", "1", "", 8_000_000),
        scratch.rpm("plain", "1", "", 10),
    ]);
    let host = lab.host(0);
    host.sh("mkdir -p /opt/big && mount -t tmpfs -o size=4m tmpfs /opt/big");
    let before = traces(host);
    inside(&lab, || {
        let server = Server::start(Some(bundle.clone()), &[], listen()).unwrap();
        let mut part = Part::new(&scratch, host);
        let mut tried = |wanted: &[&str], hold: bool| {
            let (wanted, options) = (names(wanted), InstallOptions { hold, ..InstallOptions::default() });
            let mut repo = part.open(&server, RouteChoice::Auto, &wanted).unwrap();
            let problems = repo.trial(&part.host, &wanted, &options).unwrap().problems;
            if problems.is_empty() {
                part.install(&mut repo, &wanted, &options).unwrap();
            }
            repo.close(&part.host).unwrap();
            problems
        };
        for (wanted, told, way) in [
            (&["alpha", "beta"][..], "conflicts between attempted installs of ", "cannot be on one host"),
            (&["future"], "rpmlib(PayloadIsFuture) <= 9.0-1 is needed by future-1-1.noarch", "w9.gzdio"),
            (&["big"], "more space on the /opt/big filesystem", "free space on /opt/big"),
        ] {
            let problems = tried(wanted, true);
            let [problem] = problems.as_slice() else { panic!("{problems:?}") };
            assert!(problem.contains(told), "{problem}");
            assert!(way_out_of(problem).unwrap().contains(way), "{problem}");
        }
        assert_eq!(tried(&["alpha", "plain"], true), [""; 0]);
        let problems = tried(&["beta"], false);
        let told =
            "file /opt/shared/file from install of beta-1-1.noarch conflicts with file from package alpha-1-1.noarch";
        assert_eq!(problems, [told]);
        assert!(way_out_of(told).unwrap().contains("`dnf remove alpha`"));
    });
    host.sh("rpm -q alpha plain && ! rpm -q beta && ! rpm -q future && ! rpm -q big && ! pgrep -x dnf");
    assert_eq!(traces(host), before);
}

#[test]
fn repo_a_package_of_another_name_that_provides_it_is_enough() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let scratch = Scratch::new();
    let site_s = [scratch.rpm("moby-engine", "28", "Provides: docker = 28", 10)];
    let bundle =
        scratch.bundle(&[scratch.rpm("docker", "20", "", 10), scratch.rpm("node", "1", "Requires: docker", 10)]);
    let options = InstallOptions { hold: true, ..InstallOptions::default() };
    inside(&lab, || {
        let mut part = Part::new(&scratch, lab.host(0));
        let server = Server::start(None, &site_s, listen()).unwrap();
        part.run(&server, RouteChoice::Auto, &[scratch.file("moby-engine", "28")], &options).unwrap();
        let server = Server::start(Some(bundle.clone()), &[], listen()).unwrap();
        let wanted = names(&["docker", "node"]);
        let installed = part.run(&server, RouteChoice::Auto, &wanted, &options).unwrap();
        assert_eq!(installed.changed.iter().map(|id| id.name.as_str()).collect::<Vec<_>>(), ["node"]);
        let again = part.run(&server, RouteChoice::Auto, &wanted, &options).unwrap();
        assert!(again.changed.is_empty() && again.route == Route::Idle, "{again:?}");
    });
    lab.host(0).sh("rpm -q moby-engine node && ! rpm -q docker");
}
