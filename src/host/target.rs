//! How the user names a host and a login: `user:password@address[:port]`, or `[user@]address[:port]` with a key.
//!
//! The password may hold `:` and `@`: the last `@` ends it, the first `:` ends the user (contract, section 1).

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use camino::Utf8PathBuf;

use super::address::Address;
use super::id::{HostId, SSH_PORT};
use super::secret::Secret;

/// A host and how to log in to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub user: String,
    pub address: Address,
    pub port: u16,
    pub auth: Auth,
    /// By which of its addresses other hosts of a cluster reach it, where that is not the one that we connect to.
    pub node_address: Option<IpAddr>,
}

/// What proves who we are. What is tried, in this order: the key, an agent's keys, the password.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Auth {
    pub password: Option<Secret>,
    pub key: Option<Utf8PathBuf>,
    /// Opens the key.
    pub passphrase: Option<Secret>,
    /// Ask the agent of `SSH_AUTH_SOCK` too.
    pub agent: bool,
    /// For sudo, when the user is not root; without it the login password is tried.
    pub sudo_password: Option<Secret>,
    /// One of the passwords was kept from an earlier run: it goes only to a host that shows a key which is recorded for it.
    pub kept: bool,
}

/// What a host's text leaves open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TargetDefaults {
    /// root when not given.
    pub user: Option<String>,
    /// 22 when not given.
    pub port: Option<u16>,
    pub auth: Auth,
}

/// Why a text names no host. Never holds the password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{masked:?}: {reason}")]
pub struct TargetError {
    /// The text with its password starred.
    pub masked: String,
    pub reason: String,
}

impl Target {
    /// Reads a host as the contract has it.
    ///
    /// # Errors
    /// Says what is wrong with the text, its password starred.
    pub fn parse(text: &str, defaults: &TargetDefaults) -> Result<Self, TargetError> {
        if let Some(count) = joined(text) {
            let reason = format!(
                "these are {count} hosts joined by commas: write a space between them (a password that looks like \
                 this comes by --ssh-password-file)"
            );
            return Err(TargetError { masked: masked(text), reason });
        }
        Self::parse_one(text, defaults)
    }

    fn parse_one(text: &str, defaults: &TargetDefaults) -> Result<Self, TargetError> {
        let fail = |reason: String| TargetError { masked: masked(text), reason };
        let (login, place) = match text.rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, text),
        };
        let (address, port) = split_port(place).map_err(fail)?;
        let (user, password) = match login.map(|l| l.split_once(':').map_or((l, None), |(u, p)| (u, Some(p)))) {
            None => (defaults.user.clone().unwrap_or_else(|| "root".to_owned()), None),
            Some((user, password)) => (user.to_owned(), password),
        };
        if !is_user(&user) {
            return Err(fail("what stands in front of the address is not a user name".to_owned()));
        }
        if password == Some("") {
            return Err(fail("the password is empty".to_owned()));
        }
        let mut auth = defaults.auth.clone();
        if let Some(password) = password {
            auth.password = Some(Secret::new(password));
        }
        Ok(Self { user, address, port: port.or(defaults.port).unwrap_or(SSH_PORT), auth, node_address: None })
    }

    /// Which host this is, whoever logs in to it.
    pub fn id(&self) -> HostId {
        HostId::new(&self.address, self.port)
    }

    /// The same host, by whatever login.
    pub fn same_host(&self, other: &Self) -> bool {
        self.port == other.port && self.address == other.address
    }

    /// The same user, port and credentials, so the same login, wherever its passwords come from.
    pub fn same_login(&self, other: &Self) -> bool {
        let auth = Auth { kept: other.auth.kept, ..self.auth.clone() };
        Self { auth, ..self.clone() } == *other
    }

    /// Takes the passwords of the login among `kept` that is this very one: the same user at the same address and port.
    /// What was given counts before what was kept.
    pub fn complete(&mut self, kept: &[Self]) {
        let same = |k: &&Self| k.same_host(self) && k.user == self.user;
        if self.auth.password.is_none()
            && let Some(found) = kept.iter().find(same)
        {
            let sudo = found.auth.sudo_password.clone().filter(|_| self.auth.sudo_password.is_none());
            self.auth.kept |= found.auth.kept && (found.auth.password.is_some() || sudo.is_some());
            self.auth.password.clone_from(&found.auth.password);
            self.auth.sudo_password = self.auth.sudo_password.take().or(sudo);
        }
    }

    /// `address:port`, as a connection needs it.
    pub fn socket(&self) -> String {
        format!("{}:{}", self.address.before_port(), self.port)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.user, self.id())
    }
}

