//! Credentials given once for all hosts, and how a host's text becomes a target. Every secret can come from a file or, on
//! a terminal, from a prompt, so that none needs to be typed as an argument.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;

use crate::flow::FlowError;
use crate::host::{Auth, Secret, Target, TargetDefaults};

use super::ask;

/// Credentials for hosts that name none of their own.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Credentials {
    /// User of hosts that name none [default: root]
    #[arg(long, global = true, value_name = "USER", help_heading = "Login")]
    pub(crate) ssh_user: Option<String>,
    /// Private key (OpenSSH or PEM; RSA, ECDSA, Ed25519)
    #[arg(long, global = true, value_name = "FILE", help_heading = "Login")]
    pub(crate) ssh_key: Option<Utf8PathBuf>,
    /// File whose first line opens the key; without it an encrypted key is asked for on the terminal
    #[arg(long, global = true, value_name = "FILE", help_heading = "Login")]
    pub(crate) ssh_key_passphrase_file: Option<Utf8PathBuf>,
    /// Login password of hosts that name none; `-` asks for it
    #[arg(long, global = true, value_name = "FILE|-", help_heading = "Login")]
    pub(crate) ssh_password_file: Option<Utf8PathBuf>,
    /// sudo's password, for users other than root (better: --ssh-sudo-pw-file)
    #[arg(long, global = true, value_name = "PASSWORD", help_heading = "Login")]
    pub(crate) ssh_sudo_pw: Option<String>,
    /// File with sudo's password in its first line; `-` asks for it
    #[arg(long, global = true, value_name = "FILE|-", help_heading = "Login")]
    pub(crate) ssh_sudo_pw_file: Option<Utf8PathBuf>,
    /// Ask the agent of SSH_AUTH_SOCK for keys too
    #[arg(long, global = true, help_heading = "Login")]
    pub(crate) ssh_agent: bool,
}

impl Credentials {
    /// What hosts fall back on. Files are read and prompts asked here, once.
    pub(crate) fn defaults(&self) -> Result<TargetDefaults, FlowError> {
        let mut defaults = self.read()?;
        unlock(&mut defaults.auth)?;
        Ok(defaults)
    }

    /// As [`Credentials::defaults`], without asking for the passphrase of a key.
    pub(crate) fn read(&self) -> Result<TargetDefaults, FlowError> {
        if let Some(key) = &self.ssh_key
            && !key.is_file()
        {
            return Err(FlowError::request(format!("--ssh-key {key}: no such file")));
        }
        let sudo_password = match (&self.ssh_sudo_pw, &self.ssh_sudo_pw_file) {
            (Some(_), Some(_)) => {
                return Err(FlowError::request("--ssh-sudo-pw and --ssh-sudo-pw-file are both given"));
            }
            (Some(password), None) => Some(Secret::new(password.clone())),
            (None, file) => from_file(file.as_ref(), "--ssh-sudo-pw-file", "sudo's password: ")?,
        };
        Ok(TargetDefaults {
            user: self.ssh_user.clone(),
            port: None,
            auth: Auth {
                kept: false,
                password: from_file(self.ssh_password_file.as_ref(), "--ssh-password-file", "login password: ")?,
                key: self.ssh_key.clone(),
                passphrase: from_file(
                    self.ssh_key_passphrase_file.as_ref(),
                    "--ssh-key-passphrase-file",
                    "the key's passphrase: ",
                )?,
                agent: self.ssh_agent,
                sudo_password,
            },
        })
    }
}

/// Asks for the passphrase of a key that needs one, when none was given.
pub(crate) fn unlock(auth: &mut Auth) -> Result<(), FlowError> {
    let (Some(key), None) = (&auth.key, &auth.passphrase) else { return Ok(()) };
    let text = std::fs::read_to_string(key).map_err(|e| FlowError::request(format!("--ssh-key {key}: {e}")))?;
    if is_locked(&text) {
        auth.passphrase = Some(ask_passphrase(key)?);
    }
    Ok(())
}

fn ask_passphrase(key: &Utf8Path) -> Result<Secret, FlowError> {
    if !ask::is_possible() {
        return Err(FlowError::request_with_help(
            format!("--ssh-key {key}: the key is encrypted, and there is no terminal to ask for its passphrase on"),
            "put the passphrase into a file of mode 0600: --ssh-key-passphrase-file FILE",
        ));
    }
    let typed = ask::secret(&format!("passphrase of {key}: "));
    typed.map(Secret::new).map_err(|e| FlowError::request(format!("--ssh-key {key}: {e}")))
}

