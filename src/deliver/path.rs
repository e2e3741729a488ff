//! From a request's path to the name of a member: the one place where a path from the network is read.
//!
//! What comes out is looked up, whole, among the names that the repository holds; it is never joined to a folder, so
//! nothing outside can be reached whatever it says. The checks here exist so that every hostile form is refused
//! before the lookup, the same way whatever a bundle's member names look like.

/// A member's name asked for under the run's token, or `None` for whatever is not exactly `/TOKEN/NAME`.
pub(super) fn member_name(path: &str, token: &str) -> Option<String> {
    let name = decode(under(path, token)?)?;
    let safe = !name.chars().any(|c| c.is_control() || c == '\\')
        && name.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
    safe.then_some(name)
}

/// What follows `/TOKEN/`, as it is in the path.
pub(super) fn under<'a>(path: &'a str, token: &str) -> Option<&'a str> {
    let (given, rest) = path.strip_prefix('/')?.split_once('/')?;
    same(given.as_bytes(), token.as_bytes()).then_some(rest)
}

/// Percent-decoding, once (RFC 3986, 2.1). `None` for a broken escape and for what is not UTF-8.
fn decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            out.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

/// Compares without stopping at the first difference, so that the time taken says nothing about the token.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (x, y)| difference | (x ^ y)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TOKEN: &str = "0123456789abcdef";

    fn name(rest: &str) -> Option<String> {
        member_name(&format!("/{TOKEN}/{rest}"), TOKEN)
    }

    #[test]
    fn plain_and_escaped_names_are_read() {
        assert_eq!(name("repodata/repomd.xml").as_deref(), Some("repodata/repomd.xml"));
        assert_eq!(name("rpms/gtk%2B-1.el9.rpm").as_deref(), Some("rpms/gtk+-1.el9.rpm"));
        assert_eq!(name("rpms%2Fa.rpm").as_deref(), Some("rpms/a.rpm"));
    }

    #[test]
    fn hostile_names_are_refused() {
        for hostile in [
            "../etc/passwd",
            "%2e%2e/etc/passwd",
            "%2E%2E%2Fetc%2fpasswd",
            "rpms/..%2f..%2fetc/passwd",
            "rpms/./a.rpm",
            "rpms/%2e/a.rpm",
            "/etc/passwd",
            "%2fetc/passwd",
            "rpms//a.rpm",
            "rpms/",
            "",
            "a%00.rpm",
            "a\0.rpm",
            "a%0d%0aX: y",
            "..%5c..%5cetc",
            "a\\b",
            "a%",
            "a%2",
            "a%zz",
            "a%c0%af",
            "%ff",
        ] {
            assert_eq!(name(hostile), None, "{hostile:?}");
        }
        // Decoded once only: what would become dots in a second round stays a strange name, found nowhere.
        assert_eq!(name("%252e%252e/x").as_deref(), Some("%2e%2e/x"));
    }

    #[test]
    fn a_wrong_token_is_refused() {
        for path in
            ["/repodata/repomd.xml", "//repodata/repomd.xml", "/0123456789abcdee/a", "/0123456789abcde/a", "", "/"]
        {
            assert_eq!(member_name(path, TOKEN), None, "{path:?}");
        }
        assert_eq!(member_name(&format!("/{TOKEN}"), TOKEN), None);
    }

    proptest! {
        #[test]
        fn no_path_climbs(path in "\\PC{0,60}") {
            if let Some(name) = name(&path) {
                prop_assert!(!name.starts_with('/') && !name.split('/').any(|part| part == ".." || part.is_empty()));
            }
        }
    }
}
