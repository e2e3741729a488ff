//! What a registry wants to be shown: the header `WWW-Authenticate` of its status 401 (RFC 7235; for `Bearer` the distribution
//! project's "Token Authentication Specification").

use std::collections::BTreeMap;

/// A way to get in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User and password with every request.
    Basic,
    /// A token, got at this address for this service and scope.
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

impl Challenge {
    /// Reads one header; `None` where it is neither.
    pub(super) fn parse(header: &str) -> Option<Self> {
        let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let mut fields = parameters(rest);
        let realm = fields.remove("realm")?;
        Some(Self::Bearer { realm, service: fields.remove("service"), scope: fields.remove("scope") })
    }
}

/// `key="value", key=value`: a quoted value may hold commas.
fn parameters(text: &str) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut rest = text;
    while let Some((key, behind)) = rest.split_once('=') {
        let key = key.trim_matches([',', ' ']).to_ascii_lowercase();
        let (value, after) = match behind.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => behind.split_once(',').unwrap_or((behind, "")),
        };
        all.insert(key, value.trim().to_owned());
        rest = after;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_are_read() {
        assert_eq!(Challenge::parse("Basic realm=\"Registry\""), Some(Challenge::Basic));
        let harbor = "Bearer realm=\"https://h.example/service/token\",service=\"harbor-registry\",scope=\"repository:k8s/pause:pull,push\"";
        assert_eq!(
            Challenge::parse(harbor),
            Some(Challenge::Bearer {
                realm: "https://h.example/service/token".into(),
                service: Some("harbor-registry".into()),
                scope: Some("repository:k8s/pause:pull,push".into()),
            })
        );
        assert_eq!(
            Challenge::parse("bearer realm=https://h/t , service=x"),
            Some(Challenge::Bearer { realm: "https://h/t".into(), service: Some("x".into()), scope: None })
        );
        for other in ["", "Negotiate", "Bearer service=\"x\"", "Bearer"] {
            assert_eq!(Challenge::parse(other), None, "{other:?}");
        }
    }
}
