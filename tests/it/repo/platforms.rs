//! Packages for platforms: a host takes those of its own by every route, and is refused what is for others only.

use camino::Utf8PathBuf;
use payload::Bundle;
use sunshine_installer::deliver::{Route, RouteChoice, Server};
use sunshine_installer::packages::{InstallOptions, PackageError};

use super::setup::{Part, Scratch, inside, listen, names, traces};
use crate::lab::{self, Lab};

/// A package for a platform, or for all hosts, which says whose it is. Builds for different platforms have the same name.
fn build(scratch: &Scratch, platform: &'static str, name: &str, extra: &str) -> (&'static str, Utf8PathBuf) {
    let built = scratch.rpm(name, "1", &format!("Provides: built-for({platform})\n{extra}"), 1000);
    let folder = scratch.path(&format!("for/{platform}"));
    fs_err::create_dir_all(&folder).unwrap();
    let to = folder.join(built.file_name().unwrap());
    fs_err::rename(built, &to).unwrap();
    (platform, to)
}

fn bundle(scratch: &Scratch) -> Bundle {
    scratch.bundle_for(vec![
        build(scratch, "", "alpha", ""),
        build(scratch, "", "tool", ""),
        build(scratch, "el8", "tool", "Requires: alpha"),
        build(scratch, "el8", "only8", ""),
        build(scratch, "el9", "tool", "Requires: alpha, beta"),
        build(scratch, "el9", "beta", ""),
    ])
}

/// For which platform the host's tool was built.
fn built_for(host: &lab::Host) -> String {
    host.sh("rpm -q --provides tool | sed -n 's/^built-for(\\(.*\\))$/\\1/p'")
}

#[test]
fn repo_a_host_takes_its_platform_s_packages_by_every_route() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(2);
    let scratch = Scratch::new();
    let bundle = bundle(&scratch);
    let (el9, el8) = (lab.host(0), lab.host(1));
    el8.sh("sed -i s/platform:el9/platform:el8/ /etc/os-release");
    let before = traces(el9);
    let options = InstallOptions::default();
    inside(&lab, || {
        let server = Server::start(Some(bundle.clone()), &[], listen()).unwrap();
        let mut part = Part::new(&scratch, el9);
        assert_eq!(part.facts.platform, "el9");
        let routes = [
            (RouteChoice::Direct, Route::Direct),
            (RouteChoice::Tunnel, Route::Tunnel),
            (RouteChoice::Push, Route::Push),
        ];
        // By name, and as -f names a file of the bundle.
        for wanted in [names(&["tool"]), vec![scratch.file("tool", "1")]] {
            for (choice, route) in routes {
                let installed = part.run(&server, choice, &wanted, &options).unwrap();
                assert_eq!((installed.route, installed.changed.len()), (route, 3), "{wanted:?}");
                assert_eq!(built_for(el9), "el9", "{wanted:?} by {route}");
                el9.sh("rpm -e tool alpha beta");
            }
        }
        // rpm alone has no solver to ask.
        el9.sh("mv /usr/bin/dnf /usr/bin/hidden-dnf; mv /usr/bin/dnf-3 /usr/bin/hidden-dnf-3");
        let mut alone = Part::new(&scratch, el9);
        assert_eq!(alone.run(&server, RouteChoice::Auto, &names(&["tool"]), &options).unwrap().changed.len(), 3);
        assert_eq!(built_for(el9), "el9");
        el9.sh("mv /usr/bin/hidden-dnf /usr/bin/dnf; mv /usr/bin/hidden-dnf-3 /usr/bin/dnf-3; rpm -e tool alpha beta");

        let mut other = Part::new(&scratch, el8);
        assert_eq!(other.facts.platform, "el8");
        other.run(&server, RouteChoice::Auto, &names(&["tool", "only8"]), &options).unwrap();
        assert_eq!(built_for(el8), "el8");
        el8.sh("rpm -q alpha only8 && ! rpm -q beta");
    });
    assert_eq!(traces(el9), before);
    lab.assert_no_egress(&[]);
}

#[test]
fn repo_packages_for_other_platforms_are_not_there_and_refused_by_name() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let scratch = Scratch::new();
    let bundle = bundle(&scratch);
    let host = lab.host(0);
    let options = InstallOptions::default();
    inside(&lab, || {
        let server = Server::start(Some(bundle.clone()), &[], listen()).unwrap();
        let mut part = Part::new(&scratch, host);
        for wanted in [names(&["tool", "only8"]), vec![scratch.file("only8", "1")]] {
            let mut repo = part.open(&server, RouteChoice::Push, &wanted).unwrap();
            let repositories = "cd /var/cache/sunshine-installer/*/files && find . -name repomd.xml | sort";
            assert_eq!(host.sh(repositories), "./el9/repodata/repomd.xml\n./repodata/repomd.xml");
            let problems = repo.trial(&part.host, &wanted, &options).unwrap().problems.join("\n");
            println!("{problems}");
            assert!(problems.contains("is el9, and the bundle has for other platforms only: only8"), "{problems}");
            assert!(problems.contains("(for el8)") && problems.contains("repack --platform el9"), "{problems}");
            let refused = part.install(&mut repo, &wanted, &options).unwrap_err();
            assert!(matches!(&refused, PackageError::OtherPlatform { .. }), "{refused}");
            repo.close(&part.host).unwrap();
        }
        host.sh("! rpm -q only8 && ! rpm -q tool");
        // A bundle with nothing for all hosts.
        let platforms_only = scratch.bundle_for(vec![build(&scratch, "el9", "gamma", "")]);
        let server = Server::start(Some(platforms_only), &[], listen()).unwrap();
        for choice in [RouteChoice::Direct, RouteChoice::Push] {
            part.run(&server, choice, &names(&["gamma"]), &options).unwrap();
            host.sh("rpm -q gamma && rpm -e gamma");
        }
    });
}
