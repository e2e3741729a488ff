//! Images of a bundle, pushed to a registry: only blobs that it lacks are sent, then the manifest under its tag.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::time::Duration;

use payload::{Blob, Bundle, Image, Reference, Sha256, blob_member};
use ureq::http::header;

use super::client::{Answer, Ask, Client, Content};
use super::error::RegistryError;

/// So often a request that may pass is sent.
const ATTEMPTS: u32 = 3;

/// Where images go within a registry.
#[derive(Debug, Clone, Default)]
pub struct Destination {
    /// What stands before their own repositories, such as `k8s/mirror`; empty for nothing.
    pub prefix: String,
}

/// What became of one name of an image.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Pushed {
    /// Its name in the bundle.
    pub image: String,
    /// Its name there.
    pub name: String,
    /// Bytes that were sent, or would be.
    pub sent: u64,
    /// It was there already, the very same.
    pub there: bool,
}

impl Destination {
    /// The repository of an image there: its own, without the registry that it comes from.
    #[must_use]
    pub fn repository(&self, name: &Reference) -> String {
        if self.prefix.is_empty() {
            name.repository().to_owned()
        } else {
            format!("{}/{}", self.prefix, name.repository())
        }
    }

    fn name(&self, name: &Reference) -> String {
        format!("{}:{}", self.repository(name), name.tag())
    }
}

/// Names that different images would get there, with the names that they have.
#[must_use]
pub fn clashes(images: &[(Bundle, Image)], destination: &Destination) -> Vec<String> {
    let mut wanted: BTreeMap<String, Vec<(&Sha256, String)>> = BTreeMap::new();
    for (_, image) in images {
        for name in &image.names {
            let all = wanted.entry(destination.name(name)).or_default();
            if all.iter().all(|(digest, _)| **digest != image.manifest.digest) {
                all.push((&image.manifest.digest, name.to_string()));
            }
        }
    }
    let several = wanted.into_iter().filter(|(_, all)| all.len() > 1);
    several
        .map(|(name, all)| format!("{name}: {}", all.into_iter().map(|(_, n)| n).collect::<Vec<_>>().join(" and ")))
        .collect()
}

/// Pushes an image under each of its names; with `dry_run`, only asks what is missing. `known` says in which repository of
/// this registry a blob was seen before.
///
/// # Errors
/// When the registry refuses, does not answer, or a blob in the bundle is damaged.
pub fn push(
    client: &mut Client,
    bundle: &Bundle,
    image: &Image,
    destination: &Destination,
    known: &mut HashMap<Sha256, String>,
    dry_run: bool,
) -> Result<Vec<Pushed>, RegistryError> {
    let mut all = Vec::new();
    for name in &image.names {
        let repository = destination.repository(name);
        let there = has_manifest(client, &repository, name, image)?;
        let mut sent = 0;
        if !there {
            for blob in image.layers.iter().chain([&image.config]) {
                sent += send_blob(client, bundle, blob, &repository, known, dry_run)?;
            }
            sent += image.manifest.size;
            if !dry_run {
                put_manifest(client, bundle, image, &repository, name)?;
            }
        }
        all.push(Pushed {
            image: name.to_string(),
            name: format!("{}/{}", client.address(), destination.name(name)),
            sent,
            there,
        });
    }
    Ok(all)
}

fn patiently<T>(mut work: impl FnMut() -> Result<T, RegistryError>) -> Result<T, RegistryError> {
    let mut attempt = 1;
    loop {
        match work() {
            Err(error) if error.passes() && attempt < ATTEMPTS => {
                tracing::info!(%error, attempt, "trying again");
                std::thread::sleep(Duration::from_secs(u64::from(attempt * attempt)));
                attempt += 1;
            }
            other => return other,
        }
    }
}

fn has_manifest(client: &mut Client, repository: &str, name: &Reference, image: &Image) -> Result<bool, RegistryError> {
    let ask = Ask {
        method: "HEAD",
        path: format!("/v2/{repository}/manifests/{}", name.tag()),
        media_type: &image.manifest.media_type,
        content: Content::Nothing,
        repository,
        what: format!("say whether {repository}:{} is there", name.tag()),
    };
    let answer = patiently(|| client.expect(&ask, &[200, 404]))?;
    let digest = answer.headers.get("docker-content-digest").and_then(|value| value.to_str().ok());
    Ok(answer.status == 200 && digest == Some(&format!("sha256:{}", image.manifest.digest)))
}

