//! Who may ask: whoever has the token; on loopback without one, the processes of the user that runs the listener and root's;
//! and that no other page of the operator's browser does.
//!
//! A browser sends requests to the control host for any page that it shows (cross-site request forgery), and a name can be
//! pointed at 127.0.0.1 by whoever owns it (DNS rebinding). So a request with an `Origin` of another place is refused;
//! and where there is no token, so is one whose `Host` is a name other than `localhost` and those that `serve` was given.

use std::net::{IpAddr, SocketAddr};

use camino::Utf8Path;
use hyper::header::{self, HeaderMap};
use sha2::{Digest, Sha256};

use crate::flow::FlowError;

use super::caller;

/// Who may ask.
#[derive(Debug)]
pub(crate) struct Auth {
    who: Who,
    /// Names by which the listener may be called, beside `localhost` and addresses.
    names: Vec<String>,
}

#[derive(Debug)]
enum Who {
    /// The token's hash: what is compared tells nothing about the token by the time it takes.
    Token([u8; 32]),
    /// This user, and root.
    User(u32),
    Everybody,
}

/// Who has the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A user of this machine.
    User(u32),
    Unknown,
}

impl Caller {
    /// Asks the kernel about a connection on loopback.
    pub(super) fn of(client: SocketAddr, server: SocketAddr) -> Self {
        if !client.ip().to_canonical().is_loopback() {
            return Self::Unknown;
        }
        match caller::user_of(client, server) {
            Ok(user) => user.map_or(Self::Unknown, Self::User),
            Err(error) => {
                tracing::debug!(%client, %error, "the kernel does not say whose connection this is");
                Self::Unknown
            }
        }
    }
}

/// Why a request is not answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// 401
    NoToken,
    /// 403: the caller is another user, or the kernel does not say who.
    OtherUser { caller: Caller, owner: u32 },
    /// 403
    OtherPlace,
    /// 403
    OtherName,
}

impl Denied {
    /// What the caller can do about it.
    pub(crate) fn words(&self) -> String {
        const OTHERWISE: &str =
            "start `serve` with --token-file FILE and send its token, or with --no-auth to answer to everybody";
        match self {
            Self::NoToken => {
                "this listener answers only with its token: Authorization: Bearer TOKEN (the first line of the \
                              file that `serve --token-file` names)"
                    .to_owned()
            }
            Self::OtherUser { caller, owner } => {
                let whose = match caller {
                    Caller::User(user) => format!("this connection is that of user ID {user}"),
                    Caller::Unknown => "the kernel does not say whose connection this is".to_owned(),
                };
                let wanted = if *owner == 0 { "root".to_owned() } else { format!("user ID {owner} and to root") };
                format!(
                    "without a token this listener answers only to {wanted}, and {whose}: run it as that user (sudo), or {OTHERWISE}"
                )
            }
            Self::OtherPlace => {
                "requests that come from another place's page are not answered: their Origin is not this listener"
                    .to_owned()
            }
            Self::OtherName => {
                "the Host that this request calls is not a name of this listener, and a page of another site could \
                                have it mean this address: call it by address or as localhost, start `serve` with \
                                --allow-host NAME, or with --token-file FILE and send its token"
                    .to_owned()
            }
        }
    }
}

impl Auth {
    /// Everybody who reaches it.
    pub(crate) fn everybody() -> Self {
        Self { who: Who::Everybody, names: Vec::new() }
    }

    /// The processes of the user that runs this one, and of root. Only a connection on loopback can be told whose it is.
    pub(crate) fn own_user() -> Self {
        Self { who: Who::User(nix::unistd::geteuid().as_raw()), names: Vec::new() }
    }

    /// The same, also when it is called by these names.
    pub(crate) fn with_names(mut self, names: &[String]) -> Self {
        self.names = names.to_vec();
        self
    }

