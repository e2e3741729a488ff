//! Who is let in, and how those who are not are told.

use std::process;

use camino::Utf8PathBuf;
use sunshine_installer::host::{Auth, Command, Connect, HostError, HostKeyPolicy, Probe, Secret, Told};

use super::setup::{connect, inside, login, refused, settings, target, whoami};
use crate::lab::{Lab, Output};

#[test]
fn host_three_kinds_of_login_all_become_root() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::builder().hosts(3).distinct().up();
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(&folder);
    inside(&lab, || {
        for host in lab.hosts() {
            let session = connect(&target(host), &settings);
            assert_eq!(session.run_ok(&whoami()).unwrap().text(), "root");
            assert_eq!(session.run_ok(&whoami().as_user()).unwrap().text(), host.login.user);
            // What follows sudo's password is the command's own input, whole.
            let echoed = session.run_ok(&Command::new("cat").stdin("one\ntwo\n\0three")).unwrap();
            assert_eq!(echoed.stdout, b"one\ntwo\n\0three");
            let failed = session.run_ok(&Command::script("echo no >&2; exit 7")).unwrap_err().to_string();
            assert!(
                failed.contains(&host.login.address) && failed.contains("status 7") && failed.contains("no"),
                "{failed}"
            );
            let facts = session.facts(&[Probe { units: &["etcd.service"], folders: &["/etc"], files: &[] }]).unwrap();
            assert_eq!(facts.hostname, host.sh("hostname"));
            assert_eq!(facts.machine_id, host.sh("cat /etc/machine-id"));
            assert!(facts.clock_offset.abs() < 0.5, "{}", facts.clock_offset);
            assert!(facts.listening.iter().any(|l| l.port == host.login.port && l.process.as_deref() == Some("sshd")));
            assert!(facts.units.contains_key("etcd") && facts.systemd, "{:?}", facts.units);
            assert!(facts.disk_free["/etc"] > 0, "{:?}", facts.disk_free);
            assert!(facts.addresses.iter().any(|a| a.to_string() == host.login.address));
        }
        let mut wrong = target(lab.host(2));
        wrong.auth.sudo_password = Some(Secret::new("not-this"));
        let error = refused(&wrong, &settings);
        assert!(matches!(error, HostError::Sudo { .. }) && error.is_auth(), "{error}");
        assert!(!format!("{error} {error:?}").contains("not-this"));
    });
}

#[test]
fn host_refusals_say_who_and_why_and_no_password() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(&folder);
    let host = lab.host(0);
    inside(&lab, || {
        let error = refused(&login(host, "root", "wr0ng-secret"), &settings);
        assert!(matches!(error, HostError::Auth { .. }) && error.is_auth() && !error.is_unreachable(), "{error}");
        assert!(!format!("{error:?}").contains("wr0ng-secret") && error.help().is_some());

        // sshd hangs up after one refusal: still a refusal, said once, not a reason to knock ten times.
        host.sshd(&["MaxAuthTries 1"]);
        let before = host.sh("journalctl -t sshd -o cat | grep -c '^Failed password' || :");
        let error = refused(&login(host, "root", "wr0ng-secret"), &settings);
        assert!(matches!(error, HostError::Auth { .. }), "{error}");
        let after = host.sh("journalctl -t sshd -o cat | grep -c '^Failed password' || :");
        assert!(after.parse::<u32>().unwrap() <= before.parse::<u32>().unwrap() + 2, "{before} {after}");
        host.sshd(&[]);

        // Only keyboard-interactive is offered: the same password answers it.
        host.sshd(&["PasswordAuthentication no", "KbdInteractiveAuthentication yes", "UsePAM yes"]);
        assert_eq!(connect(&login(host, "root", "111111"), &settings).run_ok(&whoami()).unwrap().text(), "root");
        host.sshd(&[]);

        // Another key than the recorded one.
        connect(&login(host, "root", "111111"), &settings);
        host.rekey();
        let error = refused(&login(host, "root", "111111"), &settings);
        assert!(matches!(error, HostError::HostKeyChanged { .. }), "{error}");
        let mut strict = settings.clone();
        strict.host_key = HostKeyPolicy::Strict;
        strict.known_hosts = settings.known_hosts.with_file_name("empty");
        let error = refused(&login(host, "root", "111111"), &strict);
        assert!(matches!(error, HostError::HostKeyUnknown { .. }), "{error}");
    });
}

