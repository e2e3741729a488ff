//! Credentials given once for all hosts, and how a host's text becomes a target. Every secret can come from a file or, on
//! a terminal, from a prompt, so that none needs to be typed as an argument.

use std::io::IsTerminal;

use camino::Utf8PathBuf;
use clap::Args;

use crate::flow::FlowError;
use crate::host::{Auth, Secret, Target, TargetDefaults};

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

/// The first line of a file, or what is typed at a prompt for `-`.
fn from_file(file: Option<&Utf8PathBuf>, option: &str, prompt: &str) -> Result<Option<Secret>, FlowError> {
    let Some(path) = file else { return Ok(None) };
    if path == "-" {
        if !std::io::stdin().is_terminal() {
            return Err(FlowError::request(format!("{option} -: there is no terminal to ask on")));
        }
        let typed = rpassword::prompt_password(prompt);
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
            Ok(target) => match targets.iter().find(|t| t.address == target.address) {
                None => targets.push(target),
                Some(same) if same.same_login(&target) => {}
                Some(_) => wrong.push(format!("{} is given twice with different credentials", target.address)),
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
