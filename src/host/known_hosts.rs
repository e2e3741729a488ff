//! Host keys: the first one seen is recorded, a different one later is refused. The file has OpenSSH's format
//! (`sshd(8)`, "SSH_KNOWN_HOSTS FILE FORMAT"), unhashed, mode 0600.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use camino::Utf8Path;
use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest, Sha256};

use super::error::HostError;
use super::session::Connect;
use super::target::Target;

/// What to do with a host whose key is not recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HostKeyPolicy {
    /// Accept and record it.
    #[default]
    AcceptNew,
    /// Refuse it.
    Strict,
}

/// Checks the key that `target` showed against those known. When it is the first it is recorded, unless by a dry run.
pub(super) fn check(connect: &Connect, target: &Target, key: &[u8]) -> Result<(), HostError> {
    let path = &connect.known_hosts;
    let host = target.id();
    let io =
        |e: std::io::Error| HostError::KnownHosts { host: host.clone(), path: path.to_string(), why: e.to_string() };
    let mut file = if connect.look_only { None } else { Some(open_locked(path).map_err(io)?) };
    let mut text = String::new();
    match &mut file {
        Some(file) => drop(file.read_to_string(&mut text).map_err(io)?),
        // What may not be read is as good as not there: the run itself will say so.
        None => text = std::fs::read_to_string(path).unwrap_or_default(),
    }
    let name = host_token(target);
    let encoded = STANDARD.encode(key);
    // sshd(8): a key marked @revoked is refused for every host that the line names.
    let revoked =
        |line: &str| line.strip_prefix("@revoked").and_then(|l| entry(l, &name)).is_some_and(|e| e.1 == encoded);
    if text.lines().any(revoked) {
        let known_hosts = path.to_string();
        return Err(HostError::HostKeyChanged { host: host.clone(), fingerprint: fingerprint(key), known_hosts });
    }
    let mut known = text.lines().filter_map(|line| entry(line, &name)).peekable();
    if known.peek().is_some() {
        return if known.any(|(_, k)| k == encoded) {
            Ok(())
        } else {
            let known_hosts = path.to_string();
            Err(HostError::HostKeyChanged { host: host.clone(), fingerprint: fingerprint(key), known_hosts })
        };
    }
    if target.auth.kept {
        return Err(HostError::KeptLogin { host: host.clone(), fingerprint: fingerprint(key) });
    }
    if connect.host_key == HostKeyPolicy::Strict {
        return Err(HostError::HostKeyUnknown { host: host.clone(), fingerprint: fingerprint(key) });
    }
    let Some(file) = &mut file else { return Ok(()) };
    // A run that was killed may have left a line without its end.
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    file.write_all(format!("{end}{name} {} {encoded}\n", key_type(key)).as_bytes()).map_err(io)
}

/// The types of the keys that are recorded for `target`; none when the file cannot be read, which [`check`] will say.
pub(super) fn types(path: &Utf8Path, target: &Target) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let name = host_token(target);
    text.lines().filter_map(|line| entry(line, &name)).map(|(kind, _)| kind.to_owned()).collect()
}

// One lock for reading and adding: two runs that meet the same new host must not both record it.
fn open_locked(path: &Utf8Path) -> std::io::Result<Flock<File>> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let file = OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(path)?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno.into())
}

fn host_token(target: &Target) -> String {
    if target.port == 22 { target.address.to_string() } else { format!("[{}]:{}", target.address, target.port) }
}

/// Type and key of a line for `name`.
fn entry<'a>(line: &'a str, name: &str) -> Option<(&'a str, &'a str)> {
    let mut words = line.split_whitespace();
    words.next()?.split(',').find(|n| *n == name)?;
    Some((words.next()?, words.next()?))
}

/// The algorithm's name, with which every public key begins (RFC 4253, 6.6): a length of 4 bytes, then the name.
fn key_type(key: &[u8]) -> &str {
    let name = key.get(..4).and_then(|l| <[u8; 4]>::try_from(l).ok()).map(u32::from_be_bytes);
    let end = name.and_then(|n| usize::try_from(n).ok()).and_then(|n| n.checked_add(4));
    end.and_then(|end| key.get(4..end)).and_then(|n| std::str::from_utf8(n).ok()).unwrap_or("unknown")
}

