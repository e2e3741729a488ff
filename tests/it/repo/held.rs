//! A transaction that dnf holds ready between the trial and the installation.

use sunshine_installer::deliver::{RouteChoice, Server};
use sunshine_installer::packages::{HostRepo, InstallOptions};

use super::setup::{Part, Scratch, inside, listen, names, traces};
use crate::lab::{self, Lab};

fn holding() -> InstallOptions {
    InstallOptions { hold: true, ..InstallOptions::default() }
}

/// The processes that have something of a run in their arguments, by name.
fn waiting(host: &lab::Host) -> Vec<String> {
    let found = host.sh("grep -laz '/run/sunshine-installer/' /proc/[0-9]*/cmdline 2>/dev/null | while read -r f; do cat \"${f%cmdline}comm\"; done; :");
    found.lines().filter(|name| *name == "dnf").map(str::to_owned).collect()
}

#[test]
fn repo_a_held_transaction_is_what_is_done_and_nothing_before() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let scratch = Scratch::new();
    let bundle = scratch.bundle(&[scratch.rpm("alpha", "1", "", 10), scratch.rpm("beta", "1", "", 10)]);
    let host = lab.host(0);
    inside(&lab, || {
        let server = Server::start(Some(bundle.clone()), &[], listen()).unwrap();
        let mut part = Part::new(&scratch, host);
        let wanted = names(&["alpha"]);
        for choice in [RouteChoice::Direct, RouteChoice::Push] {
            let mut repo = part.open(&server, choice, &wanted).unwrap();
            let tried = repo.trial(&part.host, &wanted, &holding()).unwrap();
            assert_eq!(tried.to_string(), "install alpha-1-1");
            assert_eq!(waiting(host), ["dnf"]);
            // It is in nobody's way, and what it waits with is not done yet.
            host.sh("! rpm -q alpha && dnf -q --disablerepo='*' list --installed >/dev/null");
            let installed = part.install(&mut repo, &wanted, &holding()).unwrap();
            assert_eq!(installed.changed.iter().map(ToString::to_string).collect::<Vec<_>>(), ["alpha-1-1.noarch"]);
            assert_eq!(waiting(host), [""; 0]);
            host.sh("rpm -q alpha");
            repo.close(&part.host).unwrap();
            assert_eq!(traces(host), "");
            host.sh("rpm -e alpha");
        }
        assert_eq!(host.sh("grep -c 'Installed: alpha' /var/log/dnf.rpm.log"), "2");
    });
}

#[test]
fn repo_a_held_transaction_that_is_not_wanted_any_more_leaves_nothing() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let scratch = Scratch::new();
    let bundle = scratch.bundle(&[scratch.rpm("alpha", "1", "", 10), scratch.rpm("beta", "1", "", 10)]);
    let host = lab.host(0);
    inside(&lab, || {
        let server = Server::start(Some(bundle.clone()), &[], listen()).unwrap();
        let mut part = Part::new(&scratch, host);
        let (alpha, both) = (names(&["alpha"]), names(&["alpha", "beta"]));
        let tried = |part: &mut Part| -> HostRepo {
            let mut repo = part.open(&server, RouteChoice::Auto, &both).unwrap();
            repo.trial(&part.host, &both, &holding()).unwrap();
            assert_eq!(waiting(host), ["dnf"]);
            repo
        };
        // Given up before: another host had a problem.
        tried(&mut part).close(&part.host).unwrap();
        assert_eq!((waiting(host), traces(host)), (vec![], String::new()));
        host.sh("! rpm -q alpha && ! rpm -q beta");
        // Killed before: the next run clears it, though its dnf still waits.
        drop(tried(&mut part));
        let mut part = Part::new(&scratch, host);
        let again = Server::start(Some(bundle.clone()), &[], listen()).unwrap();
        let mut repo = part.open(&again, RouteChoice::Auto, &both).unwrap();
        assert_eq!(waiting(host), [""; 0]);
        assert!(part.notes.iter().any(|note| note.contains("an earlier run had left behind")), "{:?}", part.notes);
        repo.trial(&part.host, &both, &holding()).unwrap();
        // Ended from outside, or only a part of it wanted now: the plain way does it.
        host.sh("pkill -x dnf; while pgrep -x dnf; do sleep 0.05; done; :");
        part.install(&mut repo, &alpha, &holding()).unwrap();
        host.sh("rpm -q alpha && ! rpm -q beta");
        part.install(&mut repo, &both, &holding()).unwrap();
        repo.close(&part.host).unwrap();
        assert_eq!((waiting(host), traces(host)), (vec![], String::new()));
        host.sh("rpm -q alpha beta");
    });
}

