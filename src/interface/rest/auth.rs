//! Who may ask: the token, and that no other page of the operator's browser does.
//!
//! A browser sends requests to the control host for any page that it shows (cross-site request forgery), and a name can be
//! pointed at 127.0.0.1 by whoever owns it (DNS rebinding). So a request with an `Origin` of another place is refused;
//! and where there is no token, so is one whose `Host` is a name other than `localhost`.

use std::net::IpAddr;

use camino::Utf8Path;
use hyper::header::{self, HeaderMap};
use sha2::{Digest, Sha256};

use crate::flow::FlowError;

/// Who may ask: the token, and how often a wrong one may be tried.
#[derive(Debug)]
pub(crate) struct Auth {
    /// The token's hash: what is compared tells nothing about the token by the time it takes.
    token: Option<[u8; 32]>,
}

/// Why a request is not answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// 401
    NoToken,
    /// 403
    OtherPlace,
}

impl Auth {
    pub(crate) fn open() -> Self {
        Self { token: None }
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
        Ok(Self { token: Some(Sha256::digest(token.as_bytes()).into()) })
    }

    pub(crate) fn wants_token(&self) -> bool {
        self.token.is_some()
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
        if !self.wants_token() && !host.is_empty() && !is_local_or_address(host) {
            return Err(Denied::OtherPlace);
        }
        Ok(())
    }

    /// Whether the request has the token, where one is wanted.
    pub(crate) fn check_token(&self, headers: &HeaderMap) -> Result<(), Denied> {
        let Some(wanted) = self.token else { return Ok(()) };
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given = given.and_then(|text| {
            let (scheme, token) = text.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        match given.map(|token| <[u8; 32]>::from(Sha256::digest(token.as_bytes()))) {
            Some(hash) if hash == wanted => Ok(()),
            _ => Err(Denied::NoToken),
        }
    }
}

fn is_local_or_address(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (header::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn another_pages_requests_are_refused() {
        let auth = Auth::open();
        for good in [
            &[("host", "127.0.0.1:8383")][..],
            &[("host", "localhost:8383"), ("origin", "http://localhost:8383")],
            &[("host", "[::1]:8383")],
            &[("host", "10.8.14.1")],
        ] {
            assert_eq!(auth.check_place(&headers(good)), Ok(()), "{good:?}");
        }
        for bad in [
            &[("host", "127.0.0.1:8383"), ("origin", "http://evil.example")][..],
            &[("host", "127.0.0.1:8383"), ("origin", "null")],
            &[("host", "evil.example:8383")],
            &[("host", "evil.example:8383"), ("origin", "http://evil.example:8383")],
        ] {
            assert_eq!(auth.check_place(&headers(bad)), Err(Denied::OtherPlace), "{bad:?}");
        }
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
        assert_eq!(auth.check_token(&headers(&[("authorization", "Bearer 0123456789abcdef")])), Ok(()));
        for bad in ["Bearer 0123456789abcde", "Basic 0123456789abcdef", "0123456789abcdef", "Bearer", ""] {
            assert_eq!(auth.check_token(&headers(&[("authorization", bad)])), Err(Denied::NoToken), "{bad}");
        }
        assert_eq!(auth.check_token(&HeaderMap::new()), Err(Denied::NoToken));
    }
}
