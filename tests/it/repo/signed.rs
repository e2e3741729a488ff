//! rpm's own signatures: checked when the bundle brings the key, and refused when they are another's.

use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};
use sunshine_installer::deliver::{RouteChoice, Server};
use sunshine_installer::packages::InstallOptions;

use super::setup::{Part, Scratch, inside, listen, names};
use crate::lab::{Lab, Output};

/// Makes a key for packages, and returns its public half's file.
fn make_key(scratch: &Scratch, name: &str) -> Utf8PathBuf {
    let home = scratch.path(&format!("gpg-{name}"));
    fs_err::create_dir_all(&home).unwrap();
    let gpg = |arguments: &[&str]| {
        let mut gpg = Command::new("gpg");
        gpg.args(["--batch", "--homedir", home.as_str(), "--pinentry-mode", "loopback", "--passphrase", ""]);
        Output::of(gpg.args(arguments)).expect_ok().stdout
    };
    gpg(&["--quick-gen-key", name, "rsa2048", "sign", "never"]);
    let file = scratch.path(&format!("{name}.asc"));
    fs_err::write(&file, gpg(&["--armor", "--export", name])).unwrap();
    file
}

fn sign(scratch: &Scratch, name: &str, rpm: &Utf8Path) {
    let mut sign = Command::new("rpmsign");
    sign.args([
        "--define",
        "__gpg /usr/bin/gpg",
        "--define",
        &format!("_gpg_name {name}"),
        "--define",
        &format!("_gpg_path {}", scratch.path(&format!("gpg-{name}"))),
    ]);
    Output::of(sign.args(["--addsign", rpm.as_str()])).expect_ok();
}

#[test]
fn repo_signed_packages_are_checked_with_the_bundle_s_key() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let scratch = Scratch::new();
    let key = make_key(&scratch, "vendor");
    let signed = scratch.rpm("alpha", "1", "", 1000);
    sign(&scratch, "vendor", &signed);
    let unsigned = scratch.rpm("beta", "1", "Requires: alpha", 1000);
    let host = lab.host(0);
    let keys = "rpm -q gpg-pubkey | grep -c '^gpg-pubkey-'";
    let bundle = scratch.bundle_with_keys(&[signed, unsigned], &[key]);
    inside(&lab, || {
        let server = Server::start(Some(bundle.clone()), &[], listen()).unwrap();
        let mut part = Part::new(&scratch, host);
        let options = InstallOptions::default();
        part.run(&server, RouteChoice::Auto, &names(&["alpha"]), &options).unwrap();
        assert_eq!(host.sh(keys), "1", "dnf took the vendor's key to check with: gpgcheck was on");
        host.sh("rpm -e alpha");
        // One that nobody signed makes the check impossible for all, which is said.
        part.run(&server, RouteChoice::Auto, &names(&["beta"]), &options).unwrap();
        let said = part
            .notes
            .iter()
            .any(|note| note.contains("1 of 2 packages cannot be") && note.contains("beta-1-1.noarch"));
        assert!(said, "{:?}", part.notes);
    });
    host.sh("rpm -q alpha beta");
}

/// A transaction that is held asks for the packages' keys only when it is told to go on.
#[test]
fn repo_a_held_transaction_checks_signatures_too() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let scratch = Scratch::new();
    let (vendor, other) = (make_key(&scratch, "vendor"), make_key(&scratch, "other"));
    let (alpha, beta) = (scratch.rpm("alpha", "1", "", 1000), scratch.rpm("beta", "1", "", 1000));
    sign(&scratch, "vendor", &alpha);
    sign(&scratch, "other", &beta);
    let host = lab.host(0);
    let bundle = scratch.bundle_with_keys(&[alpha, beta], &[vendor, other]);
    inside(&lab, || {
        let server = Server::start(Some(bundle.clone()), &[], listen()).unwrap();
        let mut part = Part::new(&scratch, host);
        let options = InstallOptions { hold: true, ..InstallOptions::default() };
        let wanted = names(&["alpha", "beta"]);
        let mut repo = part.open(&server, RouteChoice::Auto, &wanted).unwrap();
        repo.trial(&part.host, &wanted, &options).unwrap();
        host.sh("! rpm -q gpg-pubkey && pgrep -x dnf");
        part.install(&mut repo, &wanted, &options).unwrap();
        repo.close(&part.host).unwrap();
        assert_eq!(host.sh("rpm -q gpg-pubkey | grep -c '^gpg-pubkey-'"), "2", "dnf took both keys");
        assert_eq!(host.sh("grep -c Installed /var/log/dnf.rpm.log"), "2", "once each");
    });
    host.sh("rpm -q alpha beta");
}

/// What rpm would refuse in its transaction is refused before.
#[test]
fn repo_a_host_whose_rpm_wants_signatures_is_known_in_the_trial() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let scratch = Scratch::new();
    let key = make_key(&scratch, "vendor");
    let (signed, unsigned) = (scratch.rpm("alpha", "1", "", 10), scratch.rpm("beta", "1", "", 10));
    sign(&scratch, "vendor", &signed);
    let host = lab.host(0);
    host.sh("echo '%_pkgverify_level all' >>/etc/rpm/macros");
    let bundle = scratch.bundle_with_keys(&[signed, unsigned], &[key]);
    inside(&lab, || {
        let server = Server::start(Some(bundle.clone()), &[], listen()).unwrap();
        let mut part = Part::new(&scratch, host);
        let options = InstallOptions { hold: true, ..InstallOptions::default() };
        let both = names(&["alpha", "beta"]);
        let mut repo = part.open(&server, RouteChoice::Auto, &both).unwrap();
        let problems = repo.trial(&part.host, &both, &options).unwrap().problems;
        let [problem] = problems.as_slice() else { panic!("{problems:?}") };
        assert!(problem.contains("beta-1-1.noarch (not signed)") && problem.contains("%_pkgverify_level"), "{problem}");
        assert!(sunshine_installer::packages::way_out_of(problem).unwrap().contains("rpmsign --addsign"));
        repo.close(&part.host).unwrap();
        part.run(&server, RouteChoice::Auto, &names(&["alpha"]), &options).unwrap();
    });
    host.sh("rpm -q alpha && ! rpm -q beta");
}
