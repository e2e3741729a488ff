//! Texts of a certain form: how each is checked, said and described in the JSON schema.

use std::net::IpAddr;

use crate::flow::networks::Networks;
use crate::flow::request::check_environment;
use crate::host::{Address, Target, TargetDefaults, masked};
use crate::registry::Place;

/// What a text must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Any,
    Environment,
    Address,
    User,
    /// The name of an environment variable.
    Variable,
    /// A network, or one of each family with a comma in between.
    Networks,
    /// IPv4 or IPv6.
    Ip,
    DnsName,
    HostPort,
    AbsolutePath,
    /// flannel, direct, auto or the name of a manifest.
    NetworkName,
    Url,
    /// The name of a container image.
    Image,
    /// `HOST[:PORT]`
    Registry,
    /// `HOST[:PORT][/PREFIX]`
    RegistryPlace,
    /// A user in an htpasswd file.
    RegistryUser,
}

impl Format {
    /// Checks a text.
    ///
    /// # Errors
    /// A sentence that names the text, any password in it starred.
    pub(super) fn check(self, text: &str) -> Result<(), String> {
        let shown = match self {
            Self::Address | Self::User => harmless(text),
            _ => masked(text),
        };
        if text.is_empty() {
            return Err("the text is empty".to_owned());
        }
        if text.chars().any(char::is_control) {
            return Err(format!("{shown:?} has control characters"));
        }
        let (ok, what) = match self {
            Self::Any => (true, ""),
            Self::Environment => return check_environment(text).map_err(|why| format!("{shown:?}: {why}")),
            Self::Address => (text.parse::<Address>().is_ok(), "an IP address or a DNS name"),
            Self::User => (is_user(text), "a user name"),
            Self::Variable => (is_variable(text), "the name of an environment variable"),
            Self::Networks => (
                Networks::parse(text).is_some(),
                "a network such as 10.244.0.0/16, or one of each family: 10.244.0.0/16,fd00:10:244::/56",
            ),
            Self::Ip => (text.parse::<IpAddr>().is_ok(), "an IP address"),
            Self::DnsName => (matches!(text.parse(), Ok(Address::Name(_))), "a DNS name such as cluster.local"),
            Self::HostPort => (is_host_port(text), "HOST:PORT"),
            Self::AbsolutePath => (is_absolute(text), "an absolute path"),
            Self::NetworkName => (is_file_name(text), "auto, flannel, direct or the name of a network manifest"),
            Self::Url => (is_url(text), "a URL such as https://registry.example:5000"),
            Self::Image => (
                text.parse::<payload::Reference>().is_ok(),
                "the name of an image, such as registry.example/flannel:v1.0",
            ),
            Self::Registry => (is_registry(text), "HOST or HOST:PORT"),
            Self::RegistryPlace => {
                (Place::parse(text).is_ok(), "HOST, HOST:PORT or HOST:PORT/PREFIX, without https://")
            }
            Self::RegistryUser => (is_file_name(text), "a name of letters, digits, `.`, `_` and `-`"),
        };
        if ok { Ok(()) } else { Err(format!("{shown:?} is not {what}")) }
    }

    /// A regular expression (ECMA 262, as JSON schemas have it) that what is accepted fits.
    pub(super) fn pattern(self) -> Option<&'static str> {
        Some(match self {
            Self::Any => return None,
            Self::Environment => "^[A-Za-z0-9._-]{1,64}$",
            Self::Address => "^[A-Za-z0-9._:-]+$",
            Self::User => r"^[A-Za-z0-9._$\\][A-Za-z0-9._$\\-]*$",
            Self::Variable => "^[A-Za-z_][A-Za-z0-9_]*$",
            Self::Networks => "^[0-9A-Fa-f.:]+/[0-9]{1,3}(,[0-9A-Fa-f.:]+/[0-9]{1,3})?$",
            Self::Ip => "^[0-9A-Fa-f.:]+$",
            Self::DnsName => "^[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?$",
            Self::HostPort => r"^[A-Za-z0-9._:\[\]-]+:[0-9]{1,5}$",
            Self::AbsolutePath => "^/",
            Self::NetworkName => "^[A-Za-z0-9][A-Za-z0-9._-]*$",
            Self::Url => r"^https?://[^\s]+$",
            Self::Image => r"^[A-Za-z0-9._:/@\[\]-]+$",
            Self::Registry => r"^[A-Za-z0-9._:\[\]-]+$",
            Self::RegistryPlace => r"^[A-Za-z0-9.:\[\]-]+(/[a-z0-9._/-]*)?$",
            Self::RegistryUser => "^[A-Za-z0-9][A-Za-z0-9._-]*$",
        })
    }
}

