//! Where a registry of the site is, and what stands before the names of images there.

use payload::Reference;

/// `HOST[:PORT]` and the prefix behind it, such as a project of Harbor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub address: String,
    /// Empty, or without a `/` at its ends.
    pub prefix: String,
}

impl Place {
    /// Reads `HOST[:PORT][/PREFIX]`.
    ///
    /// # Errors
    /// Says what is wanted instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (address, prefix) = text.split_once('/').unwrap_or((text, ""));
        let prefix = prefix.trim_end_matches('/');
        let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
        if address.is_empty() || !address.chars().all(is_host) || text.contains("://") {
            return Err("HOST, HOST:PORT or HOST:PORT/PREFIX is wanted, without https://".to_owned());
        }
        if !prefix.is_empty() {
            format!("registry.example/{prefix}/x:1").parse::<Reference>().map_err(|e| e.why.to_owned())?;
        }
        Ok(Self { address: address.to_owned(), prefix: prefix.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_named_with_or_without_port_and_prefix() {
        let read = |text: &str| Place::parse(text).map(|place| (place.address, place.prefix));
        let is = |a: &str, p: &str| Ok((a.to_owned(), p.to_owned()));
        assert_eq!(read("harbor.corp"), is("harbor.corp", ""));
        assert_eq!(read("harbor:5000/k8s/mirror/"), is("harbor:5000", "k8s/mirror"));
        assert_eq!(read("[fd00::1]:5000"), is("[fd00::1]:5000", ""));
        for wrong in ["", "/k8s", "https://harbor.corp", "harbor.corp/K8S", "harbor.corp/a b", "user@harbor.corp"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