/// Stars whatever may be a password, also in what is no host: all between the first `:` and the last `@`, what stands where
/// only a user or a port may, and behind a password what is no address (it may be the rest of one with an `@`).
pub(crate) fn masked(text: &str) -> String {
    let Some((login, place)) = text.rsplit_once('@') else {
        return if text.contains(':') { shown_place(text) } else { text.to_owned() };
    };
    let (user, password) = login.split_once(':').map_or((login, None), |(user, password)| (user, Some(password)));
    let shown = if is_user(user) || user.is_empty() { user } else { "***" };
    match password {
        None => format!("{shown}@{}", shown_place(place)),
        Some(_) => format!("{shown}:***@{}", shown_place(place)),
    }
}

/// An address and its port; of what only begins with an address, no more than that, and nothing of what looks like none.
fn shown_place(place: &str) -> String {
    let end = place.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(place.len());
    let bracket = place.strip_prefix('[').and_then(|rest| rest.find(']')).map_or(0, |at| at + 2);
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let is_name = || place.split(':').next().is_some_and(|name| !name.is_empty() && name.bytes().all(is_plain));
    let known = if place[..end].parse::<std::net::Ipv4Addr>().is_ok() {
        end
    } else if bracket > 0 && place[1..bracket - 1].parse::<Ipv6Addr>().is_ok() {
        bracket
    } else if is_name() {
        return masked_place(place);
    } else {
        0
    };
    match &place[known..] {
        "" => place.to_owned(),
        rest if known > 0 && rest.starts_with(':') => masked_place(place),
        _ => format!("{}***", &place[..known]),
    }
}

/// How many hosts a text names that joins them by commas; `None` for one host, whose password may hold commas. Each part is
/// a host by itself, and all have the same form: with password, with user, or neither.
fn joined(text: &str) -> Option<usize> {
    let form = |part: &str| {
        Target::parse_one(part, &TargetDefaults::default()).ok()?;
        Some((part.contains('@'), part.rsplit_once('@').is_some_and(|(login, _)| login.contains(':'))))
    };
    let parts: Vec<&str> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    let first = form(parts.first()?)?;
    (parts.len() > 1 && parts.iter().all(|part| form(part) == Some(first))).then_some(parts.len())
}

/// Whoever writes a host without its user puts the password where the port belongs.
fn masked_place(place: &str) -> String {
    if place.parse::<std::net::IpAddr>().is_ok() {
        return place.to_owned();
    }
    let bracket = place.find(']').filter(|_| place.starts_with('[')).map_or(0, |at| at + 1);
    match place[bracket..].find(':').map(|at| bracket + at) {
        Some(colon) if parse_port(&place[colon + 1..]).is_err() => format!("{}:***", &place[..colon]),
        _ => place.to_owned(),
    }
}

fn split_port(place: &str) -> Result<(Address, Option<u16>), String> {
    if let Some(rest) = place.strip_prefix('[') {
        let (text, after) = rest.split_once(']').ok_or("the bracket of the IPv6 address is not closed")?;
        let port = match after {
            "" => None,
            _ => Some(parse_port(after.strip_prefix(':').ok_or("only :PORT may follow the bracket")?)?),
        };
        return match address(text)? {
            v6 @ Address::Ip(std::net::IpAddr::V6(_)) => Ok((v6, port)),
            _ => Err("only an IPv6 address stands in brackets".to_owned()),
        };
    }
    // An IPv6 address without brackets has more than one colon and no port.
    if place.matches(':').count() > 1 {
        return Ok((address(place).map_err(|e| format!("{e} (IPv6 with a port: [ADDRESS]:PORT)"))?, None));
    }
    match place.split_once(':') {
        Some((text, port)) => Ok((address(text)?, Some(parse_port(port)?))),
        None => Ok((address(place)?, None)),
    }
}

// No reason quotes what it is about: the text is shown once, starred.
fn address(text: &str) -> Result<Address, String> {
    text.parse().map_err(|_| "where the address belongs stands neither an IP address nor a DNS name".to_owned())
}

fn parse_port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(port) if port > 0 && text.bytes().all(|b| b.is_ascii_digit()) => Ok(port),
        _ => Err("what follows the address is not a port (1 to 65535); a password stands in front of it: \
                  USER:PASSWORD@ADDRESS"
            .to_owned()),
    }
}

