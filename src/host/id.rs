//! Which host is meant: its address and its SSH port, since one address may have several sshds.

use std::borrow::Borrow;
use std::convert::Infallible;
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::address::Address;

/// The port that an identity does not name.
pub(super) const SSH_PORT: u16 = 22;

/// A host's identity, made by [`super::Target::id`]: the address as the user gave it, with `:PORT` when sshd listens on
/// another port than 22 (`[ADDRESS]:PORT` for IPv6). It is what messages, steps and kept states call the host.
///
/// It is no address: what connects to the host, or stands in a certificate, uses [`HostId::address`] or the target's own.
/// Many steps and results belong to the same few hosts: a clone shares the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(Arc<str>);

impl HostId {
    pub(crate) fn new(address: &Address, port: u16) -> Self {
        if port == SSH_PORT {
            Self(address.to_string().into())
        } else {
            format!("{}:{port}", address.before_port()).into()
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address in it, without port and brackets.
    pub fn address(&self) -> &str {
        self.split().0
    }

    /// The SSH port.
    pub fn port(&self) -> u16 {
        self.split().1
    }

    fn split(&self) -> (&str, u16) {
        let parts = match self.0.strip_prefix('[') {
            Some(rest) => rest.split_once("]:"),
            // An IPv6 address without brackets has more than one colon, and no port behind it.
            None => self.0.split_once(':').filter(|(_, port)| !port.contains(':')),
        };
        parts.and_then(|(address, port)| Some((address, port.parse().ok()?))).unwrap_or((&self.0, SSH_PORT))
    }

    /// The one of `hosts` that a text behind an option means: the host of this identity, else the only one at this address.
    pub fn named<'h>(text: &str, hosts: impl IntoIterator<Item = &'h Self>) -> Option<&'h Self> {
        let mut at_address = Vec::new();
        for host in hosts {
            if host == text {
                return Some(host);
            }
            if host.address() == text {
                at_address.push(host);
            }
        }
        at_address.dedup();
        if at_address.len() == 1 { at_address.pop() } else { None }
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl Deref for HostId {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for HostId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for HostId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for HostId {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl PartialEq<&str> for HostId {
    fn eq(&self, other: &&str) -> bool {
        &*self.0 == *other
    }
}

/// For reading back what was kept, and for tests: everything else gets its identities from a target.
impl From<String> for HostId {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

/// As from a [`String`].
impl From<&str> for HostId {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

/// As from a [`String`].
impl FromStr for HostId {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text.into())
    }
}

impl From<HostId> for String {
    fn from(host: HostId) -> Self {
        host.0.as_ref().to_owned()
    }
}

impl Serialize for HostId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for HostId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::host::{Target, TargetDefaults};

    fn id(text: &str) -> HostId {
        Target::parse(text, &TargetDefaults::default()).unwrap().id()
    }

    #[test]
    fn the_port_belongs_to_it_unless_it_is_sshs_own() {
        for (text, name, address, port) in [
            ("root:x@10.8.14.200", "10.8.14.200", "10.8.14.200", 22),
            ("10.8.14.200:22", "10.8.14.200", "10.8.14.200", 22),
            ("10.8.14.200:2222", "10.8.14.200:2222", "10.8.14.200", 2222),
            ("Node-1.example:2222", "node-1.example:2222", "node-1.example", 2222),
            ("fe80::1", "fe80::1", "fe80::1", 22),
            ("[fe80::1]", "fe80::1", "fe80::1", 22),
            ("[fe80::1]:2222", "[fe80::1]:2222", "fe80::1", 2222),
        ] {
            let id = id(text);
            assert_eq!((id.as_str(), id.address(), id.port()), (name, address, port), "{text}");
            assert_eq!(self::id(&id), id, "an identity is a host's text too");
        }
    }

    #[test]
    fn it_is_kept_as_a_plain_text() {
        let map = BTreeMap::from([(id("10.8.14.200:2222"), 1)]);
        let text = serde_json::to_string(&map).unwrap();
        assert_eq!(text, r#"{"10.8.14.200:2222":1}"#);
        let back: BTreeMap<HostId, i32> = serde_json::from_str(&text).unwrap();
        assert_eq!((back.get("10.8.14.200:2222"), &back), (Some(&1), &map));
    }

    #[test]
    fn an_option_names_a_host_by_identity_or_by_an_address_that_only_one_has() {
        let hosts = [id("10.8.14.200"), id("10.8.14.200:2222"), id("10.8.14.201:2222"), id("[fe80::1]:2222")];
        let named = |text: &str| HostId::named(text, &hosts).map(HostId::as_str);
        assert_eq!(named("10.8.14.200"), Some("10.8.14.200"));
        assert_eq!(named("10.8.14.200:2222"), Some("10.8.14.200:2222"));
        assert_eq!(named("10.8.14.201"), Some("10.8.14.201:2222"));
        assert_eq!(named("fe80::1"), Some("[fe80::1]:2222"));
        assert_eq!(named("10.8.14.201:22"), None);
        let twice = [id("10.8.14.200:2222"), id("10.8.14.200:2223")];
        assert_eq!(HostId::named("10.8.14.200", &twice), None);
        let roles = [id("10.8.14.200:2222"), id("10.8.14.200:2222")];
        assert_eq!(HostId::named("10.8.14.200", &roles).map(HostId::as_str), Some("10.8.14.200:2222"));
    }
}