#[test]
fn host_any_password_logs_in_and_becomes_root() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(&folder);
    let host = lab.host(0);
    let ascii: String = (' '..='~').collect();
    inside(&lab, || {
        for password in [ascii.as_str(), "пароль-密码-ü€", " begins and ends with a space "] {
            let hostile = password.replace('\'', r"'\''");
            host.sh(&format!("printf 'sudouser:%s\\n' '{hostile}' | chpasswd"));
            let session = connect(&login(host, "sudouser", password), &settings);
            assert_eq!(session.run_ok(&whoami()).unwrap().text(), "root", "{password}");
            // Neither arguments nor environment of any process hold it.
            let seen = session
                .run(
                    &Command::script("cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null; :")
                        .timeout(std::time::Duration::from_secs(20)),
                )
                .unwrap();
            assert!(!seen.stdout.windows(password.len()).any(|w| w == password.as_bytes()), "{password}");
        }
    });
}

#[test]
fn host_keys_of_every_kind_open() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(&folder);
    let host = lab.host(0);
    let key_file = |name: &str| Utf8PathBuf::from_path_buf(folder.path().join(name)).unwrap();
    let kinds: [(&str, &[&str]); 6] = [
        ("rsa", &["-t", "rsa", "-b", "2048"]),
        ("rsa-pem", &["-t", "rsa", "-b", "2048", "-m", "PEM"]),
        ("ecdsa", &["-t", "ecdsa", "-b", "256"]),
        ("ecdsa-pem", &["-t", "ecdsa", "-b", "384", "-m", "PEM"]),
        ("ed25519", &["-t", "ed25519"]),
        ("rsa-pkcs8", &["-t", "rsa", "-b", "2048", "-m", "PKCS8"]),
    ];
    host.sh("mkdir -p -m 700 /root/.ssh");
    let with_key = |key: Utf8PathBuf, passphrase: Option<&str>| {
        let mut target = login(host, "root", "x");
        target.auth = Auth { key: Some(key), passphrase: passphrase.map(Secret::new), ..Auth::default() };
        target
    };
    inside(&lab, || {
        for (name, options) in kinds {
            for phrase in ["", "a pass phrase"] {
                let file = key_file(&format!("{name}{}", phrase.len()));
                Output::of(
                    process::Command::new("ssh-keygen").args(["-q", "-N", phrase, "-f", file.as_str()]).args(options),
                )
                .expect_ok();
                let public = std::fs::read_to_string(format!("{file}.pub")).unwrap();
                host.sh(&format!("echo '{}' >/root/.ssh/authorized_keys", public.trim()));
                let session = connect(&with_key(file.clone(), (!phrase.is_empty()).then_some(phrase)), &settings);
                assert_eq!(session.run_ok(&whoami()).unwrap().text(), "root", "{name}");
                if !phrase.is_empty() {
                    for wrong in [None, Some("wrong")] {
                        let error = refused(&with_key(file.clone(), wrong), &settings);
                        assert!(matches!(error, HostError::Key { .. }), "{name} {wrong:?}: {error}");
                    }
                }
            }
        }
        let error = refused(&with_key(key_file("nowhere"), None), &settings);
        assert!(matches!(error, HostError::Key { .. }), "{error}");
    });
}

/// What RHEL 9's sshd has in FIPS mode (crypto-policies, `FIPS.pol`).
const FIPS: [&str; 5] = [
    "Ciphers aes256-gcm@openssh.com,aes256-ctr,aes128-gcm@openssh.com,aes128-ctr",
    "MACs hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,hmac-sha2-256,hmac-sha2-512",
    "KexAlgorithms ecdh-sha2-nistp256,ecdh-sha2-nistp384,ecdh-sha2-nistp521,diffie-hellman-group14-sha256",
    "HostKeyAlgorithms ecdsa-sha2-nistp256,rsa-sha2-512,rsa-sha2-256",
    "PubkeyAcceptedAlgorithms ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,rsa-sha2-512,rsa-sha2-256",
];

