//! What a registry holds: its repositories and their tags.

use serde::{Deserialize, Serialize};
use ureq::http::header;

use super::client::{Ask, Client, Content};
use super::error::RegistryError;

/// A repository, and its tags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Repository {
    pub name: String,
    pub tags: Vec<String>,
}

#[derive(Deserialize)]
struct Catalogue {
    #[serde(default)]
    repositories: Vec<String>,
}

#[derive(Deserialize)]
struct Tags {
    /// Nothing where all of them were deleted.
    tags: Option<Vec<String>>,
}

/// The repositories whose names begin with this prefix, by name.
///
/// # Errors
/// When the registry does not answer, or lets this user not see what it holds.
pub fn list(client: &mut Client, prefix: &str) -> Result<Vec<Repository>, RegistryError> {
    let mut names = Vec::new();
    let mut next = Some("/v2/_catalog?n=500".to_owned());
    while let Some(path) = next {
        let what = "list its repositories".to_owned();
        let ask = Ask { method: "GET", path, media_type: "", content: Content::Nothing, repository: "", what };
        let answer = client.expect(&ask, &[200])?;
        next = answer.header(header::LINK).and_then(following);
        let page: Catalogue = read(client, &answer.text)?;
        names.extend(page.repositories);
    }
    let below =
        |name: &String| prefix.is_empty() || name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'));
    names.retain(below);
    names.sort();
    names.dedup();
    let mut all = Vec::new();
    for name in names {
        let (path, what) = (format!("/v2/{name}/tags/list"), format!("list the tags of {name}"));
        let ask = Ask { method: "GET", path, media_type: "", content: Content::Nothing, repository: &name, what };
        let answer = client.expect(&ask, &[200, 404])?;
        let mut tags =
            if answer.status == 200 { read::<Tags>(client, &answer.text)?.tags } else { None }.unwrap_or_default();
        tags.sort();
        all.push(Repository { name, tags });
    }
    Ok(all)
}

fn read<'t, T: Deserialize<'t>>(client: &Client, text: &'t str) -> Result<T, RegistryError> {
    let bad = |error| RegistryError::Given(format!("{}: its answer cannot be read: {error}", client.address()));
    serde_json::from_str(text).map_err(bad)
}

/// The next page: `</v2/_catalog?n=500&last=x>; rel="next"`.
pub(super) fn following(link: &str) -> Option<String> {
    let (place, kind) = link.split_once(';')?;
    let place = place.trim().strip_prefix('<')?.strip_suffix('>')?;
    let path = place.split_once("://").map_or(place, |(_, rest)| rest.find('/').map_or("", |at| &rest[at..]));
    (kind.contains("next") && path.starts_with("/v2/")).then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_the_registry_s_own() {
        let next = Some("/v2/_catalog?last=a&n=1".to_owned());
        assert_eq!(following("</v2/_catalog?last=a&n=1>; rel=\"next\""), next);
        assert_eq!(following("<http://inside:5000/v2/_catalog?last=a&n=1>; rel=next"), next);
        assert_eq!(following("</v2/_catalog?last=a>; rel=\"prev\""), None);
        assert_eq!(following("x"), None);
    }
}