/// As `ssh-keygen -l` prints it.
fn fingerprint(key: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(key)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::host::TargetDefaults;

    fn key(name: &str, rest: &[u8]) -> Vec<u8> {
        let mut key = u32::try_from(name.len()).unwrap().to_be_bytes().to_vec();
        key.extend(name.as_bytes());
        key.extend(rest);
        key
    }

    fn connect(path: &Utf8Path, host_key: HostKeyPolicy) -> Connect {
        Connect { known_hosts: path.to_owned(), host_key, ..Connect::default() }
    }

    #[test]
    fn first_seen_is_recorded_and_another_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(dir.path()).unwrap().join("sub/known_hosts");
        let check = |target: &Target, key: &[u8], policy| check(&connect(&path, policy), target, key);
        let target = Target::parse("10.0.0.1:2222", &TargetDefaults::default()).unwrap();
        let (one, two) = (key("ssh-ed25519", b"one"), key("ssh-ed25519", b"two"));
        assert!(matches!(check(&target, &one, HostKeyPolicy::Strict), Err(HostError::HostKeyUnknown { .. })));
        check(&target, &one, HostKeyPolicy::AcceptNew).unwrap();
        check(&target, &one, HostKeyPolicy::Strict).unwrap();
        let error = check(&target, &two, HostKeyPolicy::AcceptNew).unwrap_err();
        assert!(matches!(error, HostError::HostKeyChanged { .. }), "{error}");
        assert!(error.to_string().starts_with("10.0.0.1:2222: "), "{error}");
        let other = Target::parse("10.0.0.1", &TargetDefaults::default()).unwrap();
        assert_eq!(types(&path, &other), [""; 0], "another sshd of that address has keys of its own");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("[10.0.0.1]:2222 ssh-ed25519 "), "{text}");
        assert_eq!(text.lines().count(), 1);
        assert_eq!(types(&path, &target), ["ssh-ed25519"]);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_kept_password_goes_only_behind_a_recorded_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(dir.path()).unwrap().join("known_hosts");
        let mut target = Target::parse("root:geheim@10.0.0.1", &TargetDefaults::default()).unwrap();
        target.auth.kept = true;
        let (one, two) = (key("ssh-ed25519", b"one"), key("ssh-ed25519", b"two"));
        let recording = connect(&path, HostKeyPolicy::AcceptNew);
        for connect in [&recording, &Connect { look_only: true, ..recording.clone() }] {
            let error = check(connect, &target, &one).unwrap_err();
            assert!(matches!(error, HostError::KeptLogin { .. }), "{error}");
        }
        let given = Target { auth: crate::host::Auth { kept: false, ..target.auth.clone() }, ..target.clone() };
        check(&recording, &given, &one).unwrap();
        check(&recording, &target, &one).unwrap();
        assert!(matches!(check(&recording, &target, &two), Err(HostError::HostKeyChanged { .. })));
    }

    #[test]
    fn a_dry_run_records_no_key_and_still_refuses_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(dir.path()).unwrap().join("known_hosts");
        let target = Target::parse("10.0.0.1", &TargetDefaults::default()).unwrap();
        let (one, two) = (key("ssh-ed25519", b"one"), key("ssh-ed25519", b"two"));
        let recording = connect(&path, HostKeyPolicy::AcceptNew);
        let looking = Connect { look_only: true, ..recording.clone() };
        check(&looking, &target, &one).unwrap();
        assert!(!path.exists());
        check(&recording, &target, &one).unwrap();
        assert!(check(&looking, &target, &two).is_err());
    }

    #[test]
    fn revoked_keys_are_refused_and_torn_lines_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(dir.path()).unwrap().join("known_hosts");
        let check = |target: &Target, key: &[u8], policy| check(&connect(&path, policy), target, key);
        let target = Target::parse("10.0.0.1", &TargetDefaults::default()).unwrap();
        let (one, two) = (key("ssh-ed25519", b"one"), key("ssh-ed25519", b"two"));
        std::fs::write(&path, format!("@revoked 10.0.0.1 ssh-ed25519 {}\n10.0.0.9 ssh-rs", STANDARD.encode(&one)))
            .unwrap();
        assert!(matches!(check(&target, &one, HostKeyPolicy::AcceptNew), Err(HostError::HostKeyChanged { .. })));
        check(&target, &two, HostKeyPolicy::AcceptNew).unwrap();
        check(&target, &two, HostKeyPolicy::Strict).unwrap();
    }
}