#[test]
fn host_in_fips_mode_is_logged_in_to_with_what_its_sshd_allows() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(1);
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(&folder);
    let host = lab.host(0);
    host.sh("mkdir -p -m 700 /root/.ssh");
    inside(&lab, || {
        host.sshd(&FIPS);
        assert_eq!(connect(&login(host, "root", "111111"), &settings).run_ok(&whoami()).unwrap().text(), "root");
        for (kind, allowed) in [("rsa", true), ("ecdsa", true), ("ed25519", false)] {
            let file = folder.path().join(kind);
            let mut keygen = process::Command::new("ssh-keygen");
            Output::of(keygen.args(["-q", "-N", "", "-t", kind, "-f"]).arg(&file)).expect_ok();
            let public = std::fs::read_to_string(file.with_extension("pub")).unwrap();
            host.sh(&format!("echo '{}' >/root/.ssh/authorized_keys", public.trim()));
            let mut target = login(host, "root", "x");
            target.auth = Auth { key: Some(Utf8PathBuf::from_path_buf(file).unwrap()), ..Auth::default() };
            if allowed {
                assert_eq!(connect(&target, &settings).run_ok(&whoami()).unwrap().text(), "root", "{kind}");
            } else {
                let error = refused(&target, &settings);
                assert!(matches!(error, HostError::Auth { .. }), "{error}");
                assert!(error.help().unwrap().contains("ed25519"), "{:?}", error.help());
            }
        }
    });
}

#[test]
fn host_logins_that_are_odd_work_or_say_what_to_do() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::builder().logins("bash").up();
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(&folder);
    let host = lab.host(0);
    let key = Utf8PathBuf::from_path_buf(folder.path().join("key")).unwrap();
    Output::of(process::Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", key.as_str()]))
        .expect_ok();
    let public = std::fs::read_to_string(format!("{key}.pub")).unwrap();
    host.sh(&format!("mkdir -p -m 700 /root/.ssh; echo '{}' >/root/.ssh/authorized_keys", public.trim()));
    host.sh("echo 'sudouser:a-pass-word' | chpasswd");
    let both = |password: &str| {
        let mut target = login(host, "root", password);
        target.auth.key = Some(key.clone());
        target
    };
    inside(&lab, || {
        for order in ["publickey,password", "password,publickey"] {
            host.sshd(&[&format!("AuthenticationMethods {order}")]);
            assert_eq!(connect(&both("111111"), &settings).run_ok(&whoami()).unwrap().text(), "root", "{order}");
        }
        let error = refused(&login(host, "root", "111111"), &settings);
        assert!(error.help().is_some_and(|help| help.contains("AuthenticationMethods")), "{error}");
        host.sshd(&[]);

        host.sh("echo 'Defaults requiretty' >/etc/sudoers.d/terminal");
        let session = connect(&login(host, "sudouser", "a-pass-word"), &settings);
        let echoed = session.run_ok(&Command::new("cat").stdin("one\r\n\0three")).unwrap();
        assert_eq!((echoed.stdout.as_slice(), echoed.stderr.len()), (&b"one\r\n\0three"[..], 0));
        assert_eq!(session.run(&Command::script("exit 7")).unwrap().status, 7);
        host.sh("rm /etc/sudoers.d/terminal");

        // Start files that print, and shells with a syntax of their own.
        host.sh("echo 'echo Welcome; echo odd >&2' >>~sudouser/.bashrc");
        for shell in ["bash", "dash", "tcsh", "fish"] {
            host.sh(&format!("usermod -s $(command -v {shell}) sudouser"));
            let session = connect(&login(host, "sudouser", "a-pass-word"), &settings);
            let said = session.run_ok(&Command::script("printf '%s|' \"$@\"").args(["it's", "a\\b", "!x", "1\n2"]));
            assert_eq!(said.unwrap().text(), "it's|a\\b|!x|1\n2|", "{shell}");
            assert_eq!(session.facts(&[]).unwrap().hostname, host.sh("hostname"), "{shell}");
        }
        host.sh("usermod -s /bin/bash sudouser");

        // As systemd does it while a host boots (systemd-user-sessions.service(8)).
        host.sh("echo 'System is booting up. See pam_nologin(8).' >/run/nologin");
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let said: String = told.recv().expect("it waits, and says why");
                assert!(said.contains("System is booting up"), "{said}");
                host.sh("rm /run/nologin");
            });
            let told =
                Some(std::sync::Arc::new(move |_: &str, text: &str| tell.send(text.to_owned()).unwrap()) as Told);
            let waiting = Connect { told, ..settings.clone() };
            let session = connect(&login(host, "sudouser", "a-pass-word"), &waiting);
            assert_eq!(session.run_ok(&whoami()).unwrap().text(), "root");
        });

        host.sh("chage -d 0 sudouser");
        let error = refused(&login(host, "sudouser", "a-pass-word"), &settings);
        assert!(error.is_auth() && error.to_string().contains("expired"), "{error}");
        assert!(error.help().is_some_and(|help| help.contains("set a new one")), "{error}");
    });
}
