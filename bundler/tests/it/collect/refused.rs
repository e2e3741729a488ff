//! What cannot be collected is named, with the way out.

use std::process::Command;

use assert_cmd::cargo::cargo_bin;
use camino::Utf8Path;

use super::site::{Site, image_files, index, rpm_folder};
use crate::setup::{DEPLOYER, Scratch};

#[track_caller]
fn refused(done: (i32, String, String), code: i32, said: &[&str]) {
    let (found, stdout, stderr) = done;
    assert_eq!(found, code, "{stdout}{stderr}");
    for text in said {
        assert!(stderr.contains(text), "{text}: {stderr}");
    }
}

#[test]
fn a_wrong_request_fetches_nothing() {
    let site = Site::new(&["el9"]);
    let out = site.scratch.path("x.bin");
    let out = out.as_str();
    let not_ours = site.scratch.file("theirs/file", b"").parent().unwrap().to_string();
    let letter = site.scratch.file("letter", b"Dear bundler").into_string();
    let gone = format!("x={}", site.scratch.path("gone.yaml"));
    for (more, said) in [
        (vec!["--kubernetes", "1.36"], "such as 1.36.3"),
        (vec!["--distro", "el7"], "it is no distribution that is known: el8, el9"),
        (vec!["--distro", "el9", "alma9"], "el9 and alma9 are for the same hosts"),
        (vec!["--distro", "el9", "openeuler22.03"], "hosts of openeuler22.03 have no PLATFORM_ID"),
        (vec!["--package", "kube*"], "it is no package's name"),
        (vec!["--mirror", "https://a=b"], "\"b\" is no URL"),
        (vec!["--proxy", "proxy.example"], "it must be a URL"),
        (vec!["--repo", &letter], "letter is no repository file"),
        (vec!["--repo", "el8=/dev/null"], "is for a distribution that --distro does not name"),
        (vec!["--lock", &letter], "the lock"),
        (vec!["--lock", "/nowhere/x.lock"], "/nowhere/x.lock cannot be written"),
        (vec!["--work", &not_ours], "is no work folder"),
        (vec!["--manifest", &gone], "cannot read"),
    ] {
        refused(site.collect(&[&more[..], &["-o", out]].concat()), 2, &[said]);
    }
    assert_eq!(site.web.asked(), [""; 0]);
}

#[test]
fn what_no_repository_has_is_named() {
    let site = Site::new(&["el9"]);
    let out = site.scratch.path("x.bin");
    let out = out.as_str();
    let done = site.collect(&["--package", "nosuch", "tcpdmp-4", "-o", out]);
    refused(
        done,
        2,
        &["error: el9: no repository has nosuch, tcpdmp-4 (repositories: el9-all)", "help: correct the name"],
    );
    let done = site.collect(&["--kubernetes", "1.99.0", "-o", out]);
    refused(done, 2, &["no repository has kubeadm-1.99.0, kubelet-1.99.0, kubectl-1.99.0"]);
    // What a bundle can do without is a warning, before the rest goes wrong here.
    let folder = rpm_folder(&site.scratch, "el9");
    for rpm in ["haproxy-2.6.12-1.el9.x86_64.rpm", "base-system-1-1.noarch.rpm"] {
        fs_err::remove_file(folder.join(rpm)).unwrap();
    }
    index(&folder);
    let absent = "warning: el9: no repository has haproxy (it balances the API servers)";
    // dnf does not ask twice within a second: a folder of its own.
    let other = site.scratch.path("y.bin");
    refused(
        site.collect(&["-o", other.as_str()]),
        2,
        &[absent, "the packages cannot be resolved", "nothing provides /bin/sh"],
    );
}

#[test]
fn who_does_not_answer_is_named() {
    let site = Site::new(&["el9"]);
    let out = site.scratch.path("x.bin");
    let out = out.as_str();
    // Nobody listens on that port.
    let repo = site.scratch.file("dead.repo", b"[dead]\nname=dead\nbaseurl=http://127.0.0.1:9/\n").into_string();
    let done = site.collect(&["--repo", &repo, "-o", out]);
    refused(done, 1, &["error: el9: a repository cannot be used", "'dead'", "http://127.0.0.1:9/", "--proxy URL"]);
    let done = site.collect(&["--mirror", "registry.k8s.io=127.0.0.1:9", "-o", out]);
    refused(
        done,
        1,
        &["error: these images could not be pulled", "registry.k8s.io/pause:3.10.2 (from 127.0.0.1:9/pause:3.10.2)"],
    );
    let mut command = Command::new(cargo_bin!("sunshine-bundler"));
    command.args(["collect", "--deployer", DEPLOYER, "--kubernetes", "1.36.3", "--distro", "el9", "-o", out]);
    let output = command.env("PATH", "/nowhere").output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    refused((output.status.code().unwrap(), String::new(), stderr), 1, &["dnf", "apt-get install dnf"]);
}

/// Makes a key; its public half lies in the web server's folder.
fn make_key(scratch: &Scratch, name: &str) {
    let home = scratch.path(&format!("gpg-{name}"));
    fs_err::create_dir_all(&home).unwrap();
    let gpg = |arguments: &[&str]| {
        let mut gpg = Command::new("gpg");
        gpg.args(["--batch", "--homedir", home.as_str(), "--pinentry-mode", "loopback", "--passphrase", ""]);
        let output = gpg.args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    gpg(&["--quick-gen-key", name, "rsa2048", "sign", "never"]);
    scratch.file(&format!("web/{name}.asc"), &gpg(&["--armor", "--export", name]));
}

fn sign(scratch: &Scratch, name: &str, rpm: &Utf8Path) {
    let path = format!("_gpg_path {}", scratch.path(&format!("gpg-{name}")));
    let mut sign = Command::new("rpmsign");
    sign.args(["--define", "__gpg /usr/bin/gpg", "--define", &format!("_gpg_name {name}"), "--define", &path]);
    let output = sign.args(["--addsign", rpm.as_str()]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn packages_are_signed_by_their_repository_s_key() {
    let site = Site::new(&["el9"]);
    let folder = rpm_folder(&site.scratch, "el9");
    make_key(&site.scratch, "vendor");
    make_key(&site.scratch, "other");
    for rpm in fs_err::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
        let rpm = Utf8Path::from_path(&rpm).unwrap();
        if rpm.extension() == Some("rpm") && !rpm.as_str().contains("/socat-") {
            sign(&site.scratch, "vendor", rpm);
        }
    }
    index(&folder);
    let out = site.scratch.path("x.bin");
    let images = image_files();
    let collect = |gpgkey: &str| {
        let repo = site.repo("el9", &format!("gpgkey={}/{gpgkey}", site.web.url()));
        let mut more = vec!["--repo", &repo, "-o", out.as_str(), "--image"];
        more.extend(images.iter().map(String::as_str));
        site.collect(&more)
    };
    let said = ["error: el9: Package socat-1.7.4.4-1.el9.x86_64.rpm is not signed (repository el9-all)", "(gpgkey)"];
    refused(collect("vendor.asc"), 2, &said);
    sign(&site.scratch, "vendor", &folder.join("socat-1.7.4.4-1.el9.x86_64.rpm"));
    index(&folder);
    // A key that an earlier run had is no key of this one.
    let said = "error: el9: the signature of base-system-1-1.noarch (repository el9-all) cannot be checked";
    refused(collect("other.asc"), 2, &[said, "other.asc"]);
    refused(collect("gone.asc"), 2, &[said, "gone.asc", "404"]);
    let (code, stdout, stderr) = collect("vendor.asc");
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(!stderr.contains("gpgcheck"), "{stderr}");
}