/// Whether a private key is encrypted: PEM says so in its header (RFC 7468, RFC 1421); OpenSSH's own format names its
/// cipher first, `none` when there is none (PROTOCOL.key of OpenSSH).
pub(crate) fn is_locked(text: &str) -> bool {
    if text.contains("ENCRYPTED") {
        return true;
    }
    let body: String = text.lines().filter(|l| !l.starts_with("-----")).map(str::trim).collect();
    let Ok(bytes) = STANDARD.decode(body) else { return false };
    let Some(rest) = bytes.strip_prefix(b"openssh-key-v1\0") else { return false };
    rest.get(4..8) != Some(b"none")
}

/// The first line of a file, or what is typed at a prompt for `-`.
pub(crate) fn from_file(file: Option<&Utf8PathBuf>, option: &str, prompt: &str) -> Result<Option<Secret>, FlowError> {
    let Some(path) = file else { return Ok(None) };
    if path == "-" {
        if !ask::is_possible() {
            return Err(FlowError::request(format!("{option} -: there is no terminal to ask on")));
        }
        let typed = ask::secret(prompt);
        return typed.map(|p| Some(Secret::new(p))).map_err(|e| FlowError::request(format!("{option} -: {e}")));
    }
    let text = std::fs::read_to_string(path).map_err(|e| FlowError::request(format!("{option} {path}: {e}")))?;
    match text.lines().next().filter(|line| !line.is_empty()) {
        Some(line) => Ok(Some(Secret::new(line))),
        None => Err(FlowError::request(format!("{option} {path}: its first line is empty"))),
    }
}

/// Reads hosts; every wrong one is named at once, and the same host twice counts once or, with other credentials, is an
/// error.
pub(crate) fn targets(texts: &[String], defaults: &TargetDefaults) -> Result<Vec<Target>, FlowError> {
    let mut targets: Vec<Target> = Vec::new();
    let mut wrong = Vec::new();
    for text in texts.iter().map(|t| t.trim_matches(',')).filter(|t| !t.is_empty()) {
        match Target::parse(text, defaults) {
            Ok(target) => match targets.iter().find(|t| t.same_host(&target)) {
                None => targets.push(target),
                Some(same) if same.same_login(&target) => {}
                Some(_) => wrong.push(format!("{} is given twice with different credentials", target.id())),
            },
            Err(e) => wrong.push(e.to_string()),
        }
    }
    if wrong.is_empty() {
        return Ok(targets);
    }
    let help = "a host is user:password@address[:port], or [user@]address[:port] with --ssh-key";
    Err(FlowError::request_with_help(wrong.join("\n"), help))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key made by ssh-keygen, of this type and with this passphrase.
    fn key(kind: &str, format: &[&str], passphrase: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        let made = std::process::Command::new("ssh-keygen")
            .args(["-q", "-t", kind, "-N", passphrase])
            .args(format)
            .arg("-f")
            .arg(&file)
            .status();
        assert!(made.unwrap().success());
        std::fs::read_to_string(file).unwrap()
    }

    #[test]
    fn keys_with_a_passphrase_are_told_from_those_without() {
        for (kind, format) in [("ed25519", &[][..]), ("ecdsa", &["-m", "PEM"]), ("ecdsa", &["-m", "PKCS8"])] {
            assert!(is_locked(&key(kind, format, "geheim")), "{kind} {format:?}");
            assert!(!is_locked(&key(kind, format, "")), "{kind} {format:?}");
        }
        assert!(!is_locked("no key at all"));
    }

    #[test]
    fn every_wrong_host_is_named_and_no_password_shown() {
        let texts = ["root:geheim@10.8.14.200;reboot", "root:geheim@", "root:a@10.0.0.1", "root:b@10.0.0.1"];
        let error = targets(&texts.map(str::to_owned), &TargetDefaults::default()).unwrap_err().to_string();
        assert_eq!(error.lines().count(), 3, "{error}");
        assert!(error.contains("10.8.14.200***") && error.contains("10.0.0.1 is given twice"), "{error}");
        assert!(!error.contains("geheim"), "{error}");
    }

    #[test]
    fn a_secret_is_the_first_line_of_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = Utf8PathBuf::from_path_buf(dir.path().join("pw")).unwrap();
        std::fs::write(&file, " with spaces # and all \nsecond\n").unwrap();
        let credentials = Credentials { ssh_sudo_pw_file: Some(file.clone()), ..Credentials::default() };
        let read = credentials.defaults().unwrap().auth.sudo_password.unwrap();
        assert_eq!(read.expose(), " with spaces # and all ");
        std::fs::write(&file, "\n").unwrap();
        assert!(credentials.defaults().unwrap_err().to_string().contains("its first line is empty"));
    }
}
