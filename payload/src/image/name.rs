//! Names of images, in full: `registry.k8s.io/pause:3.10`, `docker.io/library/busybox:latest`
//! (the grammar of github.com/distribution/reference).

use std::fmt;
use std::str::FromStr;

/// An image's name with registry, repository and tag. What it prints is what containerd keeps the image under.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: String,
}

/// Bytes of a name, in full.
const LONGEST: usize = 255;

/// A name that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is no image's name: {why}")]
pub struct NameProblem {
    /// The name.
    pub name: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl Reference {
    /// The registry, with its port where it has one: `registry.k8s.io`.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The name within the registry: `coredns/coredns`.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag: `v1.14.2`.
    #[must_use]
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// The names in a list: one a line, `#` begins a comment.
    ///
    /// # Errors
    /// The first line that is none.
    pub fn list(text: &str) -> Result<Vec<Self>, NameProblem> {
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        lines.filter(|line| !line.is_empty()).map(str::parse).collect()
    }

    /// Registry and repository: the name without its tag.
    #[must_use]
    pub fn without_tag(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}:{}", self.registry, self.repository, self.tag)
    }
}

impl FromStr for Reference {
    type Err = NameProblem;

    /// Docker's short names are completed as Docker does.
    fn from_str(name: &str) -> Result<Self, NameProblem> {
        let fail = |why| Err(NameProblem { name: name.to_owned(), why });
        if name.len() > LONGEST {
            return fail("it is longer than 255 bytes");
        }
        if name.contains('@') {
            return fail("it is given by digest; an image in a bundle has a tag");
        }
        let (path, tag) = match name.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, tag),
            _ => (name, "latest"),
        };
        let (registry, rest) = match path.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest.to_owned()),
            Some(_) => ("docker.io", path.to_owned()),
            None => ("docker.io", format!("library/{path}")),
        };
        if !is_registry(registry) {
            return fail("its registry is no host name with an optional port");
        }
        if !rest.split('/').all(is_component) {
            return fail("its parts must be lower-case letters and digits with . _ - between them");
        }
        if !is_tag(tag) {
            return fail("its tag must be letters, digits, . _ -, at most 128 of them");
        }
        let full = Self { registry: registry.to_owned(), repository: rest, tag: tag.to_owned() };
        if full.to_string().len() > LONGEST {
            return fail("in full it is longer than 255 bytes");
        }
        Ok(full)
    }
}

fn is_registry(text: &str) -> bool {
    let (host, port) = text.rsplit_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    let label = |label: &str| {
        let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        ends(label.chars().next())
            && ends(label.chars().next_back())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    let digits = |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok();
    host.split('.').all(label) && port.is_none_or(digits)
}

/// `alpha-numeric ( separator alpha-numeric )*`, the separators being `.`, `_`, `__` and any number of `-`.
fn is_component(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let mut separators = text.split(plain).filter(|between| !between.is_empty());
    let between = |s: &str| matches!(s, "." | "_" | "__") || s.chars().all(|c| c == '-');
    text.starts_with(plain) && text.ends_with(plain) && separators.all(between)
}

fn is_tag(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.len() <= 128 && text.starts_with(word) && text.chars().all(|c| word(c) || c == '.' || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(name: &str) -> String {
        name.parse::<Reference>().unwrap().to_string()
    }

    #[test]
    fn short_names_are_completed_as_docker_does() {
        for (given, expected) in [
            ("busybox", "docker.io/library/busybox:latest"),
            ("busybox:1.36", "docker.io/library/busybox:1.36"),
            ("calico/node:v3", "docker.io/calico/node:v3"),
            ("k8s.gcr.io/pause:3.2", "k8s.gcr.io/pause:3.2"),
            ("localhost/x", "localhost/x:latest"),
            ("10.8.14.1:5000/a/b__c/d-e.f:V1_x", "10.8.14.1:5000/a/b__c/d-e.f:V1_x"),
            ("harbor.site/kube/registry.k8s.io/pause:3.10", "harbor.site/kube/registry.k8s.io/pause:3.10"),
        ] {
            assert_eq!(full(given), expected);
            assert_eq!(full(expected), expected);
        }
        let reference: Reference = "registry.k8s.io/coredns/coredns:v1".parse().unwrap();
        assert_eq!(
            (reference.registry(), reference.repository(), reference.tag(), reference.without_tag().as_str()),
            ("registry.k8s.io", "coredns/coredns", "v1", "registry.k8s.io/coredns/coredns")
        );
    }

    #[test]
    fn hostile_names_are_refused() {
        for name in [
            "",
            ":",
            "a:",
            "A",
            "a b",
            "a;reboot",
            "$(reboot)",
            "-rf",
            "a//b",
            "/a",
            "a/",
            "../a",
            "a..b",
            "a___b",
            "a\nb",
            "a:b c",
            "a:-x",
            "x.io:port/a",
            "x.io:+80/a",
            "x..io/a",
            "-x.io/a",
            "a@sha256:0000000000000000000000000000000000000000000000000000000000000000",
        ] {
            assert!(name.parse::<Reference>().is_err(), "{name:?}");
        }
        assert!("a".repeat(256).parse::<Reference>().is_err());
        // What it is completed to is written down, and has to be read again.
        assert!("a".repeat(250).parse::<Reference>().is_err());
        assert_eq!(
            full(&"a".repeat(230)).parse::<Reference>().map(|again| again.to_string()),
            Ok(full(&"a".repeat(230)))
        );
        assert!(format!("a:{}", "t".repeat(129)).parse::<Reference>().is_err());
    }
}
