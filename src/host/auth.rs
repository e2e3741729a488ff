//! Handshake and login: the key, then an agent's keys, then the password (method `password`, then
//! `keyboard-interactive`, which many sshds want for the same password; RFC 4252, RFC 4256). An sshd that wants more than
//! one (`AuthenticationMethods`) offers other methods once the first was accepted: those are tried in a further round.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use ssh2::{ErrorCode, KeyboardInteractivePrompt, MethodType, Prompt, Session};

use super::error::HostError;
use super::secret::Secret;
use super::target::Target;
use super::text::{one_line, tail};

/// libssh2's codes for a peer that went away (libssh2.h).
const SOCKET_CODES: [i32; 6] = [-2, -7, -13, -26, -43, -45];
const TIMEOUT_CODE: i32 = -9;
/// sshd wants a new password, in the login itself.
const EXPIRED_CODE: i32 = -15;
/// The peer said goodbye (as after `MaxAuthTries` refusals), rather than being lost.
const GOODBYE_CODE: i32 = -13;
/// The key was offered and refused. What other codes mean depends on the key's format, but all say that the file is no
/// usable key or that its passphrase is wrong.
const KEY_REFUSED_CODES: [i32; 2] = [-18, -19];
/// As many methods in a row may an sshd want.
const ROUNDS: usize = 4;
/// Lines of what sshd says when it lets nobody in.
const SAID_LINES: usize = 4;

/// Whether an error is a connection that was cut before its time.
pub(super) fn is_drop(error: &ssh2::Error) -> bool {
    matches!(error.code(), ErrorCode::Session(code) if SOCKET_CODES.contains(&code))
}

/// Whether a wait of libssh2's was too long.
pub(super) fn is_timeout(error: &ssh2::Error) -> bool {
    error.code() == ErrorCode::Session(TIMEOUT_CODE)
}

/// Makes a session on a connected stream. `timeout` holds for every wait until the login is done. `key_types` are those
/// that are recorded for the host: it is asked for one of them first, or an sshd that has learnt a new type would look
/// like another host.
pub(super) fn handshake(tcp: &Arc<TcpStream>, timeout: Duration, key_types: &[String]) -> Result<Session, ssh2::Error> {
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
    session.set_tcp_stream(Arc::clone(tcp));
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
    /// The host still boots, in its own words: a later try will do better.
    Booting(String),
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
    let banner = banner(session);
    let mut attempts =
        Attempts { session, target, timeout, banner, offered, wants_more: false, done: Vec::new(), tried: Vec::new() };
    match attempts.all() {
        Ok(true) => Ok(()),
        Ok(false) => Err(attempts.refused()),
        Err(e) => Err(e),
    }
}

/// What sshd has sent for the user to read.
fn banner(session: &Session) -> String {
    session.userauth_banner().ok().flatten().unwrap_or_default().to_owned()
}

/// What can prove who we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    Key,
    Agent,
    Password,
    /// The password, as the answer to sshd's questions.
    Interactive,
}

impl Proof {
    const ALL: [Self; 4] = [Self::Key, Self::Agent, Self::Password, Self::Interactive];

    /// The method by which it is sent.
    fn method(self) -> &'static str {
        match self {
            Self::Key | Self::Agent => "publickey",
            Self::Password => "password",
            Self::Interactive => "keyboard-interactive",
        }
    }
}

struct Attempts<'a> {
    session: &'a Session,
    target: &'a Target,
    timeout: Duration,
    /// sshd's text before the login.
    banner: String,
    offered: String,
    /// Something was accepted, and sshd wants another proof beside it.
    wants_more: bool,
    done: Vec<Proof>,
    tried: Vec<&'static str>,
}