// With a directory service a user may be `DOMAIN\user` or `user@domain`.
fn is_user(user: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'\\' | b'$' | b'@');
    !user.is_empty() && !user.starts_with(['-', '@']) && !user.ends_with('@') && user.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Target, TargetError> {
        Target::parse(text, &TargetDefaults::default())
    }

    #[test]
    fn the_contracts_forms() {
        let target = parse("root:111111@10.8.14.200").unwrap();
        assert_eq!((target.user.as_str(), target.port), ("root", 22));
        assert_eq!(target.auth.password.unwrap().expose(), "111111");
        let target = parse("maintuser@[fe80::1]:2222").unwrap();
        assert_eq!(target.to_string(), "maintuser@[fe80::1]:2222");
        assert_eq!(parse("a:b:c@d@host").unwrap().auth.password.unwrap().expose(), "b:c@d");
        assert_eq!(parse("10.0.0.1:2222").unwrap().to_string(), "root@10.0.0.1:2222");
        assert_eq!(parse("fe80::1").unwrap().to_string(), "root@fe80::1");
    }

    #[test]
    fn a_users_name_may_have_a_domain() {
        let target = parse("user@corp.local:p@w:x@10.8.14.200:2222").unwrap();
        assert_eq!((target.user.as_str(), target.port), ("user@corp.local", 2222));
        assert_eq!(target.auth.password.unwrap().expose(), "p@w:x");
        assert_eq!(parse("user@corp.local@node-1").unwrap().user, "user@corp.local");
        for bad in ["@corp.local:x@h", "user@:x@h", "@@h"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn hosts_joined_by_commas_are_told_from_a_password_with_commas() {
        for list in [
            "root:secret@10.8.14.200,root:secret@10.8.14.201",
            "a:secret@h1:2222,b:se:cret@h2,c:secret@[fe80::1]",
            "10.8.14.200,10.8.14.201",
            "maint@10.8.14.200, maint@10.8.14.201",
        ] {
            let error = parse(list).unwrap_err().to_string();
            assert!(error.contains("hosts joined by commas") && !error.contains("cret"), "{error}");
        }
        for (text, password) in [
            ("root:a,b@10.8.14.200", "a,b"),
            ("root:1,2@10.8.14.200", "1,2"),
            ("root:a@b,c@10.8.14.200", "a@b,c"),
            ("root:,@10.8.14.200", ","),
        ] {
            assert_eq!(parse(text).unwrap().auth.password.unwrap().expose(), password, "{text}");
        }
    }

    #[test]
    fn what_may_be_a_password_is_starred_and_the_rest_is_shown() {
        for (text, shown) in [
            ("root:secret@10.8.14.200;reboot", "root:***@10.8.14.200***"),
            ("root=S3cret!:22", "***"),
            ("root@S3cret!", "root@***"),
            ("root:with@10.8.14.200~S3cret", "root:***@10.8.14.200***"),
            ("root:secret@[fd10::7]x", "root:***@[fd10::7]***"),
            ("root:a:b@c@host.example:2222", "root:***@host.example:2222"),
            ("10.8.14.200:S3cret", "10.8.14.200:***"),
            ("10.8.14.200:2222", "10.8.14.200:2222"),
            ("10.8.14.200:111111", "10.8.14.200:***"),
            ("fe80::1", "fe80::1"),
            ("[fe80::1]:2222", "[fe80::1]:2222"),
            ("[fe80::1", "***"),
            ("my secret@10.0.0.1", "***@10.0.0.1"),
            ("maint@10.0.0.1", "maint@10.0.0.1"),
            ("root:p@ss word", "root:***@***"),
            ("root:p@[ss]word", "root:***@***"),
            ("root:secret@[fe80::1]:22;x", "root:***@[fe80::1]:***"),
            ("plain", "plain"),
        ] {
            assert_eq!(masked(text), shown, "{text}");
        }
    }

    #[test]
    fn hostile_ones_are_refused_without_showing_the_password() {
        for bad in [
            "root:secret@10.8.14.200;reboot",
            "root:secret@",
            "root:secret@$(id)",
            "-o:secret@10.0.0.1",
            "a b:secret@10.0.0.1",
            "root:secret@10.0.0.1:0",
            "root:secret@10.0.0.1:99999",
            "root:secret@10.0.0.1:+22",
            "root:secret@[::1",
            "root:secret@[10.0.0.1]",
            "root:@10.0.0.1",
            ":secret@10.0.0.1",
            "10.0.0.1:secret",
            "10.0.0.1:se:cret:secret",
            "host.example:secret",
            "root:secret",
            "root:my@secret!",
            "root:a@10.0.0.1:secret",
            "[fe80::1]:secret",
            "root:a@[fe80::1]:secret",
            "my secret!@10.0.0.1",
            "my:secret:with:colons",
            "user@corp:22,secret@10.0.0.1",
        ] {
            let error = parse(bad).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_password_comes_through(password in "[ -~äöü€]{1,40}") {
            let target = parse(&format!("u:{password}@10.0.0.1")).unwrap();
            let got = target.auth.password.unwrap();
            prop_assert_eq!(got.expose(), password);
        }

        #[test]
        fn no_text_panics(text in ".{0,60}") {
            let _ = parse(&text);
        }
    }
}