    /// The token is the first line of a file that nobody else may read.
    pub(crate) fn from_file(path: &Utf8Path) -> Result<Self, FlowError> {
        use std::os::unix::fs::PermissionsExt;
        let wrong = |why: String| FlowError::request(format!("--token-file {path}: {why}"));
        let meta = std::fs::metadata(path).map_err(|e| wrong(e.to_string()))?;
        if meta.permissions().mode() & 0o077 != 0 {
            return Err(wrong("others may read this file: chmod 600".to_owned()));
        }
        let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
        let token = text.lines().next().unwrap_or_default().trim();
        if token.len() < 16 || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(wrong(
                "its first line is no token: 16 characters or more are wanted, such as `openssl rand -hex 32` prints"
                    .to_owned(),
            ));
        }
        Ok(Self { who: Who::Token(Sha256::digest(token.as_bytes()).into()), names: Vec::new() })
    }

    pub(crate) fn wants_token(&self) -> bool {
        matches!(self.who, Who::Token(_))
    }

    /// Whether those who get in have shown who they are. For others nothing that lies on the control host is used.
    pub(crate) fn knows_callers(&self) -> bool {
        !matches!(self.who, Who::Everybody)
    }

    /// Whether the request comes from a place that may ask at all.
    pub(crate) fn check_place(&self, headers: &HeaderMap) -> Result<(), Denied> {
        let host = headers.get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or_default();
        if let Some(origin) = headers.get(header::ORIGIN) {
            let origin = origin.to_str().unwrap_or_default();
            let place = origin.split_once("://").map_or("", |(_, place)| place);
            if place.is_empty() || !place.eq_ignore_ascii_case(host) {
                return Err(Denied::OtherPlace);
            }
        }
        if !self.wants_token() && !host.is_empty() && !self.is_called(host) {
            return Err(Denied::OtherName);
        }
        Ok(())
    }

    fn is_called(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => host.rsplit_once(':').map_or(host, |(name, _)| name),
        };
        let known = |known: &String| known.eq_ignore_ascii_case(name);
        name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok() || self.names.iter().any(known)
    }

    /// Whether the request has the token, where one is wanted, or comes from a user who needs none.
    pub(crate) fn check_caller(&self, headers: &HeaderMap, caller: Caller) -> Result<(), Denied> {
        match self.who {
            Who::Everybody => Ok(()),
            Who::User(owner) => match caller {
                Caller::User(user) if user == owner || user == 0 => Ok(()),
                _ => Err(Denied::OtherUser { caller, owner }),
            },
            Who::Token(wanted) => match token(headers).map(|t| <[u8; 32]>::from(Sha256::digest(t.as_bytes()))) {
                Some(hash) if hash == wanted => Ok(()),
                _ => Err(Denied::NoToken),
            },
        }
    }
}

fn token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (header::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn another_pages_requests_are_refused() {
        let auth = Auth::everybody().with_names(&["Control.example".to_owned()]);
        for good in [
            &[("host", "127.0.0.1:8383")][..],
            &[("host", "control.example:8383"), ("origin", "http://control.example:8383")],
            &[("host", "localhost:8383"), ("origin", "http://localhost:8383")],
            &[("host", "[::1]:8383")],
            &[("host", "10.8.14.1")],
        ] {
            assert_eq!(auth.check_place(&headers(good)), Ok(()), "{good:?}");
        }
        for (bad, why) in [
            (&[("host", "127.0.0.1:8383"), ("origin", "http://evil.example")][..], Denied::OtherPlace),
            (&[("host", "127.0.0.1:8383"), ("origin", "null")], Denied::OtherPlace),
            (&[("host", "control.example:8383"), ("origin", "http://evil.example")], Denied::OtherPlace),
            (&[("host", "evil.example:8383")], Denied::OtherName),
            (&[("host", "control.example.evil:8383")], Denied::OtherName),
            (&[("host", "evil.example:8383"), ("origin", "http://evil.example:8383")], Denied::OtherName),
        ] {
            assert_eq!(auth.check_place(&headers(bad)), Err(why), "{bad:?}");
        }
        assert!(Denied::OtherName.words().contains("--allow-host NAME"));
    }

    #[test]
    fn without_a_token_only_the_listeners_user_and_root_are_answered() {
        let auth = Auth { who: Who::User(1001), names: Vec::new() };
        let check = |caller| auth.check_caller(&HeaderMap::new(), caller);
        assert_eq!((check(Caller::User(1001)), check(Caller::User(0))), (Ok(()), Ok(())));
        for caller in [Caller::User(1002), Caller::User(u32::MAX), Caller::Unknown] {
            let denied = check(caller).unwrap_err();
            assert_eq!(denied, Denied::OtherUser { caller, owner: 1001 });
            let words = denied.words();
            for word in ["user ID 1001", "root", "--token-file FILE", "--no-auth"] {
                assert!(words.contains(word), "{words}");
            }
        }
        assert_eq!(Auth::everybody().check_caller(&HeaderMap::new(), Caller::Unknown), Ok(()));
    }

    #[test]
    fn the_token_opens_and_nothing_else_does() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(dir.path()).unwrap().join("token");
        std::fs::write(&path, "0123456789abcdef\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Auth::from_file(&path).unwrap_err().to_string().contains("chmod 600"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let auth = Auth::from_file(&path).unwrap();
        // Root too: a listener with a token answers to nobody without it.
        let check = |headers: &HeaderMap| auth.check_caller(headers, Caller::User(0));
        assert_eq!(check(&headers(&[("authorization", "Bearer 0123456789abcdef")])), Ok(()));
        for bad in ["Bearer 0123456789abcde", "Basic 0123456789abcdef", "0123456789abcdef", "Bearer", ""] {
            assert_eq!(check(&headers(&[("authorization", bad)])), Err(Denied::NoToken), "{bad}");
        }
        assert_eq!(check(&HeaderMap::new()), Err(Denied::NoToken));
    }
}