impl Attempts<'_> {
    fn all(&mut self) -> Result<bool, LoginError> {
        for _ in 0..ROUNDS {
            let before = self.done.len();
            for proof in Proof::ALL {
                if self.is_open(proof) && self.offers(proof) {
                    self.done.push(proof);
                    if self.attempt(proof)? {
                        return Ok(true);
                    }
                }
            }
            if self.done.len() == before || !self.asks_for_more() {
                break;
            }
        }
        Ok(false)
    }

    /// Whether it is there and has not been tried.
    fn is_open(&self, proof: Proof) -> bool {
        let auth = &self.target.auth;
        let is_there = match proof {
            Proof::Key => auth.key.is_some(),
            Proof::Agent => auth.agent,
            Proof::Password | Proof::Interactive => auth.password.is_some(),
        };
        is_there && !self.done.contains(&proof)
    }

    fn offers(&self, proof: Proof) -> bool {
        self.offered.is_empty() || self.offered.split(',').any(|method| method == proof.method())
    }

    /// Asks sshd again, which counts as one more attempt; whether it offers something else than before, as it does when what it was given was accepted.
    fn asks_for_more(&mut self) -> bool {
        match self.session.auth_methods(&self.target.user) {
            Ok(now) if now != self.offered => {
                now.clone_into(&mut self.offered);
                self.wants_more = true;
                true
            }
            _ => false,
        }
    }

    fn attempt(&mut self, proof: Proof) -> Result<bool, LoginError> {
        match (proof, &self.target.auth.password) {
            (Proof::Key, _) => self.key(),
            (Proof::Agent, _) => self.agent(),
            (Proof::Password, Some(password)) => {
                self.judge("password", self.session.userauth_password(&self.target.user, password.expose()))
            }
            (Proof::Interactive, Some(password)) => self.interactive(password),
            (_, None) => Ok(false),
        }
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

    fn interactive(&mut self, password: &Secret) -> Result<bool, LoginError> {
        let mut answer = Answer { password: password.expose(), wants_new: false };
        let result = self.session.userauth_keyboard_interactive(&self.target.user, &mut answer);
        let method =
            if answer.wants_new { "keyboard-interactive (it asks for a new password)" } else { "keyboard-interactive" };
        self.judge(method, result)
    }

    /// Ok(true): logged in; Ok(false): refused, something else may be tried.
    fn judge(&mut self, method: &'static str, result: Result<(), ssh2::Error>) -> Result<bool, LoginError> {
        let first = self.tried.is_empty();
        if self.tried.last() != Some(&method) {
            self.tried.push(method);
        }
        match result {
            Ok(()) => Ok(self.session.authenticated()),
            Err(e) if is_timeout(&e) => {
                let (host, after) = (self.target.id(), self.timeout);
                Err(LoginError::Final(HostError::Timeout { host, command: format!("login by {method}"), after }))
            }
            Err(e) if first && is_drop(&e) && e.code() != ErrorCode::Session(GOODBYE_CODE) => {
                // One that lets nobody in says why and hangs up at once, whatever the proof was worth.
                let booting = self.said().filter(|said| is_booting(said));
                Err(booting.map_or_else(|| LoginError::Dropped(e.to_string()), LoginError::Booting))
            }
            // sshd hangs up after MaxAuthTries refusals. To come back would only get the user locked out.
            Err(e) if is_drop(&e) => Err(self.refused()),
            Err(e) => {
                if e.code() == ErrorCode::Session(EXPIRED_CODE) {
                    self.tried.push("which has expired");
                }
                Ok(false)
            }
        }
    }

    /// What sshd has said to the user beside its banner: PAM's reason for letting nobody in (pam_nologin(8)). libssh2 reads
    /// it with the next answer to a question for the methods; the connection may have ended behind it.
    fn said(&self) -> Option<String> {
        let _ = self.session.auth_methods(&self.target.user);
        let said = banner(self.session);
        (said != self.banner).then(|| tail(said.as_bytes(), SAID_LINES)).filter(|said| !said.is_empty())
    }

    fn refused(&self) -> LoginError {
        let mut what = match self.tried.as_slice() {
            [] => "nothing that it offers can be tried".to_owned(),
            tried => format!("tried: {}", tried.join(", ")),
        };
        if self.wants_more {
            what.push_str("; a part was accepted, and another proof is wanted");
        }
        let offered = if self.offered.is_empty() { "nothing it would say" } else { &self.offered };
        what = format!("{what}; sshd offers: {}", one_line(offered));
        if let Some(said) = self.said() {
            if is_booting(&said) {
                return LoginError::Booting(said);
            }
            what = format!("{what}; it says: {}", said.replace('\n', " "));
        }
        LoginError::Final(HostError::Auth { host: self.target.id(), user: self.target.user.clone(), tried: what })
    }
}

/// systemd's words, in the file by which it keeps users out until it has started enough (systemd-user-sessions.service(8)).
pub(super) fn is_booting(said: &str) -> bool {
    said.contains("System is booting up")
}

/// Answers every hidden question with the password, but for one after a new password; there is nobody to ask the others.
struct Answer<'a> {
    password: &'a str,
    wants_new: bool,
}

impl KeyboardInteractivePrompt for Answer<'_> {
    fn prompt<'b>(&mut self, _: &str, _: &str, prompts: &[Prompt<'b>]) -> Vec<String> {
        let mut answer = |prompt: &Prompt<'b>| {
            let is_new = prompt.text.to_lowercase().contains("new password");
            self.wants_new |= is_new;
            if prompt.echo || is_new { String::new() } else { self.password.to_owned() }
        };
        prompts.iter().map(&mut answer).collect()
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
