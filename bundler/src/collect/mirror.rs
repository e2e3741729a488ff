//! Mirrors: what begins with one text is fetched from another; its name, in the bundle and in the lock, stays.

use std::str::FromStr;

use payload::Reference;

/// `FROM=TO` of `--mirror`: two URLs, or a beginning of images' names and where they are pulled from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mirror {
    from: String,
    to: String,
}

impl FromStr for Mirror {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (from, to) = text.split_once('=').ok_or("it must be FROM=TO")?;
        let (from, to) = (from.trim_end_matches('/'), to.trim_end_matches('/'));
        if from.is_empty() || to.is_empty() || text.contains(char::is_whitespace) {
            return Err("it must be FROM=TO".into());
        }
        if from.contains("://") && !to.contains("://") {
            return Err(format!("{to:?} is no URL; {from} is one"));
        }
        Ok(Self { from: from.to_owned(), to: to.to_owned() })
    }
}

/// Where an image is pulled from.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The name there.
    pub(super) name: Reference,
    /// `http://` stood in front of the mirror.
    pub(super) plain: bool,
}

/// All mirrors; of two that fit, the longer one counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Mirrors(Vec<Mirror>);

impl Mirrors {
    pub(super) fn new(mirrors: &[Mirror]) -> Self {
        Self(mirrors.to_vec())
    }

    /// Where a URL is fetched from.
    pub(super) fn url(&self, url: &str) -> String {
        replaced(url, self.0.iter().map(|one| (one.from.as_str(), one.to.as_str()))).unwrap_or_else(|| url.to_owned())
    }

    /// The URL that one at a mirror stands for.
    pub(super) fn original(&self, url: &str) -> String {
        replaced(url, self.0.iter().map(|one| (one.to.as_str(), one.from.as_str()))).unwrap_or_else(|| url.to_owned())
    }

    /// Where an image is pulled from, or what is wrong with the name it would have there.
    pub(super) fn image(&self, name: &Reference) -> Result<Place, String> {
        let full = name.to_string();
        let images = self.0.iter().filter(|one| !one.from.contains("://"));
        let Some(there) = replaced(&full, images.map(|one| (one.from.as_str(), one.to.as_str()))) else {
            return Ok(Place { name: name.clone(), plain: false });
        };
        let (plain, there) = match there.split_once("://") {
            Some((scheme, rest)) => (scheme == "http", rest.to_owned()),
            None => (false, there),
        };
        let name = there.parse().map_err(|e: payload::NameProblem| e.to_string())?;
        Ok(Place { name, plain })
    }

    /// A repository file whose URLs are those of the mirrors.
    pub(super) fn repository_file(&self, text: &str) -> String {
        text.split_inclusive('\n').map(|line| self.line(line)).collect()
    }

    /// URLs stand behind `=`, blanks and commas.
    fn line(&self, line: &str) -> String {
        let Some(start) = line.find("://").and_then(|at| line[..at].rfind(['=', ' ', '\t', ','])).map(|at| at + 1)
        else {
            return line.to_owned();
        };
        line[start..].split_inclusive([' ', '\t', ',', '\n']).fold(line[..start].to_owned(), |so_far, word| {
            let url = word.trim_end_matches([' ', '\t', ',', '\n', '\r']);
            so_far + &self.url(url) + &word[url.len()..]
        })
    }
}

/// The text with its beginning replaced, where a beginning fits: whole parts between slashes.
fn replaced<'a>(text: &str, pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Option<String> {
    let fits = pairs.filter_map(|(from, to)| {
        let rest = text.strip_prefix(from)?;
        (rest.is_empty() || rest.starts_with(['/', ':', '?'])).then_some((from, to, rest))
    });
    fits.max_by_key(|(from, ..)| from.len()).map(|(_, to, rest)| format!("{to}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mirrors(texts: &[&str]) -> Mirrors {
        Mirrors(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    #[test]
    fn the_longest_beginning_of_whole_parts_is_replaced() {
        let mirrors = mirrors(&["https://a.b/x=http://m/1/", "https://a.b/x/y/=http://m/2"]);
        for (from, to) in [
            ("https://a.b/x/z", "http://m/1/z"),
            ("https://a.b/x/y/z", "http://m/2/z"),
            ("https://a.b/xy", "https://a.b/xy"),
            ("https://a.b/x", "http://m/1"),
        ] {
            assert_eq!(mirrors.url(from), to);
            assert_eq!(mirrors.original(to), from);
        }
    }

    #[test]
    fn every_url_of_a_repository_file_is_looked_at() {
        let text = "[a]\nname=see https://a.b/x\nbaseurl = https://a.b/x/$releasever/,https://c.d/\n https://a.b/x/2\r\n\
                    gpgkey=https://a.b/x/KEY https://a.b/x/KEY2\nenabled=1";
        let expected = "[a]\nname=see http://m\nbaseurl = http://m/$releasever/,https://c.d/\n http://m/2\r\n\
                        gpgkey=http://m/KEY http://m/KEY2\nenabled=1";
        assert_eq!(mirrors(&["https://a.b/x=http://m"]).repository_file(text), expected);
    }

    #[test]
    fn an_image_keeps_its_name_and_is_pulled_from_another() {
        let mirrors = mirrors(&["registry.k8s.io=m.x/k8s", "docker.io/library=http://127.0.0.1:5000/l", "quay.io=M:x"]);
        let place = |name: &str| mirrors.image(&name.parse().unwrap());
        let at = |name: &str, plain| Ok(Place { name: name.parse().unwrap(), plain });
        assert_eq!(place("registry.k8s.io/coredns/coredns:v1"), at("m.x/k8s/coredns/coredns:v1", false));
        assert_eq!(place("busybox"), at("127.0.0.1:5000/l/busybox:latest", true));
        assert_eq!(place("registry.k8s.io.x/pause:3"), at("registry.k8s.io.x/pause:3", false));
        assert!(place("quay.io/a:1").is_err());
    }

    #[test]
    fn a_mirror_that_says_nothing_is_refused() {
        for wrong in ["", "a", "=b", "a=", "/=b", "https://a=b", "a =b"] {
            assert!(wrong.parse::<Mirror>().is_err(), "{wrong}");
        }
    }
}
