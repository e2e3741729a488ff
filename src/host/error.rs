//! Why a host did not do what it was asked: which host, what was tried, why, and what to do.

use std::time::Duration;

use super::id::HostId;

/// An error of one host. Its text never holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    #[error("{host}: cannot connect: {why}")]
    Unreachable { host: HostId, why: String },
    #[error("{host}: sshd dropped the connection {tries} times before login: {why}")]
    Dropped { host: HostId, tries: u32, why: String },
    #[error("{host}: login as {user} refused ({tried})")]
    Auth { host: HostId, user: String, tried: String },
    #[error("{host}: the private key {path} cannot be used: {why}")]
    Key { host: HostId, path: String, why: String },
    #[error("{host}: its host key {fingerprint} is not the one recorded in {known_hosts}")]
    HostKeyChanged { host: HostId, fingerprint: String, known_hosts: String },
    #[error("{host}: its host key {fingerprint} is not known, and --host-key strict accepts no new one")]
    HostKeyUnknown { host: HostId, fingerprint: String },
    #[error(
        "{host}: its host key {fingerprint} is not recorded, and a password that was kept for it is sent only to the sshd \
         that has the recorded key"
    )]
    KeptLogin { host: HostId, fingerprint: String },
    #[error("{host}: {path}: {why}")]
    KnownHosts { host: HostId, path: String, why: String },
    #[error("{host}: {user} cannot become root with sudo: {why}")]
    Sudo { host: HostId, user: String, why: String },
    #[error("{host}: no answer within {} s to: {command}", .after.as_secs())]
    Timeout { host: HostId, command: String, after: Duration },
    #[error("{host}: {user} is not let in yet, after {} s of waiting: {text}", .after.as_secs())]
    Booting { host: HostId, user: String, text: String, after: Duration },
    #[error("{host}: commands are not run for {user}: its login shell ended with exit status {status}{}", indented(.said))]
    NotRun { host: HostId, user: String, status: i32, said: String },
    #[error("{host}: {command}: given up after {} MiB of output, {} MiB are allowed", mib(.came), mib(.most))]
    TooMuch { host: HostId, command: String, came: usize, most: usize },
    #[error("{host}: the connection was lost during: {command} ({why})")]
    Lost { host: HostId, command: String, why: String },
    #[error("{host}: {command}: exit status {status}{}", indented(.stderr))]
    Failed { host: HostId, command: String, status: i32, stderr: String },
    #[error("{host}: {path} arrived damaged: sha256 differs")]
    Damaged { host: HostId, path: String },
    #[error("{host}: forwarding a port is not possible: {why}")]
    Forward { host: HostId, why: String },
    #[error("{host}: reading {what}: {why}")]
    Local { host: HostId, what: String, why: String },
    #[error("{host}: the work on it ended unexpectedly")]
    Ended { host: HostId },
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("\n    {line}")).collect()
}

fn expired(user: &str) -> String {
    format!("its password has expired: log in as {user} by hand, set a new one, and run again with that")
}

/// The words of sshd and PAM.
fn is_expired(said: &str) -> bool {
    ["password has expired", "Password change required", "change your password"]
        .iter()
        .any(|words| said.contains(words))
}

fn mib(bytes: &usize) -> usize {
    bytes.div_ceil(1 << 20)
}

impl HostError {
    /// The host was not there, or went away: nothing is known to be wrong with it.
    pub fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Dropped { .. }
                | Self::Booting { .. }
                | Self::Timeout { .. }
                | Self::Lost { .. }
        )
    }

    /// The host is there, but does not let us in or does not let us work.
    pub fn is_auth(&self) -> bool {
        matches!(
            self,
            Self::Auth { .. }
                | Self::Key { .. }
                | Self::Sudo { .. }
                | Self::NotRun { .. }
                | Self::HostKeyChanged { .. }
                | Self::HostKeyUnknown { .. }
                | Self::KeptLogin { .. }
        )
    }

    /// What the operator can do.
    pub fn help(&self) -> Option<String> {
        let text = match self {
            Self::Unreachable { .. } => {
                "is the host up, are address and port right, is sshd running, does a firewall let it through?".into()
            }
            Self::Auth { tried, .. } if tried.contains("another proof is wanted") => {
                "its sshd wants several proofs (AuthenticationMethods in sshd_config): give both the key and the password".into()
            }
            Self::Auth { user, tried, .. } if tried.contains("has expired") || tried.contains("new password") => {
                expired(user)
            }
            Self::Dropped { .. } => "raise MaxStartups in its sshd_config, or lower --forks".into(),
            Self::Auth { tried, .. } if tried.starts_with("tried: key") => {
                "is the key in the user's authorized_keys, and does sshd allow this login (PermitRootLogin, AllowUsers)? \
                 A host in FIPS mode takes no ed25519 key: use an RSA or ECDSA one"
                    .into()
            }
            Self::Auth { .. } => {
                "check user and password or key; does sshd allow this login (PermitRootLogin, PasswordAuthentication)?"
                    .into()
            }
            Self::Key { .. } => {
                "an OpenSSH or PEM private key is wanted; its passphrase comes by --ssh-key-passphrase-file".into()
            }
            Self::HostKeyChanged { host, known_hosts, .. } => {
                format!(
                    "if the host was installed anew, delete the line of {host} from {known_hosts}; if not, somebody may stand between"
                )
            }
            Self::HostKeyUnknown { .. } => {
                "connect once with --host-key accept-new, or put its key into the file".into()
            }
            Self::KeptLogin { host, .. } => {
                format!("if this is the key of {host}, give its password with this request: that records the key")
            }
            Self::Sudo { .. } => "give the sudo password with --ssh-sudo-pw-file, or allow the user sudo".into(),
            Self::Booting { .. } => "wait until the host is up, then run the same command again".into(),
            Self::NotRun { user, said, .. } if is_expired(said) => expired(user),
            Self::NotRun { user, .. } => {
                format!(
                    "{user} needs a login shell that runs commands: see the last field of its line in /etc/passwd, and ForceCommand in sshd_config"
                )
            }
            Self::TooMuch { .. } => {
                "have it print less, or into a file there; a host that does this by itself is not in order".into()
            }
            Self::Timeout { .. } | Self::Lost { .. } => {
                "when the host is back, run the same command again: it continues from here".into()
            }
            Self::Failed { stderr, .. } if stderr.contains("No space left") => "free space on that file system".into(),
            Self::Damaged { .. } => "run again; if it happens again, test that host's memory, disk and network".into(),
            Self::Ended { .. } => {
                "this is a defect of this program: report it with the output of `support-bundle`".into()
            }
            _ => return None,
        };
        Some(text)
    }
}
