//! Where a host is: an IPv4 or IPv6 address, or a DNS name.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A checked address; what it prints is safe in a message and in a file name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    Ip(IpAddr),
    /// Letters, digits, hyphens, underscores and dots, as RFC 1123 and practice have it; lower case.
    Name(String),
}

impl Address {
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(ip) => Some(*ip),
            Self::Name(_) => None,
        }
    }

    /// As it stands before a port: IPv6 in brackets.
    pub fn before_port(&self) -> String {
        match self {
            Self::Ip(IpAddr::V6(ip)) => format!("[{ip}]"),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(ip) = text.parse() {
            return Ok(Self::Ip(ip));
        }
        if is_dns_name(text) {
            return Ok(Self::Name(text.to_ascii_lowercase()));
        }
        Err(format!("{text:?} is neither an IP address nor a DNS name"))
    }
}

fn is_dns_name(text: &str) -> bool {
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    // All digits and dots would be a mistyped IPv4 address, which a resolver may read in surprising ways.
    text.len() <= 253 && text.split('.').all(label) && !text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names() {
        assert_eq!("10.8.14.200".parse::<Address>().unwrap().to_string(), "10.8.14.200");
        assert_eq!("::1".parse::<Address>().unwrap().before_port(), "[::1]");
        assert_eq!("Node-1.Example".parse::<Address>().unwrap().to_string(), "node-1.example");
    }

    #[test]
    fn hostile_or_mistyped_ones_are_refused() {
        for bad in
            ["", "10.8.14", "10.8.14.256", "a;reboot", "a b", "-a", "a-", "a..b", "$(id)", "ü", "a/b", &"a".repeat(64)]
        {
            assert!(bad.parse::<Address>().is_err(), "{bad:?}");
        }
    }
}