/// The bytes that were sent, or would be.
fn send_blob(
    client: &mut Client,
    bundle: &Bundle,
    blob: &Blob,
    repository: &str,
    known: &mut HashMap<Sha256, String>,
    dry_run: bool,
) -> Result<u64, RegistryError> {
    let ask = Ask {
        method: "HEAD",
        path: format!("/v2/{repository}/blobs/sha256:{}", blob.digest),
        media_type: "",
        content: Content::Nothing,
        repository,
        what: format!("say whether blob {} is in {repository}", blob.digest),
    };
    let there = patiently(|| client.expect(&ask, &[200, 404]))?.status == 200;
    let elsewhere = known.get(&blob.digest).filter(|other| *other != repository).cloned();
    let sent = match (there, dry_run) {
        (true, _) => 0,
        (false, true) => {
            if elsewhere.is_some() {
                0
            } else {
                blob.size
            }
        }
        (false, false) => patiently(|| upload(client, bundle, blob, repository, elsewhere.as_deref()))?,
    };
    known.entry(blob.digest).or_insert_with(|| repository.to_owned());
    Ok(sent)
}

/// Begins an upload, which is over at once where the registry takes the blob from its other repository, and sends it.
fn upload(
    client: &mut Client,
    bundle: &Bundle,
    blob: &Blob,
    repository: &str,
    elsewhere: Option<&str>,
) -> Result<u64, RegistryError> {
    let digest = format!("sha256:{}", blob.digest);
    let from = elsewhere.map(|other| format!("?mount={digest}&from={other}")).unwrap_or_default();
    let what = format!("take blob {digest} in {repository}");
    let begin = Ask {
        method: "POST",
        path: format!("/v2/{repository}/blobs/uploads/{from}"),
        media_type: "",
        content: Content::Nothing,
        repository,
        what: what.clone(),
    };
    let begun = client.expect(&begin, &[201, 202])?;
    if begun.status == 201 {
        return Ok(0);
    }
    let Some(place) = place(&begun, client.address()) else {
        return Err(RegistryError::Given(format!("{}: the answer to an upload says no Location", client.address())));
    };
    let open = || -> Result<Box<dyn Read>, RegistryError> { reader(bundle, blob) };
    let send = Ask {
        method: "PUT",
        path: format!("{place}{}digest={digest}", if place.contains('?') { '&' } else { '?' }),
        media_type: "application/octet-stream",
        content: Content::Stream { size: blob.size, open: &open },
        repository,
        what,
    };
    client.expect(&send, &[201])?;
    Ok(blob.size)
}

/// Where an upload goes on: below the registry's own address as it was given, which a registry behind another server does not
/// always know.
fn place(answer: &Answer, address: &str) -> Option<String> {
    let place = answer.header(header::LOCATION)?;
    let Some((_, rest)) = place.split_once("://") else { return Some(place.to_owned()) };
    let own = rest.strip_prefix(address).filter(|path| path.starts_with('/'));
    Some(own.map_or_else(|| place.to_owned(), str::to_owned))
}

fn put_manifest(
    client: &mut Client,
    bundle: &Bundle,
    image: &Image,
    repository: &str,
    name: &Reference,
) -> Result<(), RegistryError> {
    let mut bytes = Vec::new();
    reader(bundle, &image.manifest)?
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(bundle, &image.manifest, error))?;
    let ask = Ask {
        method: "PUT",
        path: format!("/v2/{repository}/manifests/{}", name.tag()),
        media_type: &image.manifest.media_type,
        content: Content::Bytes(&bytes),
        repository,
        what: format!("take the manifest of {repository}:{}", name.tag()),
    };
    patiently(|| client.expect(&ask, &[201])).map(|_| ())
}

/// A blob of the bundle, checked first: a registry must not be sent what is damaged.
fn reader<'b>(bundle: &'b Bundle, blob: &Blob) -> Result<Box<dyn Read + 'b>, RegistryError> {
    let name = blob_member(&blob.digest);
    let member = bundle.member(&name).ok_or_else(|| bundle.no_member(&name))?;
    bundle.check(member)?;
    Ok(bundle.reader(member)?)
}

fn unreadable(bundle: &Bundle, blob: &Blob, source: std::io::Error) -> RegistryError {
    payload::BundleError::Io { action: "read", path: bundle.path().join(blob_member(&blob.digest)), source }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_keeps_its_repository_behind_the_prefix() {
        let name: Reference = "registry.k8s.io/coredns/coredns:v1.14.2".parse().unwrap();
        assert_eq!(Destination::default().repository(&name), "coredns/coredns");
        assert_eq!(Destination { prefix: "k8s/mirror".into() }.name(&name), "k8s/mirror/coredns/coredns:v1.14.2");
    }
}