/// What the host's administrator lets dnf assume is no answer to a trial.
#[test]
fn repo_a_trial_installs_nothing_whatever_dnf_conf_assumes() {
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
        for option in ["assumeyes", "defaultyes", "assumeno"] {
            host.sh(&format!("cp /etc/dnf/dnf.conf /root/dnf.conf; sed -i '1a {option}=True' /etc/dnf/dnf.conf"));
            let mut repo = part.open(&server, RouteChoice::Auto, &wanted).unwrap();
            let tried = repo.trial(&part.host, &wanted, &holding()).unwrap();
            assert_eq!(
                (tried.to_string().as_str(), waiting(host)),
                ("install alpha-1-1", vec!["dnf".to_owned()]),
                "{option}"
            );
            host.sh("! rpm -q alpha");
            part.install(&mut repo, &wanted, &holding()).unwrap();
            repo.close(&part.host).unwrap();
            host.sh("rpm -e alpha; mv /root/dnf.conf /etc/dnf/dnf.conf");
            assert_eq!(traces(host), "", "{option}");
        }
    });
}

/// Whatever the host's administrator set in dnf.conf, the line does the same: with a transaction that is held, and without, as with several
/// operations on one line.
#[test]
fn repo_dnf_conf_does_not_change_what_is_installed() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let scratch = Scratch::new();
    let bundle =
        scratch.bundle(&[scratch.rpm("alpha", "1", "Recommends: omega", 10), scratch.rpm("omega", "1", "", 10)]);
    let host = lab.host(0);
    let settings = "assumeno=1\ntsflags=test nodocs\nstrict=0\nbest=0\ninstall_weak_deps=0\ncacheonly=1\nip_resolve=6\ncolor=always\n\
                    excludepkgs=*\nproxy=http://10.8.14.254:3128\nmultilib_policy=all\nobsoletes=0\ndebuglevel=0";
    host.sh(&format!("printf '\n{settings}\n' >>/etc/dnf/dnf.conf"));
    inside(&lab, || {
        let server = Server::start(Some(bundle.clone()), &[], listen()).unwrap();
        let mut part = Part::new(&scratch, host);
        for options in [InstallOptions::default(), holding()] {
            let mut repo = part.open(&server, RouteChoice::Direct, &names(&["alpha"])).unwrap();
            repo.trial(&part.host, &names(&["alpha"]), &options).unwrap();
            part.install(&mut repo, &names(&["alpha"]), &options).unwrap();
            repo.close(&part.host).unwrap();
            host.sh("rpm -e alpha omega");
        }
    });
}

#[test]
fn repo_a_held_transaction_waits_for_a_lock_taken_meanwhile() {
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
        let mut repo = part.open(&server, RouteChoice::Auto, &wanted).unwrap();
        repo.trial(&part.host, &wanted, &holding()).unwrap();
        host.sh("sleep 3 >/dev/null 2>&1 & mkdir -p /var/lib/dnf; echo $! >/var/lib/dnf/rpmdb_lock.pid");
        part.install(&mut repo, &wanted, &holding()).unwrap();
        assert!(part.notes.iter().any(|note| note.contains("sleep (process")), "{:?}", part.notes);
        repo.close(&part.host).unwrap();
        host.sh("rpm -q alpha");
    });
}
