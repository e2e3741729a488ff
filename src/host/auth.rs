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
/// The peer said goodbye (as after `MaxAuthTries` refusals), rather than being lost.
const GOODBYE_CODE: i32 = -13;
/// The key was offered and refused. What other codes mean depends on the key's format, but all say that the file is no
/// usable key or that its passphrase is wrong.
const KEY_REFUSED_CODES: [i32; 2] = [-18, -19];

/// Whether an error is a connection that was cut before its time.
pub(super) fn is_drop(error: &ssh2::Error) -> bool {
    matches!(error.code(), ErrorCode::Session(code) if SOCKET_CODES.contains(&code))
}

/// Makes a session on a connected stream. `timeout` holds for every wait until the login is done. `key_types` are those
/// that are recorded for the host: it is asked for one of them first, or an sshd that has learnt a new type would look
/// like another host.
pub(super) fn handshake(tcp: &TcpStream, timeout: Duration, key_types: &[String]) -> Result<Session, ssh2::Error> {
    let mut session = Session::new()?;
    session.set_timeout(u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX));
    // An AEAD cipher in hardware first: libssh2's own first choice is several times slower.
    let _ = session.method_pref(
        MethodType::CryptCs,
        "aes128-gcm@openssh.com,aes256-gcm@openssh.com,aes128-ctr,aes256-ctr,chacha20-poly1305@openssh.com",
    );
    if !key_types.is_empty() {
        let _ = session.method_pref(MethodType::HostKey, &host_key_methods(key_types));
    }
    session.set_tcp_stream(tcp.try_clone().map_err(|_| ssh2::Error::from_errno(ErrorCode::Session(-13)))?);
    session.handshake()?;
    Ok(session)
}

/// Signature methods (RFC 8332 has more than one for an RSA key), those of `known` first.
fn host_key_methods(known: &[String]) -> String {
    const ALL: [(&str, &str); 5] = [
        ("ssh-ed25519", "ssh-ed25519"),
        ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256"),
        ("ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384"),
        ("ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521"),
        ("ssh-rsa", "rsa-sha2-512,rsa-sha2-256,ssh-rsa"),
    ];
    let recorded = |key: &str| known.iter().any(|k| k == key);
    let mut methods = ALL;
    // Stable: within both halves the order stays.
    methods.sort_by_key(|(key, _)| !recorded(key));
    methods.map(|(_, methods)| methods).join(",")
}

fn is_key_fault(error: &ssh2::Error) -> bool {
    match error.code() {
        ErrorCode::Session(code) => !is_drop(error) && code != TIMEOUT_CODE && !KEY_REFUSED_CODES.contains(&code),
        ErrorCode::SFTP(_) => false,
    }
}

/// Why a login did not come about.
pub(super) enum LoginError {
    /// The connection was cut before any proof was refused: another try may do better.
    Dropped(String),
    Final(HostError),
}

/// Logs in.
pub(super) fn login(session: &Session, target: &Target, timeout: Duration) -> Result<(), LoginError> {
    // The first question names the methods that sshd offers; an sshd with too many logins under way hangs up here.
    let offered = match session.auth_methods(&target.user) {
        Ok(methods) => methods.to_owned(),
        Err(_) if session.authenticated() => return Ok(()),
        Err(e) if is_drop(&e) => return Err(LoginError::Dropped(e.to_string())),
        Err(_) => String::new(),
    };
    let mut attempts = Attempts { session, target, timeout, offered, tried: Vec::new() };
    match attempts.all() {
        Ok(true) => Ok(()),
        Ok(false) => Err(LoginError::Final(attempts.refused())),
        Err(e) => Err(e),
    }
}

struct Attempts<'a> {
    session: &'a Session,
    target: &'a Target,
    timeout: Duration,
    offered: String,
    tried: Vec<&'static str>,
}