/// A text for a message. Where a host or a login may have been written, a password may stand behind the first colon.
pub(super) fn harmless(text: &str) -> String {
    match text.split_once(':') {
        _ if text.contains('@') => masked(text),
        Some((before, _)) if text.parse::<IpAddr>().is_err() => format!("{before}:***"),
        _ => text.to_owned(),
    }
}

fn is_user(text: &str) -> bool {
    !text.contains(['@', ':']) && Target::parse(&format!("{text}@host"), &TargetDefaults::default()).is_ok()
}

fn is_variable(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && !text.starts_with(|c: char| c.is_ascii_digit())
}

/// A host with a port, IPv6 in brackets: a login's form without the login.
fn is_host_port(text: &str) -> bool {
    let port = text.rsplit_once(':').is_some_and(|(host, port)| {
        port.parse::<u16>().is_ok_and(|p| p > 0) && (host.starts_with('[') || !host.contains(':'))
    });
    port && is_place(text)
}

fn is_place(text: &str) -> bool {
    !text.contains('@') && Target::parse(text, &TargetDefaults::default()).is_ok()
}

fn is_absolute(text: &str) -> bool {
    text.starts_with('/') && !text.contains("/../") && !text.ends_with("/..")
}

fn is_file_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let place = rest.map(|r| r.split_once('/').map_or(r, |(place, _)| place));
    place.is_some_and(is_place) && !text.contains(['"', '\'', '\\', ' '])
}

fn is_registry(text: &str) -> bool {
    is_place(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_checked_and_named() {
        for (format, good, bad) in [
            (Format::Environment, &["prod", "a.b-c_9"][..], &["", "..", "a b"][..]),
            (
                Format::Address,
                &["10.8.14.200", "fe80::1", "node-1.example"],
                &["10.8.14", "a b", "a;b", "a\n", "10.0.0.1:geheim"],
            ),
            (Format::User, &["root", "maint", "DOM\\x"], &["-o", "a b", "root:geheim", "a@b"]),
            (Format::Variable, &["PW", "_x9"], &["9x", "a-b", "$X"]),
            (
                Format::Networks,
                &["10.244.0.0/16", "fd00:10:244::/56", "10.244.0.0/16,fd00:10:244::/56"],
                &[
                    "10.244.0.1/16",
                    "10.244.0.0/33",
                    "10.0.0.0",
                    "fd00::1/56",
                    "10.0.0.0/8,10.0.0.0/16",
                    "10.0.0.0/8, fd00::/56",
                ],
            ),
            (Format::Ip, &["10.8.14.210", "fd00::53"], &["10.8.14", "host", "10.0.0.1:53", "10.0.0.0/8"]),
            (Format::DnsName, &["cluster.local", "k8s"], &["10.0.0.1", "a..b", "-a"]),
            (Format::HostPort, &["api.example:6443", "10.0.0.1:443", "[::1]:6443"], &["api", "api:0", "::1:80", "a:b"]),
            (Format::AbsolutePath, &["/srv/docker"], &["srv", "/a/../b", "/a/.."]),
            (Format::NetworkName, &["auto", "calico-3.28"], &["../x", "-x", "a b"]),
            (Format::Url, &["https://r.example:5000/v2", "http://10.0.0.1"], &["r.example", "ftp://x", "https://a b"]),
            (Format::RegistryPlace, &["r.example", "r.example:5000/k8s/x"], &["https://x", "r.example/K8S", "a b"]),
            (Format::Registry, &["r.example", "r.example:5000", "[::1]:5000"], &["https://x", "a/b", "a b"]),
        ] {
            for text in good {
                assert_eq!(format.check(text), Ok(()), "{format:?}");
            }
            for text in bad {
                let error = format.check(text).unwrap_err();
                assert!(!error.contains("geheim"), "{error}");
            }
        }
        let error = Format::Networks.check("10.244.0.0/33").unwrap_err();
        assert!(error.starts_with(r#""10.244.0.0/33" is not a network such as 10.244.0.0/16, or one"#), "{error}");
        assert!(!Format::Address.check("root:geheim@10.0.0.1").unwrap_err().contains("geheim"));
    }
}
