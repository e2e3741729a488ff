//! Handshake and login: the key, then an agent's keys, then the password (method `password`, then
//! `keyboard-interactive`, which many sshds want for the same password; RFC 4252, RFC 4256).

use std::net::TcpStream;
use std::time::Duration;

use ssh2::{ErrorCode, KeyboardInteractivePrompt, MethodType, Prompt, Session};

use super::error::HostError;
use super::secret::Secret;
use super::target::Target;

/// libssh2's codes for a peer that went away (libssh2.h).
const SOCKET_CODES: [i32; 6] = [-2, -7, -13, -26, -43, -45];
const TIMEOUT_CODE: i32 = -9;

/// Whether an error is a connection that was cut before its time.
pub(super) fn is_drop(error: &ssh2::Error) -> bool {
    matches!(error.code(), ErrorCode::Session(code) if SOCKET_CODES.contains(&code))
}

/// Makes a session on a connected stream. `timeout` holds for every wait until the login is done.
pub(super) fn handshake(tcp: &TcpStream, timeout: Duration) -> Result<Session, ssh2::Error> {
    let mut session = Session::new()?;
    session.set_timeout(u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX));
    // An AEAD cipher in hardware first: libssh2's own first choice is several times slower.
    let _ = session.method_pref(
        MethodType::CryptCs,
        "aes128-gcm@openssh.com,aes256-gcm@openssh.com,aes128-ctr,aes256-ctr,chacha20-poly1305@openssh.com",
    );
    session.set_tcp_stream(tcp.try_clone().map_err(|_| ssh2::Error::from_errno(ErrorCode::Session(-13)))?);
    session.handshake()?;
    Ok(session)
}

/// Logs in.
pub(super) fn login(session: &Session, target: &Target) -> Result<(), HostError> {
    let host = target.address.to_string();
    let mut tried = Vec::new();
    let attempt = |result: Result<(), ssh2::Error>| match result {
        Ok(()) => Ok(session.authenticated()),
        Err(e) if is_drop(&e) || matches!(e.code(), ErrorCode::Session(TIMEOUT_CODE)) => {
            Err(HostError::Lost { host: host.clone(), command: "login".into(), why: e.to_string() })
        }
        Err(_) => Ok(false),
    };
    let auth = &target.auth;
    if let Some(path) = &auth.key {
        let key_error = |why: String| HostError::Key { host: host.clone(), path: path.to_string(), why };
        let key = std::fs::read_to_string(path).map_err(|e| key_error(e.to_string()))?;
        let phrase = auth.passphrase.as_ref().map(Secret::expose);
        tried.push("key");
        match session.userauth_pubkey_memory(&target.user, None, &key, phrase) {
            // libssh2: the file itself cannot be read as a key, or its passphrase is wrong.
            Err(e) if matches!(e.code(), ErrorCode::Session(-16)) => return Err(key_error(e.to_string())),
            result => {
                if attempt(result)? {
                    return Ok(());
                }
            }
        }
    }
    if auth.agent {
        tried.push("agent");
        if attempt(session.userauth_agent(&target.user))? {
            return Ok(());
        }
    }
    if let Some(password) = &auth.password {
        tried.push("password");
        if attempt(session.userauth_password(&target.user, password.expose()))? {
            return Ok(());
        }
        let offered = session.auth_methods(&target.user).unwrap_or_default().to_owned();
        if offered.contains("keyboard-interactive") {
            tried.push("keyboard-interactive");
            let result = session.userauth_keyboard_interactive(&target.user, &mut Answer(password.expose()));
            if attempt(result)? {
                return Ok(());
            }
        }
    }
    let tried = if tried.is_empty() {
        "neither password nor key is given".to_owned()
    } else {
        format!("tried: {}", tried.join(", "))
    };
    Err(HostError::Auth { host, user: target.user.clone(), tried })
}

/// Answers every hidden question with the password; there is nobody to ask the others.
struct Answer<'a>(&'a str);

impl KeyboardInteractivePrompt for Answer<'_> {
    fn prompt<'b>(&mut self, _: &str, _: &str, prompts: &[Prompt<'b>]) -> Vec<String> {
        prompts.iter().map(|p| if p.echo { String::new() } else { self.0.to_owned() }).collect()
    }
}