impl Attempts<'_> {
    fn all(&mut self) -> Result<bool, LoginError> {
        let auth = &self.target.auth;
        Ok((auth.key.is_some() && self.key()?)
            || (auth.agent && self.agent()?)
            || match &auth.password {
                Some(password) => self.password(password)?,
                None => false,
            })
    }

    fn key(&mut self) -> Result<bool, LoginError> {
        let Some(path) = &self.target.auth.key else { return Ok(false) };
        let key_error =
            |why: String| LoginError::Final(HostError::Key { host: self.target.id(), path: path.to_string(), why });
        let key = std::fs::read_to_string(path).map(Secret::new).map_err(|e| key_error(e.to_string()))?;
        let phrase = self.target.auth.passphrase.as_ref().map(Secret::expose);
        // libssh2 does not tell in every format that a passphrase is missing.
        if phrase.is_none() && key.expose().lines().take(3).any(|line| line.contains("ENCRYPTED")) {
            return Err(key_error("it wants a passphrase, and none is given".into()));
        }
        match self.session.userauth_pubkey_memory(&self.target.user, None, key.expose(), phrase) {
            Err(e) if is_key_fault(&e) => {
                let hint = if phrase.is_some() { "the passphrase is wrong" } else { "it wants a passphrase" };
                Err(key_error(format!("it is no private key, or {hint} ({})", e.message())))
            }
            result => self.judge("key", result),
        }
    }

    fn agent(&mut self) -> Result<bool, LoginError> {
        let listed = self.session.agent().and_then(|mut agent| {
            agent.connect()?;
            agent.list_identities()?;
            let keys = agent.identities()?;
            Ok((agent, keys))
        });
        let Ok((agent, keys)) = listed else {
            self.tried.push("agent (does not answer)");
            return Ok(false);
        };
        if keys.is_empty() {
            self.tried.push("agent (holds no key)");
        }
        for key in keys {
            if self.judge("agent", agent.userauth(&self.target.user, &key))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn password(&mut self, password: &Secret) -> Result<bool, LoginError> {
        let offers = |method: &str| self.offered.is_empty() || self.offered.split(',').any(|m| m == method);
        let (plain, asked) = (offers("password"), offers("keyboard-interactive"));
        if plain && self.judge("password", self.session.userauth_password(&self.target.user, password.expose()))? {
            return Ok(true);
        }
        let mut answer = Answer(password.expose());
        Ok(asked
            && self.judge(
                "keyboard-interactive",
                self.session.userauth_keyboard_interactive(&self.target.user, &mut answer),
            )?)
    }

    /// Ok(true): logged in; Ok(false): refused, something else may be tried.
    fn judge(&mut self, method: &'static str, result: Result<(), ssh2::Error>) -> Result<bool, LoginError> {
        let first = self.tried.is_empty();
        if self.tried.last() != Some(&method) {
            self.tried.push(method);
        }
        match result {
            Ok(()) => Ok(self.session.authenticated()),
            Err(e) if matches!(e.code(), ErrorCode::Session(TIMEOUT_CODE)) => {
                let (host, after) = (self.target.id(), self.timeout);
                Err(LoginError::Final(HostError::Timeout { host, command: format!("login by {method}"), after }))
            }
            Err(e) if first && is_drop(&e) && e.code() != ErrorCode::Session(GOODBYE_CODE) => {
                Err(LoginError::Dropped(e.to_string()))
            }
            // sshd hangs up after MaxAuthTries refusals. To come back would only get the user locked out.
            Err(e) if is_drop(&e) => Err(LoginError::Final(self.refused())),
            Err(_) => Ok(false),
        }
    }

    fn refused(&self) -> HostError {
        let what = if self.tried.is_empty() {
            "nothing to try".to_owned()
        } else {
            format!("tried: {}", self.tried.join(", "))
        };
        let offered = if self.offered.is_empty() { "nothing it would say" } else { &self.offered };
        HostError::Auth {
            host: self.target.id(),
            user: self.target.user.clone(),
            tried: format!("{what}; sshd offers: {offered}"),
        }
    }
}

/// Answers every hidden question with the password; there is nobody to ask the others.
struct Answer<'a>(&'a str);

impl KeyboardInteractivePrompt for Answer<'_> {
    fn prompt<'b>(&mut self, _: &str, _: &str, prompts: &[Prompt<'b>]) -> Vec<String> {
        prompts.iter().map(|p| if p.echo { String::new() } else { self.0.to_owned() }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recorded_key_type_is_asked_for_first() {
        let methods = host_key_methods(&["ssh-rsa".to_owned()]);
        assert!(methods.starts_with("rsa-sha2-512,rsa-sha2-256,ssh-rsa,ssh-ed25519"), "{methods}");
        assert!(host_key_methods(&["rubbish".to_owned()]).starts_with("ssh-ed25519,"));
    }
}
